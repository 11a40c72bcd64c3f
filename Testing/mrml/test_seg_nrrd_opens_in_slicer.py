""".seg.nrrd files written by lvnet are opened with 3D Slicer's own storage node, and the reverse."""

from __future__ import annotations

import importlib
import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
from lvnet.image_io import read_labels, read_segments, write_labels
from lvnet.recipe import LIVER, LabelClass
from lvnet.volume import Volume

SPLEEN = LabelClass(value=3, name="spleen", code="78961009", meaning="Spleen", colour=(157, 108, 162))
ABSENT = LabelClass(value=7, name="absent", code="", meaning="", colour=(0, 255, 51))


@pytest.fixture(scope="module")
def slicer():
    if importlib.util.find_spec("slicer") is None:
        pytest.skip("slicer-core is not installed here: pip install slicer-core (Python 3.10 to 3.13)")
    try:
        module = importlib.import_module("slicer")
    except ImportError as error:
        pytest.skip(f"slicer-core is installed but cannot be loaded here: {error}")
    if not hasattr(module, "vtkMRMLSegmentationStorageNode"):
        pytest.skip("the 'slicer' that is installed here is not slicer-core: it has no MRML classes")
    return module


@pytest.fixture(scope="module")
def labels() -> Volume:
    array = np.zeros((7, 9, 11), np.uint8)
    array[1:4, 2:6, 3:9] = LIVER.value
    array[5:6, 7:8, 0:2] = SPLEEN.value
    turn = np.radians(20.0)
    direction = (np.cos(turn), -np.sin(turn), 0.0, np.sin(turn), np.cos(turn), 0.0, 0.0, 0.0, 1.0)
    return Volume(array, (2.5, 0.75, 0.8), (-31.5, 12.25, 100.0), direction)


@pytest.fixture(scope="module")
def opened(slicer, labels, tmp_path_factory):
    path = tmp_path_factory.mktemp("segmentation") / "liver and spleen.seg.nrrd"
    write_labels(labels, path, [LIVER, SPLEEN, ABSENT])
    scene = slicer.vtkMRMLScene()
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(path))
    assert storage.ReadData(node) == 1
    return SimpleNamespace(scene=scene, application=application, node=node, storage=storage, path=path)


def segments(opened):
    segmentation = opened.node.GetSegmentation()
    return [segmentation.GetNthSegment(i) for i in range(segmentation.GetNumberOfSegments())]


def test_slicer_reads_the_file_without_a_complaint(opened):
    assert opened.storage.GetUserMessages().GetNumberOfMessages() == 0


def test_every_class_is_a_segment_with_its_name_and_label_value(opened):
    assert [(s.GetName(), s.GetLabelValue()) for s in segments(opened)] == [("liver", 1), ("spleen", 3), ("absent", 7)]


def test_segments_have_the_recommended_colours(opened):
    for segment, entry in zip(segments(opened), (LIVER, SPLEEN, ABSENT)):
        assert np.allclose(np.array(segment.GetColor()) * 255, entry.colour, atol=1e-3)


def test_slicer_understands_the_terminology(slicer, opened):
    from vtk import mutable

    tags = []
    for segment in segments(opened)[:2]:
        value = mutable("")
        assert segment.GetTag("TerminologyEntry", value)
        tags.append(str(value))
    assert tags[0].split("~")[:3] == [
        "Segmentation category and type - 3D Slicer General Anatomy list",
        "SCT^123037004^Anatomical Structure",
        "SCT^10200004^Liver",
    ]
    assert "SCT^78961009^Spleen" in tags[1]
    entry = slicer.vtkSlicerTerminologyEntry()
    logic = slicer.vtkSlicerTerminologiesModuleLogic()
    assert logic.DeserializeTerminologyEntry(tags[0], entry)
    assert entry.GetTypeObject().GetCodeValue() == "10200004"
    assert entry.GetTypeObject().GetCodeMeaning() == "Liver"


def voxels_of(opened, segment):
    """(z, y, x) voxels of a segment's own label map, and the (x, y, z) index of the first one."""
    from vtk.util.numpy_support import vtk_to_numpy

    image = segment.GetRepresentation("Binary labelmap")
    extent = image.GetExtent()
    shape = tuple(extent[2 * i + 1] - extent[2 * i] + 1 for i in (2, 1, 0))
    values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(shape)
    return values == segment.GetLabelValue(), (extent[4], extent[2], extent[0]), image


def test_voxels_are_where_they_were_written(opened, labels):
    for segment, entry in zip(segments(opened)[:2], (LIVER, SPLEEN)):
        mask, first, _ = voxels_of(opened, segment)
        whole = np.zeros(labels.shape, bool)
        whole[tuple(slice(f, f + n) for f, n in zip(first, mask.shape))] = mask
        assert np.array_equal(whole, labels.array == entry.value)


