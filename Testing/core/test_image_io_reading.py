"""Reading scans and label maps from NIfTI, NRRD and MetaImage files."""

from __future__ import annotations

import gzip
import os
import struct

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from lvnet.errors import ImageError
from lvnet.image_io import read_image, read_labels

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")


@pytest.fixture(autouse=True)
def silent_stderr(capfd):
    """Fails if a library prints to the user's terminal."""
    yield
    assert capfd.readouterr().err == ""


@pytest.fixture
def save(tmp_path):
    """Writes (z, y, x) voxels, or an image, with ITK and returns the path."""

    def write(voxels, suffix=".mha", *, spacing=(0.8, 0.7, 2.5), origin=(-10.5, 20.25, 3.0), compressed=True):
        image = voxels if isinstance(voxels, sitk.Image) else sitk.GetImageFromArray(voxels)
        if not isinstance(voxels, sitk.Image) and image.GetDimension() == 3:
            image.SetSpacing(spacing)
            image.SetOrigin(origin)
            image.SetDirection((1, 0, 0, 0, 0, -1, 0, 1, 0))
        path = tmp_path / f"scan{suffix}"
        sitk.WriteImage(image, str(path), compressed)
        return path

    return write


@pytest.fixture
def ct():
    return np.random.default_rng(7).integers(-1024, 1500, (5, 6, 7), dtype=np.int16)


def patched(path, *changes, skip=0):
    data = path.read_bytes()
    for old, new in changes:
        assert old in data
        data = data.replace(old, new, 1)
    path.write_bytes(data[: len(data) - skip])
    return path


def packed(path, offset, form, *values):
    """Overwrites a field of an uncompressed NIfTI header."""
    data = bytearray(path.read_bytes())
    struct.pack_into(form, data, offset, *values)
    path.write_bytes(data)
    return path


def message_of(path, read=read_image):
    with pytest.raises(ImageError) as caught:
        read(path)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 400
    assert path.name in text
    return text


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("compressed", [True, False])
def test_a_scan_keeps_its_voxels_and_the_place_that_itk_gives_it(save, ct, suffix, compressed):
    path = save(ct, suffix, compressed=compressed)
    volume = read_image(path)
    image = sitk.ReadImage(str(path))
    assert volume.array.dtype == np.int16
    assert np.array_equal(volume.array, ct)
    assert volume.spacing == image.GetSpacing()[::-1]
    assert volume.origin == image.GetOrigin()
    assert volume.direction == image.GetDirection()
    assert volume.name == "scan"
    assert volume.notes == ()
    assert volume.array.flags.writeable


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        (np.uint8, (0, 255), np.int16),
        (np.int8, (-128, 127), np.int16),
        (np.uint16, (0, 4095), np.int16),
        (np.uint16, (0, 40000), np.float32),
        (np.int32, (-1024, 3000), np.int16),
        (np.uint32, (0, 70000), np.float32),
        (np.int64, (-1024, 3000), np.int16),
        (np.uint64, (0, 100000), np.float32),
        (np.float32, (-1024.0, 3000.0), np.int16),
        (np.float32, (-1024.5, 3000.0), np.float32),
        (np.float64, (-1000.0, 12.25), np.float32),
        (np.float64, (-1000.0, 32768.0), np.float32),
    ],
)
def test_values_become_int16_where_that_is_exact_and_float32_elsewhere(save, suffix, dtype, values, expected):
    voxels = np.zeros((3, 4, 5), dtype)
    voxels[1, 2, 3], voxels[2, 0, 0] = values
    volume = read_image(save(voxels, suffix))
    assert volume.array.dtype == expected
    assert np.array_equal(volume.array, voxels)


def test_a_big_endian_file_is_read_like_any_other(save, ct):
    path = save(ct, ".mha", compressed=False)
    data = path.read_bytes()
    header = data[: data.index(b"LOCAL\n") + 6].replace(b"OrderMSB = False", b"OrderMSB = True")
    path.write_bytes(header + ct.astype(">i2").tobytes())
    assert np.array_equal(read_image(path).array, ct)


