"""Results survive saving and loading, as files and with the scene."""

from __future__ import annotations

import numpy as np
import pytest
from lvnet.image_io import read_labels


@pytest.fixture
def result(slicer_core, scene, logic, weights, turned_volume):
    """A segmentation of an oblique volume under a transform, and a table."""
    volume = turned_volume
    segmentation = logic.segment(volume, device="cpu", weights=weights)
    _, table = logic.evaluate(segmentation, segmentation)
    return volume, segmentation, table


def voxels_of(slicer, node, volume):
    identifier = node.GetSegmentation().GetSegmentIdBySegmentName("liver")
    return slicer.util.arrayFromSegmentBinaryLabelmap(node, identifier, volume).copy()


def test_as_seg_nrrd_it_is_the_same_label_map_again(slicer_core, scene, logic, result, tmp_path):
    volume, segmentation, _ = result
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(tmp_path / "Leber ä.seg.nrrd"))
    assert storage.WriteData(segmentation) == 1
    voxels = voxels_of(slicer_core, segmentation, volume)
    again = read_labels(tmp_path / "Leber ä.seg.nrrd")
    assert np.array_equal(again.array > 0, voxels > 0)
    other = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "loaded")
    assert storage.ReadData(other) == 1
    segment = other.GetSegmentation().GetNthSegment(0)
    assert segment.GetName() == "liver"
    assert np.allclose(np.array(segment.GetColor()) * 255, (221, 130, 101), atol=1e-3)
    other.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    assert logic.evaluate(other, segmentation)[0]["dice"] == 1


def test_a_saved_scene_opens_as_it_was_and_a_new_run_replaces_its_own_segment(
    slicer_core, scene, logic, result, weights, tmp_path
):
    volume, segmentation, table = result
    voxels = voxels_of(slicer_core, segmentation, volume)
    identifier = segmentation.GetSegmentation().GetNthSegmentID(0)
    names = {}
    for node, name in ((volume, "ct.nrrd"), (segmentation, "liver.seg.nrrd"), (table, "metrics.tsv"),
                       (volume.GetParentTransformNode(), "moved.h5")):  # fmt: skip
        storage = node.CreateDefaultStorageNode()
        scene.AddNode(storage)
        node.SetAndObserveStorageNodeID(storage.GetID())
        storage.SetFileName(str(tmp_path / name))
        assert storage.WriteData(node) == 1
        names[node.GetName()] = node.GetClassName()
    scene.SetURL(str(tmp_path / "scene.mrml"))
    scene.SetRootDirectory(str(tmp_path))
    assert scene.Commit()
    scene.Clear(0)
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Connect()

    volume = scene.GetFirstNodeByName("ct")
    segmentation = scene.GetFirstNodeByName("ct segmentation")
    assert segmentation.GetParentTransformNode() is volume.GetParentTransformNode() is not None
    assert np.array_equal(voxels_of(slicer_core, segmentation, volume), voxels)
    role = slicer_core.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    assert segmentation.GetNodeReference(role) is volume
    table = scene.GetFirstNodeByClass("vtkMRMLTableNode")
    assert float(table.GetTable().GetValueByName(0, "DICE").ToString()) == 1.0
    again = logic.segment(volume, segmentation, device="cpu", weights=weights)
    assert again.GetSegmentation().GetNumberOfSegments() == 1
    assert again.GetSegmentation().GetNthSegmentID(0) == identifier
    # A further row can be added to a table that was read from a file.
    logic.evaluate(again, again, preset="surfel", tableNode=table)
    assert table.GetNumberOfRows() == 2
