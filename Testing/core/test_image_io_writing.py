"""Writing scans and label maps: the grid is preserved bit for bit, and files are complete or absent."""

from __future__ import annotations

import errno
import os
import re
import zlib

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from lvnet.errors import ImageError
from lvnet.image_io import (
    IMAGE_SUFFIXES,
    LABEL_SUFFIXES,
    check_output_path,
    read_image,
    read_labels,
    write_image,
    write_labels,
)
from lvnet.recipe import LIVER, LabelClass
from lvnet.volume import IDENTITY_DIRECTION, Volume
from scipy.spatial.transform import Rotation

TUMOUR = LabelClass(value=2, name="tumour | of\nthe ~ liver", colour=(0, 255, 51))
NIFTI = (".nii", ".nii.gz")
DOUBLES = (".nrrd", ".seg.nrrd")


@pytest.fixture
def labels():
    array = np.zeros((4, 5, 6), np.uint8)
    array[1:3, 2:4, 1:5] = 1
    return Volume(array, (2.5, 0.75, 0.5), (-31.5, 12.25, 100.0))


def grid(path):
    image = sitk.ReadImage(str(path))
    return image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection()


def some_image(seed: int) -> sitk.Image:
    """An oblique image with full double precision; every second one is left-handed."""
    draw = np.random.default_rng(seed)
    image = sitk.Image([6, 5, 4], sitk.sitkInt16)
    matrix = Rotation.random(random_state=seed).as_matrix() @ np.diag([1, 1, -1 if seed % 2 else 1])
    image.SetDirection(matrix.ravel().tolist())
    image.SetSpacing((draw.random(3) * 4 + 0.3).tolist())
    image.SetOrigin((draw.random(3) * 600 - 300).tolist())
    return image


def turned(axis: int, degrees: float) -> sitk.Image:
    image = some_image(1)
    angles = np.zeros(3)
    angles[axis] = degrees
    image.SetDirection(Rotation.from_euler("xyz", angles, degrees=True).as_matrix().ravel().tolist())
    return image


CASES = [*(some_image(seed) for seed in range(6)), *(turned(a, d) for a in range(3) for d in (0.01, 90, 180))]


@pytest.mark.parametrize("source", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("target", LABEL_SUFFIXES)
def test_label_maps_have_the_scans_grid_bit_for_bit(tmp_path, source, target):
    for image in CASES:
        path = tmp_path / f"scan{source}"
        sitk.WriteImage(image, str(path))
        scan = read_image(path)
        out = tmp_path / f"labels{target}"
        write_labels(scan.with_array(np.ones(scan.shape, np.uint8)), out, [LIVER])
        size, *expected = grid(path)
        got_size, *got = grid(out)
        assert got_size == size
        exact = target == ".mha" or ((source in NIFTI) == (target in NIFTI) and source != ".mha")
        for mine, theirs in zip(got, expected):
            # A format that cannot hold a value exactly rounds it to its own precision.
            tolerance = 0 if exact else 2e-5 if target in NIFTI else 2e-15
            assert np.allclose(mine, theirs, rtol=0, atol=tolerance)
            assert not exact or mine == theirs
        assert target in NIFTI or got[1] == expected[1]


@pytest.mark.parametrize("target", LABEL_SUFFIXES)
@pytest.mark.parametrize("order", ["xyz", "yzx", "zyx"])
def test_spacing_and_origin_of_float32_are_exact_in_every_format(tmp_path, target, order):
    direction = np.eye(3)[["xyz".index(axis) for axis in order]] * [1, -1, 1]
    spacing, origin = np.float32([2.4, 0.7, 0.9]), np.float32([-123.4, 55.1, 7.3])
    volume = Volume(
        np.ones((4, 5, 6), np.uint8), tuple(map(float, spacing)), tuple(map(float, origin)), tuple(direction.ravel())
    )
    out = tmp_path / f"labels{target}"
    write_labels(volume, out, [LIVER])
    size, *place, got_direction = grid(out)
    assert (size, *place) == ((6, 5, 4), volume.spacing[::-1], volume.origin)
    # ITK reads 1 from an .nrrd as s * (1 / s), which is one bit less for some spacings s.
    assert np.allclose(got_direction, volume.direction, rtol=0, atol=2.3e-16 if target in DOUBLES else 0)


@settings(max_examples=40, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.1, 10)] * 3),
    origin=st.tuples(*[st.floats(-2000, 2000)] * 3),
    flip=st.booleans(),
)
def test_a_nifti_grid_survives_any_number_of_round_trips(tmp_path_factory, angles, spacing, origin, flip):
    folder = tmp_path_factory.getbasetemp()
    matrix = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ np.diag([1, -1 if flip else 1, 1])
    first, second = folder / "first.nii", folder / "second.nii"
    write_image(Volume(np.zeros((2, 3, 4), np.int16), spacing, origin, tuple(matrix.ravel().tolist())), first)
    write_image(read_image(first), second)
    assert grid(second) == grid(first)
    assert np.allclose(grid(first)[3], matrix.ravel(), atol=2e-7)