def test_a_big_endian_nifti_is_read_like_any_other(tmp_path, ct):
    header = bytearray(352)
    struct.pack_into(">i", header, 0, 348)
    struct.pack_into(">8h", header, 40, 3, 7, 6, 5, 1, 1, 1, 1)
    struct.pack_into(">2h", header, 70, 4, 16)
    struct.pack_into(">8f", header, 76, 1, 0.5, 0.75, 2, 0, 0, 0, 0)
    struct.pack_into(">3f", header, 108, 352, 2, -10)
    header[344:348] = b"n+1\0"
    path = tmp_path / "big.nii"
    path.write_bytes(bytes(header) + ct.astype(">i2").tobytes())
    volume = read_image(path)
    assert volume.spacing == (2, 0.75, 0.5)
    assert np.array_equal(volume.array, ct * 2 - 10)
    assert "no orientation" in volume.notes[0]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_the_slope_and_intercept_of_nifti_are_applied(save, suffix):
    voxels = np.arange(60, dtype=np.uint16).reshape(3, 4, 5)
    path = save(voxels, ".nii")
    packed(path, 112, "<2f", 1.0, -1024.0)
    if suffix == ".nii.gz":
        zipped = path.with_suffix(".nii.gz")
        zipped.write_bytes(gzip.compress(path.read_bytes()))
        path = zipped
    volume = read_image(path)
    assert volume.array.dtype == np.int16
    assert np.array_equal(volume.array, voxels.astype(np.int16) - 1024)
    assert np.array_equal(volume.array, sitk.GetArrayFromImage(sitk.ReadImage(str(path))))


def test_a_fractional_slope_gives_real_numbers(save):
    voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    path = packed(save(voxels, ".nii"), 112, "<2f", 0.5, 0.25)
    assert np.array_equal(read_image(path).array, voxels.astype(np.float32) * 0.5 + 0.25)


@pytest.mark.parametrize("slope", [0.0, float("nan")])
def test_a_slope_of_zero_or_nan_means_none(save, ct, slope):
    path = packed(save(ct, ".nii"), 112, "<2f", slope, 5.0)
    assert np.array_equal(read_image(path).array, ct)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_voxels_without_a_value_become_air_and_are_counted(save, suffix):
    voxels = np.full((3, 4, 5), 40.0, np.float32)
    voxels[0, 0, 0], voxels[1, 1, 1], voxels[2, 2, 2] = np.nan, np.inf, -np.inf
    volume = read_image(save(voxels, suffix))
    assert volume.array.dtype == np.int16
    assert volume.array[0, 0, 0] == volume.array[1, 1, 1] == volume.array[2, 2, 2] == -1024
    assert np.count_nonzero(volume.array == 40) == 57
    assert "3 voxels" in volume.notes[0]


def test_a_single_voxel_without_a_value_is_counted_too(save):
    voxels = np.full((3, 4, 5), 40.5, np.float64)
    voxels[1, 1, 1] = 1e300
    volume = read_image(save(voxels, ".mha"))
    assert volume.array.dtype == np.float32
    assert volume.array[1, 1, 1] == -1024
    assert volume.notes[0].startswith("1 voxel ")


def test_a_scan_of_nothing_but_nan_is_refused(save):
    assert "finite" in message_of(save(np.full((3, 4, 5), np.nan, np.float32), ".nii.gz"))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_missing_file_is_said_to_be_missing(tmp_path, suffix):
    assert "does not exist" in message_of(tmp_path / f"none{suffix}")


