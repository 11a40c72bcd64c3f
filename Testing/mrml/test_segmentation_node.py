"""From a volume node to a segmentation node on Slicer's real MRML (slicer-core)."""

from __future__ import annotations

import numpy as np
import pytest
from lvnet.errors import ImageError
from lvnet.recipe import LIVER, LabelClass
from lvnet.volume import Volume

SPLEEN = LabelClass(value=3, name="spleen", code="78961009", meaning="Spleen", colour=(157, 108, 162))
SHAPE = (7, 9, 11)


@pytest.fixture(scope="session")
def nodes(slicer_core):
    from LVNetSegmentationLib import nodes

    return nodes


@pytest.fixture
def scan() -> Volume:
    """Oblique, anisotropic, far from the origin, with a different value in every voxel."""
    a, b = np.radians(20.0), np.radians(-13.0)
    about_z = np.array([[np.cos(a), -np.sin(a), 0.0], [np.sin(a), np.cos(a), 0.0], [0.0, 0.0, 1.0]])
    about_x = np.array([[1.0, 0.0, 0.0], [0.0, np.cos(b), -np.sin(b)], [0.0, np.sin(b), np.cos(b)]])
    array = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE) - 300
    direction = tuple(float(v) for v in (about_z @ about_x).ravel())
    return Volume(array, (2.5, 0.75, 0.8), (-31.5, 12.25, 100.0), direction, "ct")


@pytest.fixture
def volume_node(scene, nodes, scan):
    return nodes.addVolumeNode(scan, "ct")


@pytest.fixture
def moved(slicer_core, scene, volume_node):
    """A transform that translates and rotates, applied to the volume."""
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    turn = np.eye(4)
    turn[:3, :3] = [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    turn[:3, 3] = (50.0, -20.0, 7.5)
    slicer_core.util.updateTransformMatrixFromArray(transform, turn)
    volume_node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def labels_on(scan) -> Volume:
    array = np.zeros(scan.shape, np.uint8)
    array[1:4, 2:6, 3:9] = LIVER.value
    array[5:6, 7:8, 0:2] = SPLEEN.value
    return scan.with_array(array)


def write(nodes, labels, classes, volume_node, output):
    return nodes.writeSegments(nodes.piecesOf(labels.array, classes), volume_node, output)


def read_back(slicer, segmentation_node, name, volume_node):
    identifier = segmentation_node.GetSegmentation().GetSegmentIdBySegmentName(name)
    return slicer.util.arrayFromSegmentBinaryLabelmap(segmentation_node, identifier, volume_node)


def terminology_of(slicer, segment) -> str:
    import vtk

    tag = vtk.reference("")
    segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), tag)
    return str(tag)


def add_foreign_segment(slicer, node, box, geometry_of):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    geometry_of.GetIJKToRASMatrix(matrix)
    image = slicer.vtkOrientedImageData()
    image.SetExtent(*box)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    image.GetPointData().GetScalars().Fill(1)
    image.SetGeometryFromImageToWorldMatrix(matrix)
    segment = slicer.vtkSegment()
    segment.SetName("drawn by hand")
    segment.AddRepresentation("Binary labelmap", image)
    node.GetSegmentation().AddSegment(segment)


def test_a_volume_node_becomes_the_same_volume_in_lps(nodes, scan, volume_node):
    volume = nodes.volumeFromNode(volume_node)
    assert volume.same_grid(scan, tolerance=1e-9)
    assert volume.array.dtype == np.int16
    assert np.array_equal(volume.array, scan.array)


def test_ras_is_turned_into_lps_and_not_only_there_and_back(nodes, slicer_core, scene):
    matrix = np.array([[-0.5, 0, 0, 11], [0, -0.6, 0, 22], [0, 0, 3.0, 33], [0, 0, 0, 1]])
    node = slicer_core.util.addVolumeFromArray(np.zeros((2, 3, 4), np.int16), ijkToRAS=matrix)
    volume = nodes.volumeFromNode(node)
    assert volume.origin == (-11.0, -22.0, 33.0)
    assert np.allclose(volume.direction_matrix, np.eye(3))
    assert volume.spacing == (3.0, 0.6, 0.5)