@pytest.mark.parametrize("codes", [(1, 0), (0, 2), (1, 2), (2, 1)])
def test_a_nifti_that_others_wrote_is_matched_whichever_transform_it_carries(tmp_path, codes):
    path = tmp_path / "scan.nii"
    for seed in range(10):
        sitk.WriteImage(some_image(seed), str(path))
        data = bytearray(path.read_bytes())
        data[252:256] = np.array(codes, "<i2").tobytes()
        path.write_bytes(data)
        write_image(read_image(path), tmp_path / "out.nii.gz")
        assert grid(tmp_path / "out.nii.gz") == grid(path)


@pytest.mark.parametrize("unit", [1, 3])
def test_a_nifti_in_metres_or_microns_is_written_in_mm_for_programs_that_ignore_units(tmp_path, unit):
    path = tmp_path / "scan.nii"
    sitk.WriteImage(some_image(3), str(path))
    data = bytearray(path.read_bytes())
    data[123] = unit
    path.write_bytes(data)
    write_image(read_image(path), tmp_path / "out.nii")
    assert (tmp_path / "out.nii").read_bytes()[123] == 2
    for mine, theirs in zip(grid(tmp_path / "out.nii")[1:], grid(path)[1:]):
        assert np.allclose(mine, theirs, rtol=1e-6)


def test_the_two_transforms_of_a_nifti_say_the_same(tmp_path):
    """Other programs read the qform, or take the spacing from the sform."""
    for seed in range(10):
        path = tmp_path / "out.nii"
        image = some_image(seed)
        volume = Volume(
            np.zeros((4, 5, 6), np.uint8), image.GetSpacing()[::-1], image.GetOrigin(), image.GetDirection()
        )
        write_labels(volume, path, [LIVER])
        data = bytearray(path.read_bytes())
        sform = np.frombuffer(data, "<f4", 12, 280).reshape(3, 4).astype(float)
        assert np.allclose(np.linalg.norm(sform[:, :3], axis=0), image.GetSpacing(), rtol=1e-6)
        data[252:256] = np.array([1, 0], "<i2").tobytes()
        path.write_bytes(data)
        # Near half a turn, a quaternion in float32 has no better precision.
        assert np.allclose(grid(path)[3], image.GetDirection(), atol=1e-4)
        assert np.allclose(grid(path)[2], image.GetOrigin(), atol=1e-4)


def test_a_column_whose_length_disagrees_with_the_spacing_is_kept_as_it_is(tmp_path):
    path = tmp_path / "scan.nii"
    sitk.WriteImage(some_image(4), str(path))
    data = bytearray(path.read_bytes())
    data[280:328] = (np.frombuffer(data, "<f4", 12, 280) * np.float32(1.01)).tobytes()
    path.write_bytes(data)
    volume = read_image(path)
    assert "gives two voxel spacings" in volume.notes[0]
    write_image(volume, tmp_path / "out.nii")
    assert (tmp_path / "out.nii").read_bytes()[280:328] == bytes(data[280:328])
    again = read_image(tmp_path / "out.nii")
    assert again.same_grid(volume, 1e-6)


@pytest.mark.parametrize("suffix", LABEL_SUFFIXES)
def test_labels_come_back_as_they_were(tmp_path, labels, suffix):
    out = tmp_path / f"labels{suffix}"
    write_labels(labels, out, [LIVER])
    image = sitk.ReadImage(str(out))
    assert image.GetPixelID() == sitk.sitkUInt8
    assert np.array_equal(sitk.GetArrayFromImage(image), labels.array)
    assert np.array_equal(read_labels(out).array, labels.array)


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
@pytest.mark.parametrize("dtype", [np.int16, np.float32, ">i2", ">f4"])
def test_images_come_back_as_they_were(tmp_path, suffix, dtype):
    array = (np.random.default_rng(0).random((4, 5, 6)) * 1000 - 500).astype(dtype)
    out = tmp_path / f"image{suffix}"
    write_image(Volume(array, (1.5, 0.5, 0.25)), out)
    image = sitk.ReadImage(str(out))
    assert image.GetSpacing() == (0.25, 0.5, 1.5)
    assert np.array_equal(sitk.GetArrayFromImage(image), array)
    assert np.array_equal(read_image(out).array, array)


def test_views_that_are_not_contiguous_are_written_in_order(tmp_path, labels):
    flipped = Volume(labels.array[::-1, :, ::-1])
    for suffix in LABEL_SUFFIXES:
        write_labels(flipped, tmp_path / f"out{suffix}", [LIVER])
        assert np.array_equal(read_labels(tmp_path / f"out{suffix}").array, flipped.array)