def test_a_file_of_unknown_kind_is_refused_with_what_would_do(tmp_path):
    path = tmp_path / "scan.jpg"
    path.write_bytes(b"\xff\xd8" + b"\0" * 500)
    assert ".nii.gz" in message_of(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "content", [b"", b"x", b"not an image at all\n" * 100, b"\0" * 1000, b"\x1f\x8b\x08\x00 nonsense"]
)
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path, suffix, content):
    path = tmp_path / f"scan{suffix}"
    path.write_bytes(content)
    message_of(path)
    message_of(path, read_labels)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_refused(save, suffix, compressed, share):
    voxels = np.random.default_rng(1).integers(-1000, 1000, (9, 20, 20), dtype=np.int16)
    path = save(voxels, suffix, compressed=compressed)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "damaged" in message_of(path)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_a_compressed_file_with_a_flipped_bit_is_refused(save, suffix):
    voxels = np.random.default_rng(1).integers(-1000, 1000, (9, 20, 20), dtype=np.int16)
    path = save(voxels, suffix)
    data = bytearray(path.read_bytes())
    data[len(data) * 2 // 3] ^= 0x55
    path.write_bytes(data)
    assert "damaged" in message_of(path)


@pytest.mark.parametrize("suffix", [".nhdr", ".mhd"])
def test_a_header_without_its_file_of_voxels_is_refused(save, ct, suffix):
    path = save(ct, suffix)
    for other in path.parent.iterdir():
        if other != path:
            other.unlink()
    message_of(path)


def test_a_header_that_points_out_of_its_folder_is_refused(save, ct, tmp_path):
    path = save(ct, ".mhd", compressed=False)
    patched(path, (b"ElementDataFile = scan.raw", b"ElementDataFile = ../scan.raw"))
    assert "same folder" in message_of(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_a_2d_image_is_refused(save, suffix):
    assert "2D" in message_of(save(np.zeros((8, 9), np.int16), suffix))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_a_4d_image_is_refused(save, suffix):
    image = sitk.JoinSeries([sitk.Image([4, 5, 6], sitk.sitkInt16)] * 3)
    assert "4D" in message_of(save(image, suffix))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_a_trailing_axis_of_one_is_dropped_and_said(save, ct, suffix):
    image = sitk.JoinSeries([sitk.GetImageFromArray(ct)])
    path = save(image, suffix)
    if suffix == ".nii":  # ITK itself drops such an axis
        packed(path, 40, "<8h", 4, 7, 6, 5, 1, 1, 1, 1)
    volume = read_image(path)
    assert np.array_equal(volume.array, ct)
    assert suffix == ".nii.gz" or "trailing axis" in volume.notes[0]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("components", [2, 3, 4])
def test_a_colour_or_vector_image_is_refused(save, suffix, components):
    image = sitk.GetImageFromArray(np.zeros((4, 5, 6, components), np.uint8), isVector=True)
    assert f"({components} values per voxel)" in message_of(save(image, suffix))


def test_an_rgb_nifti_is_refused(save, ct):
    assert "colour" in message_of(packed(save(ct, ".nii"), 70, "<2h", 128, 24))


@pytest.mark.parametrize("suffix", [".nii", ".nrrd", ".mha"])
def test_complex_numbers_are_refused(save, suffix):
    path = save(np.zeros((4, 5, 6), np.complex64), suffix) if suffix != ".mha" else None
    if path is None:
        path = patched(save(np.zeros((4, 5, 6), np.int16)), (b"MET_SHORT", b"MET_STRING"))
    message_of(path)


@pytest.mark.parametrize(
    ("suffix", "old", "new"),
    [
        (".mha", b"DimSize = 7 6 5", b"DimSize = 7 6 0"),
        (".nrrd", b"sizes: 7 6 5", b"sizes: 7 6 0"),
        (".nrrd", b"sizes: 7 6 5", b"sizes: 0 0 0"),
    ],
)
def test_an_empty_volume_is_refused(save, ct, suffix, old, new):
    assert "empty" in message_of(patched(save(ct, suffix), (old, new)))


@pytest.mark.parametrize("dim", [(3, 0, 6, 5), (3, 7, 6, 0), (3, 7, -6, 5)])
def test_an_empty_nifti_is_refused(save, ct, dim):
    assert "empty" in message_of(packed(save(ct, ".nii"), 40, "<4h", *dim))


@pytest.mark.parametrize("rank", [0, 9, -1, 300])
def test_a_nifti_of_impossible_rank_is_refused(save, ct, rank):
    message_of(packed(save(ct, ".nii"), 40, "<h", rank))


@pytest.mark.parametrize("value", [0.0, -1.5, float("nan"), float("inf")])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_nifti_spacing_that_is_not_positive_is_refused(save, ct, value, axis):
    assert "spacing" in message_of(packed(save(ct, ".nii"), 80 + 4 * axis, "<f", value))


@pytest.mark.parametrize("value", [b"0", b"nan", b"inf"])
def test_a_metaimage_spacing_that_is_not_positive_is_refused(save, ct, value):
    path = save(ct, ".mha", spacing=(1, 1, 1))
    assert "spacing" in message_of(patched(path, (b"ElementSpacing = 1 1 1", b"ElementSpacing = 1 1 " + value)))


def test_a_negative_metaimage_spacing_is_a_flipped_axis_as_in_itk(save, ct):
    path = patched(save(ct, ".mha", spacing=(1, 1, 1)), (b"ElementSpacing = 1 1 1", b"ElementSpacing = 1 1 -2"))
    image = sitk.ReadImage(str(path))
    volume = read_image(path)
    assert volume.spacing == image.GetSpacing()[::-1] == (2, 1, 1)
    assert volume.direction == image.GetDirection()
    assert np.array_equal(volume.array, ct)


@pytest.mark.parametrize("vector", [b"(0,0,0)", b"(nan,nan,nan)", b"(0,inf,0)"])
def test_an_nrrd_spacing_that_is_not_positive_is_refused(save, ct, vector):
    path = save(ct, ".nrrd", spacing=(1, 1, 1))
    data = path.read_bytes()
    line = next(line for line in data.splitlines() if line.startswith(b"space directions"))
    path.write_bytes(data.replace(line, b"space directions: (1,0,0) (0,1,0) " + vector))
    message_of(path)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_axes_that_span_no_volume_are_refused(save, ct, suffix):
    path = save(ct, suffix, spacing=(1, 1, 1))
    data = path.read_bytes()
    begin = b"space directions" if suffix == ".nrrd" else b"TransformMatrix"
    line = next(line for line in data.splitlines() if line.startswith(begin))
    flat = b"space directions: (1,0,0) (0,1,0) (0,1,0)" if suffix == ".nrrd" else b"TransformMatrix = 1 0 0 0 1 0 0 1 0"
    path.write_bytes(data.replace(line, flat))
    assert "are linearly dependent" in message_of(path)


def test_an_origin_that_is_no_number_is_refused(save, ct):
    path = save(ct, ".mha", origin=(0, 0, 0))
    assert "position" in message_of(patched(path, (b"Offset = 0 0 0", b"Offset = 0 0 nan")))


def test_a_nifti_sform_with_skewed_axes_is_refused_or_read_but_never_a_crash(save, ct):
    path = save(ct, ".nii")
    packed(path, 252, "<2h", 0, 1)
    packed(path, 280, "<12f", 1, 0.5, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)
    message_of(path)


def test_a_nifti_2_file_is_named_as_such(save, ct):
    assert "NIfTI-2" in message_of(packed(save(ct, ".nii"), 0, "<i", 540))


def test_a_nifti_header_without_voxels_is_refused(save, ct):
    assert "without voxels" in message_of(packed(save(ct, ".nii"), 344, "4s", b"ni1\0"))


def test_a_nifti_of_an_odd_type_is_refused(save, ct):
    assert "type 1536" in message_of(packed(save(ct, ".nii"), 70, "<2h", 1536, 128))


def test_a_nifti_offset_behind_the_end_of_a_compressed_file_is_refused(save, ct):
    path = packed(save(ct, ".nii"), 108, "<f", 1e6)
    zipped = path.with_suffix(".nii.gz")
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    message_of(zipped)


def test_a_nifti_in_metres_is_read_in_millimetres(save, ct):
    path = packed(save(ct, ".nii"), 80, "<3f", 0.001, 0.001, 0.0025)
    data = bytearray(path.read_bytes())
    data[123] = 1
    path.write_bytes(data)
    assert np.allclose(read_image(path).spacing, (2.5, 1, 1))


@pytest.mark.parametrize(
    "change",
    [
        (b"BinaryData = True", b"BinaryData = False"),
        (b"ElementDataFile = LOCAL", b"ElementDataFile = LIST"),
        (b"ElementDataFile = LOCAL", b"ElementDataFile = slice%03d.raw 1 5 1"),
        (b"DimSize = 7 6 5", b"DimSize = 7 6 x"),
        (b"DimSize", b"DimSomething"),
        (b"MET_SHORT", b"MET_OTHER"),
        (b"ElementDataFile", b"SomethingElse"),
        (b"DimSize = 7 6 5", b"DimSize = 9999999 999999 99999"),
    ],
)
def test_odd_metaimage_headers_are_refused(save, ct, change):
    message_of(patched(save(ct, ".mha"), change))


METAIMAGE_GRID_FIELDS = (b"ElementSpacing", b"Offset", b"TransformMatrix", b"CenterOfRotation", b"Anatomical")
METAIMAGE_GRIDS = [
    b"ElementSpacing = 1 2 3\nOffset = 4 5 6\nTransformMatrix = 0 1 0 0 0 1 1 0 0\n",
    b"ElementSize = 1 2 3\nPosition = 4 5 6\nOrientation = 0 1 0 0 0 1 1 0 0\n",
    b"ElementSize = 9 9 9\nElementSpacing = 1 2 -3\nOffset = 9 9 9\nPosition = 9 9 9\nOrigin = 4 5 6\n",
    b"ElementSpacing = 1 2 3\nOrientation = 1 0 0 0 0 1 0 1 0\nRotation = 0 1 0 0 0 1 1 0 0\n",
    b"ElementSpacing = 1 2 3\nTransformMatrix = -1 0 0 0 0 1 0 1 0\nRotation = 0 1 0 0 0 1 1 0 0\n",
    b"FileFormatVersion = 1\nOffset = 4 5 6\nTransformMatrix = 0 1 0 0 0 1 1 0 0\nElementSpacing = 1 2 3\n",
    b"Position = 9 9 9\nOffset = 4 5 6\nElementSpacing = 1 2 3\n",
    b"ElementSpacing=1   2\t3  \nOffset =4 5 6 7\nOffset = 1e1 -2.5 6\n",
    b"ElementSpacing = 1 2 3\n",
]


@pytest.mark.parametrize("lines", METAIMAGE_GRIDS, ids=range(len(METAIMAGE_GRIDS)))
def test_the_grid_of_a_metaimage_is_the_one_that_itk_finds(save, ct, lines):
    path = save(ct, ".mha", spacing=(1, 1, 1))
    kept = [line for line in path.read_bytes().split(b"\n") if not line.startswith(METAIMAGE_GRID_FIELDS)]
    path.write_bytes(b"\n".join(kept).replace(b"DimSize", lines + b"DimSize", 1))
    image, volume = sitk.ReadImage(str(path)), read_image(path)
    assert (volume.spacing[::-1], volume.origin, volume.direction) == (
        image.GetSpacing(), image.GetOrigin(), image.GetDirection(),
    )  # fmt: skip


@pytest.mark.parametrize("field", [b"ElementSpacing", b"Offset", b"TransformMatrix"])
@pytest.mark.parametrize("value", [b"1 2", b"a b c", b"1, 2, 3", b""])
def test_half_a_grid_of_a_metaimage_is_refused_where_itk_would_make_one_up(save, ct, field, value):
    path = save(ct, ".mha", spacing=(1, 1, 1))
    line = next(line for line in path.read_bytes().split(b"\n") if line.startswith(field + b" ="))
    assert "damaged" in message_of(patched(path, (line, field + b" = " + value)))


@pytest.mark.parametrize("size", [4, -1])
def test_metaimage_voxels_behind_a_header_of_their_own_are_found(save, ct, size):
    path = save(ct, ".mhd", compressed=False)
    raw = path.with_suffix(".raw")
    raw.write_bytes(b"abcd" + raw.read_bytes())
    patched(path, (b"ElementType", b"HeaderSize = %d\nElementType" % size))
    assert np.array_equal(read_image(path).array, ct)


def test_the_nrrd_header_of_text_sizes_is_refused(save, ct):
    message_of(patched(save(ct, ".nrrd"), (b"sizes: 7 6 5", b"sizes: a b c")))


def test_a_file_without_spacing_is_read_with_1_mm_and_said(save, ct):
    path = save(ct, ".mha", spacing=(1, 1, 1))
    volume = read_image(patched(path, (b"ElementSpacing = 1 1 1\n", b"")))
    assert volume.spacing == (1, 1, 1)
    assert "1 mm is assumed" in volume.notes[0]
    path = save(ct, ".nrrd")
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join(line for line in lines if not line.startswith(b"space")))
    assert "1 mm is assumed" in read_image(path).notes[0]


def test_links_blanks_and_other_scripts_in_paths_are_fine(save, ct, tmp_path):
    folder = tmp_path / "Bauch übersicht 肝臓"
    folder.mkdir()
    path = save(ct, ".nii.gz").rename(folder / "scän 1.nii.gz")
    link = tmp_path / "link.nii.gz"
    os.symlink(path, link)
    assert np.array_equal(read_image(path).array, ct)
    assert np.array_equal(read_image(str(link)).array, ct)
    nrrd = save(ct, ".nrrd").rename(folder / "scän 1.nrrd")
    assert np.array_equal(read_image(nrrd).array, ct)


def test_a_line_break_in_a_name_does_not_break_the_message(tmp_path):
    with pytest.raises(ImageError) as caught:
        read_image(tmp_path / "a\nb.nii.gz")
    assert "\n" not in str(caught.value)


def test_capital_suffixes_are_fine(save, ct):
    path = save(ct, ".nii.gz")
    assert np.array_equal(read_image(path.rename(path.parent / "SCAN.NII.GZ")).array, ct)


def test_a_single_slice_is_read_and_said(save):
    volume = read_image(save(np.zeros((1, 6, 7), np.int16), ".mha"))
    assert volume.shape == (1, 6, 7)
    assert "single slice" in volume.notes[0]


def test_progress_rises_to_one(save, ct):
    seen = []
    for suffix in (".nii.gz", ".nrrd", ".mha"):
        shares = []
        read_image(save(ct, suffix), progress=lambda share, stage, shares=shares: shares.append(share))
        seen.append(shares)
    assert all(shares == sorted(shares) and shares[-1] == 1.0 for shares in seen)


def test_what_the_file_system_refuses_is_one_line(save, ct, monkeypatch):
    path = save(ct, ".nii.gz")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("lvnet.image_io.nifti._read_header", refuse)
    assert "Permission denied" in message_of(path)


def test_too_little_memory_is_one_line(save, ct, monkeypatch):
    def refuse(*_):
        raise MemoryError

    path = save(ct, ".nii.gz")
    monkeypatch.setattr("lvnet.image_io.nifti.VoxelStack", refuse)
    assert "memory" in message_of(path)


def test_a_bug_keeps_its_traceback(save, ct, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    path = save(ct, ".nii.gz")
    monkeypatch.setattr("lvnet.image_io.nifti.VoxelStack", fail)
    with pytest.raises(ZeroDivisionError):
        read_image(path)


# Label maps


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_label_maps_are_uint8_whatever_stored_them(save, suffix, dtype):
    voxels = np.random.default_rng(3).integers(0, 4, (5, 6, 7)).astype(dtype)
    labels = read_labels(save(voxels, suffix))
    assert labels.array.dtype == np.uint8
    assert np.array_equal(labels.array, voxels)


def test_labels_beyond_a_byte_stay_int16(save):
    voxels = np.array([[[0, 300], [-2, 5]]] * 2, np.int32)
    labels = read_labels(save(voxels, ".nii.gz"))
    assert labels.array.dtype == np.int16
    assert np.array_equal(labels.array, voxels)


@pytest.mark.parametrize("value", [0.5, np.nan, 40000.0])
def test_values_that_are_no_labels_are_refused(save, value):
    voxels = np.zeros((3, 4, 5), np.float32)
    voxels[1, 1, 1] = value
    assert "is not a label map" in message_of(save(voxels, ".nii.gz"), read_labels)


def test_one_label_can_be_picked(save):
    voxels = np.zeros((3, 4, 5), np.int16)
    voxels[0], voxels[1] = 1, 2
    labels = read_labels(save(voxels, ".nrrd"), label=2)
    assert labels.array.dtype == np.uint8
    assert np.array_equal(labels.array, voxels == 2)
    assert labels.notes == ()


def test_a_label_that_does_not_occur_gives_an_empty_mask_and_a_note(save):
    labels = read_labels(save(np.ones((3, 4, 5), np.uint8), ".nrrd"), label=9)
    assert not labels.array.any()
    assert "label 9" in labels.notes[0]


def test_a_folder_is_no_label_map(tmp_path):
    assert "folder" in message_of(tmp_path, read_labels)


@pytest.fixture
def layered(tmp_path):
    """Writes a .seg.nrrd as Slicer does for overlapping segments: axes are layers, x, y, z."""

    def write(layers, values=("1", "2"), dtype="uint8", **extra):
        layers = np.asarray(layers)
        depth, height, width = layers.shape[1:]
        lines = [
            "NRRD0004", f"type: {dtype}", "dimension: 4", "space: left-posterior-superior",
            f"sizes: {len(layers)} {width} {height} {depth}", "space directions: none (1,0,0) (0,1,0) (0,0,2)",
            "kinds: list domain domain domain", "endian: little", "encoding: raw", "space origin: (1,2,3)",
        ]  # fmt: skip
        for index, value in enumerate(values):
            lines += [f"Segment{index}_ID:=s{index}", f"Segment{index}_Layer:={index}"]
            lines += [f"Segment{index}_LabelValue:={value}"]
        path = tmp_path / "layers.seg.nrrd"
        path.write_bytes("\n".join([*lines, "", ""]).encode() + np.moveaxis(layers, 0, -1).tobytes())
        return path

    return write


def test_layers_of_segments_are_merged_with_the_later_on_top(layered):
    layers = np.zeros((2, 3, 4, 5), np.uint8)
    layers[0, :2], layers[1, 1:] = 1, 2
    labels = read_labels(layered(layers))
    assert [int(labels.array[z, 0, 0]) for z in range(3)] == [1, 2, 2]
    assert labels.spacing == (2, 1, 1)
    assert labels.origin == (1, 2, 3)
    assert labels.notes == ("2 layers of segments were merged, later layers on top",)


def test_layers_that_share_a_label_value_are_said(layered):
    labels = read_labels(layered(np.ones((2, 3, 4, 5), np.uint8), values=("1", "1")))
    assert "share a label value" in labels.notes[1]


def test_layers_of_fractions_are_refused(layered):
    assert "fractions" in message_of(layered(np.ones((2, 3, 4, 5), np.float32), dtype="float"), read_labels)


def test_layers_without_segments_are_a_vector_image(layered):
    assert "colour" in message_of(layered(np.ones((2, 3, 4, 5), np.uint8), values=()), read_labels)


def test_a_layered_segmentation_is_no_scan(layered):
    assert "values per voxel" in message_of(layered(np.ones((2, 3, 4, 5), np.uint8)))


def test_a_truncated_layered_file_is_refused(layered):
    path = layered(np.ones((2, 3, 4, 5), np.uint8))
    path.write_bytes(path.read_bytes()[:-20])
    assert "damaged" in message_of(path, read_labels)
