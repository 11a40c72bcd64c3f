"""The overlay of uncertain regions has the right position, and is hidden from the rest of Slicer."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def volume_node(turned_volume):
    """An oblique scan under a transform that rotates and translates it."""
    return turned_volume


@pytest.fixture
def doubtful(volume_node):
    """One region that fills a small box; its reported position is the middle voxel."""
    from LVNetSegmentationLib.outcome import DoubtfulRegion, DoubtfulRegions

    box = (slice(4, 7), slice(10, 15), slice(20, 31))
    place = (local_of(volume_node) @ [25, 12, 5, 1])[:3]
    region = DoubtfulRegion(1.98, tuple(float(part) for part in place))
    return DoubtfulRegions((region,), box, np.ones((3, 5, 11), np.uint8))


def local_of(volume_node):
    """(4, 4) from a volume's indices to its local RAS coordinates."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def world_of(slicer, volume_node):
    """(4, 4) from a volume's indices to world RAS coordinates."""
    return slicer.util.arrayFromTransformMatrix(volume_node.GetParentTransformNode()) @ local_of(volume_node)


def voxels_of(slicer, overlay, volume_node):
    name = overlay.GetSegmentation().GetNthSegmentID(0)
    return slicer.util.arrayFromSegmentBinaryLabelmap(overlay, name, volume_node)


def test_the_overlay_lies_where_the_core_says_that_the_network_was_unsure(
    slicer_core, scene, logic, volume_node, weights
):
    from lvnet.pipeline.python import segment
    from LVNetSegmentationLib.doubtfuloverlay import addOverlay
    from LVNetSegmentationLib.nodes import volumeFromNode

    expected = segment(volumeFromNode(volume_node), weights=weights, device="cpu").doubtful
    box, numbers = expected.on_scan()
    mask = np.zeros((20, 40, 48), np.uint8)
    mask[box] = numbers > 0
    assert 0 < mask.mean() < 1
    logic.segment(volume_node, device="cpu", weights=weights)
    found = logic.outcome.doubtful
    assert [region.volume for region in found.regions] == [round(part.volume_ml, 2) for part in expected.regions]
    overlay = addOverlay(found, volume_node)
    assert np.array_equal(voxels_of(slicer_core, overlay, volume_node), mask)
    assert overlay.GetParentTransformNode() is volume_node.GetParentTransformNode()
    # The reported position is inside the overlay.
    x, y, z, _ = np.linalg.solve(local_of(volume_node), [*found.regions[0].place, 1.0])
    assert mask[round(z), round(y), round(x)] == 1


def test_it_is_drawn_in_the_world_where_the_volume_is_drawn(slicer_core, scene, volume_node, doubtful):
    from LVNetSegmentationLib.doubtfuloverlay import addOverlay

    overlay = addOverlay(doubtful, volume_node)
    corners = [[x, y, z, 1.0] for x in (19.5, 30.5) for y in (9.5, 14.5) for z in (3.5, 6.5)]
    world = (world_of(slicer_core, volume_node) @ np.array(corners).T)[:3]
    bounds = [0.0] * 6
    overlay.GetRASBounds(bounds)
    assert bounds[::2] == pytest.approx(world.min(axis=1), abs=1e-3)
    assert bounds[1::2] == pytest.approx(world.max(axis=1), abs=1e-3)
    assert overlay.GetSegmentation().GetNthSegment(0).GetColor() == (1.0, 0.0, 0.8)
    display = overlay.GetDisplayNode()
    assert display.GetVisibility() and display.GetOpacity2DFill() == 0.4 and not display.GetVisibility3D()
    assert display.GetSegmentVisibility(overlay.GetSegmentation().GetNthSegmentID(0))


def test_a_jump_centres_the_slices_on_the_region_under_the_transform(slicer_core, scene, volume_node, doubtful):
    from LVNetSegmentationLib.views import jumpTo

    slices = scene.AddNewNodeByClass("vtkMRMLSliceNode")
    jumpTo(volume_node, doubtful.regions[0].place)
    centre = [slices.GetSliceToRAS().GetElement(row, 3) for row in range(3)]
    assert centre == pytest.approx((world_of(slicer_core, volume_node) @ [25, 12, 5, 1])[:3], abs=1e-3)


def test_slicers_subject_hierarchy_has_no_reason_to_complain(slicer_core, scene, volume_node, doubtful):
    """It observes each segmentation node as soon as that is added, and logs an error if the node has no item."""
    import vtk
    from LVNetSegmentationLib.doubtfuloverlay import addOverlay, removeOverlay

    heard = []
    segmentation = slicer_core.vtkSegmentation
    complains = [segmentation.SegmentAdded, segmentation.SegmentRemoved, segmentation.SegmentModified]
    complains.append(slicer_core.vtkMRMLSegmentationNode.DisplayModifiedEvent)

    def listen(_scene, _event, node):
        if node.IsA("vtkMRMLSegmentationNode"):
            assert node.GetHideFromEditors()
            for event in complains:
                node.AddObserver(event, lambda *_arguments, event=event: heard.append(event))

    listen.CallDataType = vtk.VTK_OBJECT
    tag = scene.AddObserver(scene.NodeAddedEvent, listen)
    overlay = addOverlay(doubtful, volume_node)
    # The observers do receive events.
    overlay.GetDisplayNode().SetOpacity2DFill(0.41)
    assert heard == complains[-1:]
    removeOverlay(overlay)
    scene.RemoveObserver(tag)
    assert heard == complains[-1:]


def test_it_is_not_saved_with_the_scene_and_leaves_nothing_behind(slicer_core, scene, volume_node, doubtful, tmp_path):
    from LVNetSegmentationLib.doubtfuloverlay import addOverlay, removeOverlay

    hierarchy = slicer_core.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    before = scene.GetNumberOfNodes(), hierarchy.GetNumberOfItems()
    overlay = addOverlay(doubtful, volume_node)
    assert hierarchy.GetItemByDataNode(overlay) == hierarchy.GetInvalidItemID()
    path = tmp_path / "scene.mrml"
    scene.SetURL(str(path))
    assert scene.Commit(str(path))
    saved = path.read_text()
    assert 'name="ct"' in saved
    assert "Doubtful" not in saved and "<Segmentation" not in saved
    removeOverlay(overlay)
    removeOverlay(overlay)
    assert (scene.GetNumberOfNodes(), hierarchy.GetNumberOfItems()) == before


def test_it_is_not_drawn_over_the_scan_of_somebody_else(slicer_core, scene, volume_node, doubtful):
    from LVNetSegmentationLib.doubtfuloverlay import addOverlay
    from LVNetSegmentationLib.views import bringIntoSight, hideForeign

    composite = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    composite.SetBackgroundVolumeID(volume_node.GetID())
    overlay = addOverlay(doubtful, volume_node)
    assert hideForeign() == [] and overlay.GetScene() is scene
    other = slicer_core.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16), name="other")
    assert bringIntoSight(other) == ["Doubtful regions of ct"]
    assert composite.GetBackgroundVolumeID() == other.GetID()
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