@pytest.mark.parametrize("dtype", [np.bool_, np.int16, np.int64])
def test_labels_of_other_whole_types_become_uint8(tmp_path, labels, dtype):
    write_labels(labels.with_array(labels.array.astype(dtype)), tmp_path / "out.mha", [LIVER])
    assert np.array_equal(read_labels(tmp_path / "out.mha").array, labels.array)


def test_two_writes_of_one_label_map_give_the_same_bytes(tmp_path, labels):
    for suffix in LABEL_SUFFIXES:
        for name in ("a", "b"):
            write_labels(labels, tmp_path / (name + suffix), [LIVER])
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_a_segmentation_tells_slicer_name_colour_and_terminology(tmp_path, labels):
    array = labels.array.copy()
    array[3, 0, 0] = 2
    absent = LabelClass(value=9, name="absent")
    write_labels(labels.with_array(array), tmp_path / "out.seg.nrrd", [LIVER, TUMOUR, absent])
    image = sitk.ReadImage(str(tmp_path / "out.seg.nrrd"))
    fields = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    assert fields["Segment0_Name"] == "liver"
    assert fields["Segment0_LabelValue"] == "1"
    assert fields["Segment0_Layer"] == "0"
    assert fields["Segment0_Extent"] == "1 4 2 3 1 2"
    assert np.allclose(np.array(fields["Segment0_Color"].split(), float) * 255, LIVER.colour, atol=1e-3)
    assert fields["Segment0_Tags"] == (
        "TerminologyEntry:Segmentation category and type - 3D Slicer General Anatomy list"
        "~SCT^123037004^Anatomical Structure~SCT^10200004^Liver~^^~Anatomic codes - DICOM master list~^^~^^|"
    )
    assert fields["Segment1_Name"] == "tumour   of the   liver"
    assert fields["Segment1_Extent"] == "0 0 0 0 3 3"
    assert fields.get("Segment1_Tags", "") == ""
    assert fields["Segment2_Extent"] == "0 -1 0 -1 0 -1"
    assert len({fields[f"Segment{i}_ID"] for i in range(3)}) == 3
    assert fields["Segmentation_MasterRepresentation"] == "Binary labelmap"
    geometry = fields["Segmentation_ConversionParameters"].split("|")[1].rstrip(";").split(";")
    expected = np.diag([-0.5, -0.75, 2.5, 1.0])
    expected[:3, 3] = (31.5, -12.25, 100.0)
    assert np.array_equal(np.array(geometry[:16], float).reshape(4, 4), expected)
    assert geometry[16:] == ["0", "5", "0", "4", "0", "3"]


def test_a_label_without_a_class_is_a_bug_and_no_users_error(tmp_path, labels):
    with pytest.raises(ValueError, match="label value 1"):
        write_labels(labels, tmp_path / "out.nrrd", [TUMOUR])
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("array", [np.full((2, 2, 2), 0.5), np.full((2, 2, 2), 300), np.full((2, 2, 2), -1)])
def test_voxels_that_are_no_labels_are_a_bug(tmp_path, array):
    with pytest.raises(ValueError, match="0 to 255"):
        write_labels(Volume(array), tmp_path / "out.nrrd", [LIVER])


@pytest.mark.parametrize(
    "array", [np.zeros((2, 2, 2), np.float64), np.zeros((2, 2), np.int16), np.zeros((0, 2, 2), np.int16)]
)
def test_images_of_another_kind_are_a_bug(tmp_path, array):
    with pytest.raises(ValueError, match=r"int16|\(z, y, x\)"):
        write_image(Volume(array), tmp_path / "out.nrrd")


def test_an_image_is_no_segmentation(tmp_path):
    with pytest.raises(ImageError, match="segmentations, not images"):
        write_image(Volume(np.zeros((2, 2, 2), np.int16)), tmp_path / "out.seg.nrrd")


@pytest.mark.parametrize("suffix", NIFTI)
def test_nifti_refuses_what_it_cannot_hold(tmp_path, suffix):
    skewed = Volume(np.zeros((2, 2, 2), np.int16), direction=(1, 0.2, 0, 0, 1, 0, 0, 0, 1))
    with pytest.raises(ImageError, match="perpendicular"):
        write_image(skewed, tmp_path / f"out{suffix}")
    with pytest.raises(ImageError, match="32767"):
        write_image(Volume(np.zeros((1, 1, 40000), np.int16)), tmp_path / f"out{suffix}")
    write_image(skewed, tmp_path / "out.mha")
    assert grid(tmp_path / "out.mha")[3] == skewed.direction