def test_the_grid_in_slicer_is_the_scans_own_in_ras(slicer, opened, labels):
    from vtk import vtkMatrix4x4

    matrix = vtkMatrix4x4()
    _, _, image = voxels_of(opened, segments(opened)[0])
    image.GetImageToWorldMatrix(matrix)
    got = np.array([[matrix.GetElement(i, j) for j in range(4)] for i in range(4)])
    expected = np.eye(4)
    expected[:3, :3] = labels.direction_matrix * labels.spacing[::-1]
    expected[:3, 3] = labels.origin
    assert np.allclose(got, np.diag([-1, -1, 1, 1]) @ expected, atol=1e-9)


def test_slicer_knows_the_whole_grid_of_the_scan(slicer, opened, labels):
    text = opened.node.GetSegmentation().GetConversionParameter("Reference image geometry")
    numbers = [float(part) for part in text.split(";") if part]
    assert len(numbers) == 22
    assert numbers[16:] == [0, 10, 0, 8, 0, 6]


def test_what_slicer_saves_is_read_back_as_the_same_label_map(opened, labels, tmp_path):
    saved = tmp_path / "saved.seg.nrrd"
    opened.storage.SetFileName(str(saved))
    assert opened.storage.WriteData(opened.node) == 1
    opened.storage.SetFileName(str(opened.path))
    again = read_labels(saved)
    assert again.same_grid(labels)
    assert np.array_equal(again.array, labels.array)


def test_overlapping_segments_that_slicer_saves_in_layers_are_merged(slicer, opened, tmp_path):
    from vtk.util.numpy_support import vtk_to_numpy

    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.GetSegmentation().SetSourceRepresentationName("Binary labelmap")
    for name, (begin, end) in {"below": (0, 4), "above": (2, 6)}.items():
        image = slicer.vtkOrientedImageData()
        image.SetExtent(0, 5, 0, 5, 0, 5)
        image.AllocateScalars(3, 1)  # unsigned char
        values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(6, 6, 6)
        values[:] = 0
        values[begin:end] = 1
        segment = slicer.vtkSegment()
        segment.SetName(name)
        segment.AddRepresentation("Binary labelmap", image)
        node.GetSegmentation().AddSegment(segment)
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(tmp_path / "layers.seg.nrrd"))
    assert storage.WriteData(node) == 1
    merged = read_labels(tmp_path / "layers.seg.nrrd")
    assert any("2 layers" in note for note in merged.notes)
    assert merged.shape == (6, 6, 6)
    assert merged.array.all()


@pytest.mark.parametrize("shared", [True, False])
def test_segments_that_slicer_saves_are_read_one_by_one_where_they_overlap_and_are_cropped(slicer, tmp_path, shared):
    """Each segment has its own extent; `shared` puts those that do not overlap into one layer."""
    from vtk.util.numpy_support import vtk_to_numpy

    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.GetSegmentation().SetSourceRepresentationName("Binary labelmap")
    boxes = {"below": (2, 6), "above": (4, 9), "far": (10, 12)}
    for name, (begin, end) in boxes.items():
        image = slicer.vtkOrientedImageData()
        image.SetExtent(3, 7, 2, 5, begin, end - 1)
        image.SetSpacing(0.5, 2.0, 3.0)
        image.SetOrigin(10.0, -20.0, 30.0)
        image.AllocateScalars(3, 1)  # unsigned char
        vtk_to_numpy(image.GetPointData().GetScalars())[:] = 1
        segment = slicer.vtkSegment()
        segment.SetName(name)
        segment.AddRepresentation("Binary labelmap", image)
        node.GetSegmentation().AddSegment(segment)
    if shared:
        node.GetSegmentation().CollapseBinaryLabelmaps(False)
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(tmp_path / "layers.seg.nrrd"))
    storage.SetCropToMinimumExtent(True)
    assert storage.WriteData(node) == 1
    volume = read_segments(tmp_path / "layers.seg.nrrd")
    assert volume.shape == (10, 4, 5)
    assert volume.spacing == (3.0, 2.0, 0.5)
    # LPS of the first voxel that remains after cropping: index (3, 2, 2) in RAS.
    assert volume.origin == pytest.approx((-(10.0 + 3 * 0.5), -(-20.0 + 2 * 2.0), 30.0 + 2 * 3.0))
    assert [segment.name for segment in volume.segments] == list(boxes)
    for segment, (begin, end) in zip(volume.segments, boxes.values()):
        expected = np.zeros(volume.shape, bool)
        expected[begin - 2 : end - 2] = True
        assert np.array_equal(np.isin(volume.array, segment.voxels), expected)
