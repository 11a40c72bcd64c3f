"""To which volume a segmentation belongs, and whether it has been edited since the run."""

from __future__ import annotations

import numpy as np
import pytest
from lvnet.phantom import make_phantom
from lvnet.recipe import LIVER


@pytest.fixture
def made(slicer_core, scene, module):
    """A volume in a DICOM study and its segmentation result."""
    from LVNetSegmentationLib import nodes

    scan, label = make_phantom(3, size=(30, 64, 64), spacing=(6.0, 6.0, 6.0))
    volume = nodes.addVolumeNode(scan, "ct")
    hierarchy = slicer_core.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.CreateItem(study, volume)
    volume.SetAttribute("DICOM.instanceUIDs", "1.2.3 1.2.4")
    result = nodes.addSegmentationNode(volume)
    nodes.writeSegments(nodes.piecesOf(label.array, [LIVER]), volume, result)
    return scan, label, volume, result


def edited(node) -> list:
    from LVNetSegmentationLib.edits import editedSegments
    from LVNetSegmentationLib.nodes import ownSegmentIds

    return editedSegments(node, ownSegmentIds(node))


def change(slicer, node, volume, at: tuple) -> None:
    name = node.GetSegmentation().GetNthSegmentID(0)
    array = slicer.util.arrayFromSegmentBinaryLabelmap(node, name, volume).copy()
    array[at] = 1 - array[at]
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, name, volume)


def test_a_result_is_not_edited_until_a_single_voxel_is(slicer_core, made):
    _scan, label, volume, result = made
    assert edited(result) == []
    change(slicer_core, result, volume, tuple(np.argwhere(label.array)[0]))
    assert edited(result) == ["liver"]


def test_more_room_around_the_voxels_or_another_segment_beside_them_is_no_edit(slicer_core, made):
    """Segment Editor enlarges the stored image, and stores several segments in one image."""
    _scan, _label, volume, result = made
    name = result.GetSegmentation().GetNthSegmentID(0)
    array = slicer_core.util.arrayFromSegmentBinaryLabelmap(result, name, volume)
    slicer_core.util.updateSegmentBinaryLabelmapFromArray(array.copy(), result, name, volume)
    other = result.GetSegmentation().AddEmptySegment("spleen", "spleen")
    slicer_core.util.updateSegmentBinaryLabelmapFromArray((1 - array).astype(np.uint8), result, other, volume)
    result.GetSegmentation().CollapseBinaryLabelmaps(False)
    assert edited(result) == []


def test_an_edit_is_noticed_after_saving_and_loading_and_only_an_edit(slicer_core, scene, made, tmp_path):
    _scan, label, volume, result = made
    again = []
    for number, changes in enumerate((False, True)):
        if changes:
            change(slicer_core, result, volume, tuple(np.argwhere(label.array)[0]))
        storage = slicer_core.vtkMRMLSegmentationStorageNode()
        scene.AddNode(storage)
        storage.SetFileName(str(tmp_path / f"{number}.seg.nrrd"))
        assert storage.WriteData(result)
        loaded = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "loaded")
        assert storage.ReadData(loaded)
        again.append(edited(loaded))
    assert again == [[], ["liver"]]


def test_an_empty_result_that_stays_empty_is_not_edited(slicer_core, scene, made):
    from LVNetSegmentationLib import nodes

    _scan, label, volume, _result = made
    result = nodes.addSegmentationNode(volume)
    nodes.writeSegments(nodes.piecesOf(0 * label.array, [LIVER]), volume, result)
    assert edited(result) == []
    change(slicer_core, result, volume, (3, 3, 3))
    assert edited(result) == ["liver"]


def test_a_result_belongs_to_its_volume_and_to_no_other_of_the_same_size(slicer_core, scene, made):
    from LVNetSegmentationLib import nodes
    from LVNetSegmentationLib.belonging import belongsTo

    scan, _label, volume, result = made
    other = nodes.addVolumeNode(scan, "other")
    assert belongsTo(result, volume)
    assert not belongsTo(result, other)
    # After loading from a file it has no reference volume: its grid decides.
    result.SetNodeReferenceID(result.GetReferenceImageGeometryReferenceRole(), None)
    assert belongsTo(result, volume)
    other.SetSpacing(1, 1, 1)
    assert not belongsTo(result, other)


def test_an_export_to_dicom_finds_patient_study_and_series(slicer_core, scene, made):
    """Slicer takes them from the study that contains the segmentation, and from its reference volume."""
    _scan, _label, volume, result = made
    hierarchy = slicer_core.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    items = [hierarchy.GetItemByDataNode(node) for node in (volume, result)]
    assert hierarchy.GetItemParent(items[0]) == hierarchy.GetItemParent(items[1])
    assert hierarchy.GetItemName(hierarchy.GetItemParent(items[1])) == "study"
    reference = result.GetNodeReference(result.GetReferenceImageGeometryReferenceRole())
    assert reference.GetAttribute("DICOM.instanceUIDs") == "1.2.3 1.2.4"


def test_surfaces_are_smooth_from_the_start(slicer_core, made):
    """A staircase surface has only axis-parallel normals; a smooth surface has normals in all directions."""
    from vtk.util.numpy_support import vtk_to_numpy

    _scan, _label, _volume, result = made
    from LVNetSegmentationLib.closedsurfaces import makeSurfaces

    makeSurfaces(result)
    surface = result.GetSegmentation().GetNthSegment(0).GetRepresentation("Closed surface")
    normals = np.abs(vtk_to_numpy(surface.GetPointData().GetNormals()))
    assert (normals.max(axis=1) > 0.99).mean() < 0.2