@pytest.mark.parametrize("spacing", [(0.0, 1.0, 1.0), (1.0, -1.0, 1.0), (1.0, 1.0, float("nan"))])
def test_a_volume_of_impossible_spacing_is_not_written(tmp_path, spacing):
    with pytest.raises(ImageError, match="spacing"):
        write_image(Volume(np.zeros((2, 2, 2), np.int16), spacing), tmp_path / "out.mha")


# All or nothing


class _Breaks:
    def __init__(self, error):
        self.error = error

    def compress(self, data):
        return b"x" * 10

    def flush(self):
        raise self.error


@pytest.mark.parametrize(
    ("error", "expected", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), ImageError, "disk is full"),
        (OSError(errno.EACCES, "Permission denied"), ImageError, "Permission denied"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
        (RuntimeError("a bug"), RuntimeError, "a bug"),
    ],
)
@pytest.mark.parametrize("existing", [True, False])
def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(
    tmp_path, labels, monkeypatch, error, expected, words, existing
):
    out = tmp_path / "labels.nrrd"
    if existing:
        out.write_bytes(b"the old one")
    monkeypatch.setattr(zlib, "compressobj", lambda *_: _Breaks(error))
    with pytest.raises(expected, match=words) as caught:
        write_labels(labels, out, [LIVER])
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == (["labels.nrrd"] if existing else [])
    assert not existing or out.read_bytes() == b"the old one"


def test_a_file_that_is_there_is_replaced_at_once(tmp_path, labels, monkeypatch):
    out = tmp_path / "labels.mha"
    out.write_bytes(b"the old one")
    seen = []
    replace = os.replace

    def watched(source, target):
        seen.append((os.path.basename(source), out.read_bytes()))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    write_labels(labels, out, [LIVER])
    assert seen[0][1] == b"the old one"
    assert re.fullmatch(r"\.lvnet-[0-9a-f]{32}\.part", seen[0][0])
    assert np.array_equal(read_labels(out).array, labels.array)


def test_a_written_file_has_the_usual_permissions(tmp_path, labels):
    before = os.umask(0o022)
    try:
        write_labels(labels, tmp_path / "labels.mha", [LIVER])
    finally:
        os.umask(before)
    assert (tmp_path / "labels.mha").stat().st_mode & 0o777 == 0o644


def test_a_link_to_the_output_stays_a_link(tmp_path, labels):
    target = tmp_path / "somewhere else"
    target.mkdir()
    link = tmp_path / "labels.nii.gz"
    os.symlink(target / "real.nii.gz", link)
    write_labels(labels, link, [LIVER])
    assert link.is_symlink()
    assert np.array_equal(read_labels(target / "real.nii.gz").array, labels.array)


def test_other_scripts_and_blanks_in_output_names_are_fine(tmp_path, labels):
    folder = tmp_path / "肝臓 übersicht"
    folder.mkdir()
    for suffix in LABEL_SUFFIXES:
        write_labels(labels, folder / f"é 1{suffix}", [LIVER])
        assert np.array_equal(read_labels(folder / f"é 1{suffix}").array, labels.array)


@pytest.mark.parametrize("name", ["out.png", "out", "out.nii.zip", "nii.gz", ".nii.gz", "out.nhdr", "out.mhd"])
def test_an_unknown_suffix_is_refused_with_those_that_work(tmp_path, labels, name):
    with pytest.raises(ImageError, match=re.escape(".nii.gz, .nii, .seg.nrrd, .nrrd, .mha")):
        write_labels(labels, tmp_path / name, [LIVER])


def test_an_output_path_is_checked_before_the_work(tmp_path):
    assert check_output_path(tmp_path / "a.SEG.NRRD", LABEL_SUFFIXES) == ".seg.nrrd"
    assert check_output_path(str(tmp_path / "a.nii.gz"), IMAGE_SUFFIXES) == ".nii.gz"
    (tmp_path / "folder.nrrd").mkdir()
    for path, words in {
        tmp_path / "none" / "a.nrrd": "does not exist",
        tmp_path / "folder.nrrd": "is a folder",
        tmp_path / "a.jpg": "must end with",
    }.items():
        with pytest.raises(ImageError, match=words) as caught:
            check_output_path(path, LABEL_SUFFIXES)
        assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.nrrd"]


def test_a_folder_that_takes_no_files_is_refused(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(ImageError, match="is not writable"):
        check_output_path(tmp_path / "a.nrrd", LABEL_SUFFIXES)


def test_the_default_direction_is_written_as_it_is(tmp_path):
    write_image(Volume(np.zeros((2, 3, 4), np.int16)), tmp_path / "a.nrrd")
    assert grid(tmp_path / "a.nrrd") == ((4, 3, 2), (1, 1, 1), (0, 0, 0), IDENTITY_DIRECTION)