def test_a_mirrored_grid_keeps_its_handedness(nodes, slicer_core, scene):
    matrix = np.diag([-0.5, -0.6, -3.0, 1.0])
    node = slicer_core.util.addVolumeFromArray(np.zeros((2, 3, 4), np.int16), ijkToRAS=matrix)
    assert np.allclose(nodes.volumeFromNode(node).direction_matrix, np.diag([1.0, 1.0, -1.0]))


def test_voxels_come_back_exactly_under_a_parent_transform(slicer_core, scene, nodes, scan, volume_node, moved):
    labels = labels_on(scan)
    output = nodes.addSegmentationNode(volume_node)
    write(nodes, labels, [LIVER, SPLEEN], volume_node, output)
    assert output.GetParentTransformNode() is moved
    for entry in (LIVER, SPLEEN):
        got = read_back(slicer_core, output, entry.name, volume_node)
        assert np.array_equal(got > 0, labels.array == entry.value)


def test_the_grid_of_the_scan_is_the_reference_of_the_segmentation(slicer_core, scene, nodes, scan, volume_node):
    output = nodes.addSegmentationNode(volume_node)
    write(nodes, labels_on(scan), [LIVER], volume_node, output)
    role = slicer_core.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    assert output.GetNodeReference(role) is volume_node
    assert output.GetSegmentation().GetConversionParameter("Reference image geometry")


def test_a_segment_has_its_name_colour_and_terminology(slicer_core, scene, nodes, scan, volume_node):
    output = nodes.addSegmentationNode(volume_node)
    write(nodes, labels_on(scan), [LIVER], volume_node, output)
    segment = output.GetSegmentation().GetNthSegment(0)
    assert segment.GetName() == "liver"
    assert np.allclose(np.array(segment.GetColor()) * 255, (221, 130, 101))
    entry = slicer_core.vtkSlicerTerminologyEntry()
    assert slicer_core.vtkSlicerTerminologiesModuleLogic().DeserializeTerminologyEntry(
        terminology_of(slicer_core, segment), entry
    )
    assert entry.GetCategoryObject().GetCodeMeaning() == "Anatomical Structure"
    assert (entry.GetTypeObject().GetCodeValue(), entry.GetTypeObject().GetCodeMeaning()) == ("10200004", "Liver")
    assert entry.GetTypeObject().GetCodingSchemeDesignator() == "SCT"


@pytest.mark.parametrize("made_by_slicer", [True, False])
def test_the_output_is_named_after_the_input_and_lies_beside_it(slicer_core, scene, nodes, volume_node, made_by_slicer):
    import vtk

    hierarchy = slicer_core.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.CreateItem(study, volume_node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def make_item(_scene, _event, node):
        # Slicer's application does this for every new segmentation.
        if made_by_slicer and node.IsA("vtkMRMLSegmentationNode"):
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    tag = scene.AddObserver(scene.NodeAddedEvent, make_item)
    try:
        output = nodes.addSegmentationNode(volume_node)
    finally:
        scene.RemoveObserver(tag)
    assert output.GetName() == "ct segmentation"
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(output)) == study


def test_a_second_run_replaces_its_own_segments_and_keeps_those_of_others(slicer_core, scene, nodes, scan, volume_node):
    output = nodes.addSegmentationNode(volume_node)
    labels = labels_on(scan)
    write(nodes, labels, [LIVER], volume_node, output)
    identifier = output.GetSegmentation().GetNthSegmentID(0)
    # A segment drawn by hand inside the liver: overlapping segments must not erase each other.
    add_foreign_segment(slicer_core, output, (4, 6, 3, 4, 2, 2), volume_node)
    larger = labels.with_array(np.where(labels.array == SPLEEN.value, LIVER.value, labels.array).astype(np.uint8))
    write(nodes, larger, [LIVER], volume_node, output)
    assert output.GetSegmentation().GetNumberOfSegments() == 2
    assert output.GetSegmentation().GetSegmentIdBySegmentName("liver") == identifier
    assert np.array_equal(read_back(slicer_core, output, "liver", volume_node) > 0, larger.array > 0)
    by_hand = np.zeros(SHAPE, bool)
    by_hand[2:3, 3:5, 4:7] = True
    assert np.array_equal(read_back(slicer_core, output, "drawn by hand", volume_node) > 0, by_hand)


def test_where_surfaces_went_with_the_earlier_segments_the_caller_is_told(slicer_core, scene, nodes, scan, volume_node):
    output = nodes.addSegmentationNode(volume_node)
    assert not write(nodes, labels_on(scan), [LIVER], volume_node, output)
    assert output.CreateClosedSurfaceRepresentation()
    assert write(nodes, labels_on(scan), [LIVER], volume_node, output)
    assert not write(nodes, labels_on(scan), [LIVER], volume_node, output)


def test_nothing_found_is_an_empty_segment_that_3d_does_not_choke_on(
    slicer_core, scene, nodes, scan, volume_node, capfd
):
    output = nodes.addSegmentationNode(volume_node)
    write(nodes, scan.with_array(np.zeros(SHAPE, np.uint8)), [LIVER], volume_node, output)
    assert not read_back(slicer_core, output, "liver", volume_node).any()
    output.CreateClosedSurfaceRepresentation()
    assert "ERR" not in capfd.readouterr().err


def test_segments_of_others_under_another_transform_are_not_moved(slicer_core, scene, nodes, scan, volume_node, moved):
    output = nodes.addSegmentationNode(volume_node)
    add_foreign_segment(slicer_core, output, (4, 6, 3, 4, 2, 2), volume_node)
    with pytest.raises(ImageError, match="another transform"):
        write(nodes, labels_on(scan), [LIVER], volume_node, output)
    assert output.GetParentTransformNode() is None
    assert output.GetSegmentation().GetNumberOfSegments() == 1


def test_segments_of_others_that_are_surfaces_are_refused(slicer_core, scene, nodes, scan, volume_node):
    output = nodes.addSegmentationNode(volume_node)
    add_foreign_segment(slicer_core, output, (4, 6, 3, 4, 2, 4), volume_node)
    output.CreateClosedSurfaceRepresentation()
    output.GetSegmentation().SetSourceRepresentationName("Closed surface")
    with pytest.raises(ImageError, match="surfaces"):
        nodes.checkOutput(output, volume_node)


def test_a_volume_node_without_voxels_is_refused(scene, nodes):
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "nothing")
    with pytest.raises(ImageError, match="nothing holds no voxels"):
        nodes.volumeFromNode(node)


def test_a_colour_image_is_refused(slicer_core, scene, nodes):
    node = slicer_core.util.addVolumeFromArray(
        np.zeros((2, 3, 4, 3), np.uint8), name="photo", nodeClassName="vtkMRMLVectorVolumeNode"
    )
    with pytest.raises(ImageError, match="colour"):
        nodes.volumeFromNode(node)


def test_voxels_of_other_types_keep_their_values(slicer_core, scene, nodes):
    whole = slicer_core.util.addVolumeFromArray(np.full((2, 3, 4), 1500.0, np.float64))
    fraction = slicer_core.util.addVolumeFromArray(np.full((2, 3, 4), 40.25, np.float64))
    assert nodes.volumeFromNode(whole).array.dtype == np.int16
    assert nodes.volumeFromNode(whole).array.max() == 1500
    assert nodes.volumeFromNode(fraction).array.dtype == np.float32
    assert nodes.volumeFromNode(fraction).array.max() == 40.25


def test_voxels_that_are_not_finite_become_air_and_that_is_said(slicer_core, scene, nodes):
    array = np.zeros((2, 3, 4), np.float32)
    array[0, 1, 2] = np.nan
    volume = nodes.volumeFromNode(slicer_core.util.addVolumeFromArray(array))
    assert volume.array[0, 1, 2] == -1024
    assert "without a finite value" in volume.notes[0]
    nothing = slicer_core.util.addVolumeFromArray(np.full((2, 3, 4), np.inf, np.float32))
    with pytest.raises(ImageError, match="finite"):
        nodes.volumeFromNode(nothing)


def test_a_class_without_a_code_keeps_slicers_own_default_terminology(slicer_core, scene, nodes, scan, volume_node):
    output = nodes.addSegmentationNode(volume_node)
    write(nodes, labels_on(scan), [LabelClass(value=3, name="something")], volume_node, output)
    segment = output.GetSegmentation().GetNthSegment(0)
    assert segment.GetName() == "something"
    assert terminology_of(slicer_core, segment) == terminology_of(slicer_core, slicer_core.vtkSegment())
