"""Conversion of the pixels of a DICOM file to HU: equal to GDCM's values, although GDCM never sees the file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from corpus.dicom_files import PATIENT, enhanced, save, series, slice_dataset
from lvnet.errors import ImageError
from lvnet.image_io import dicom_pixels, read_image
from lvnet.image_io.dicom_header import read_dicom_header
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import ExplicitVRBigEndian, JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

#: Files of real scanners and of other programs, included in pydicom.
REAL = (
    "693_J2KI.dcm", "CT_small.dcm", "J2K_pixelrep_mismatch.dcm", "JPEG-lossy.dcm", "JPEG2000.dcm",
    "JPEGLSNearLossless_08.dcm", "JPEGLSNearLossless_16.dcm", "JPGExtended.dcm", "MR_small.dcm", "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm", "MR_small_expb.dcm", "MR_small_implicit.dcm", "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm", "MR_small_padded.dcm", "examples_overlay.dcm", "image_dfl.dcm",
)  # fmt: skip
PACKED = (RLELossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless)


@pytest.fixture
def plane():
    return np.random.default_rng(2).integers(0, 3000, (40, 48)).astype(np.uint16)


def in_hu(path):
    header = read_dicom_header(str(path))
    dicom_pixels.check_pixels("a scan", header)
    return dicom_pixels.in_hu(dicom_pixels.stored_frames("a scan", header), header.frames[0].rescale)


def message_of(path):
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", REAL)
def test_files_of_other_programs_have_the_values_that_gdcm_finds(name):
    path = get_testdata_file(name, download=False)
    assert path, f"{name} does not come with this pydicom"
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(path)
    expected = sitk.GetArrayFromImage(reader.Execute())
    assert np.array_equal(in_hu(path), expected.reshape(1, *expected.shape[-2:]))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["u1", "u2", "i2", "u4", "i4"])
def test_values_of_every_width_and_byte_order(tmp_path, kind, order):
    values = np.random.default_rng(3).integers(0, 120, (6, 8)).astype(kind)
    if kind.startswith("i"):
        values -= 60
    size = 8 * values.dtype.itemsize
    fields = {"BitsAllocated": size, "BitsStored": size, "HighBit": size - 1}
    syntax = {"syntax": ExplicitVRBigEndian} if order == ">" else {}
    path = save(slice_dataset(values, (0, 0, 0), **fields, **syntax), tmp_path / "a.dcm")
    if kind == "u1" and order == ">":  # bytes may be stored in words of two, in swapped order
        assert "in an unsupported way" in message_of(path)
    else:
        assert np.array_equal(in_hu(path)[0], values.astype(int) - 1024)


@pytest.mark.parametrize("high", [10, 11, 13, 15, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_graphics_in_the_bits_above_a_value_are_left_out(tmp_path, high, signed):
    """The "high bit" is redundant and wrong in some files; other programs ignore it too."""
    values = np.random.default_rng(4).integers(-2048 if signed else 0, 2048 if signed else 4096, (6, 8))
    graphics = np.random.default_rng(5).integers(0, 16, (6, 8)) << 12
    stored = ((values & 0xFFF) | graphics).astype(np.uint16)
    fields = {"BitsStored": 12, "HighBit": high, "PixelRepresentation": int(signed)}
    path = save(slice_dataset(stored, (0, 0, 0), **fields), tmp_path / "a.dcm")
    assert np.array_equal(in_hu(path)[0], values - 1024)


@pytest.mark.parametrize("bits", [0, 16, 17])
def test_bits_beyond_those_that_there_are_do_not_matter(tmp_path, plane, bits):
    for number, syntax in enumerate((None, RLELossless)):
        dataset = slice_dataset(plane, (0, 0, 0))
        if syntax:
            dataset.compress(syntax, plane, generate_instance_uid=False)
        dataset.BitsStored, dataset.HighBit = bits, 11
        assert np.array_equal(in_hu(save(dataset, tmp_path / f"{number}.dcm"))[0], plane.astype(int) - 1024)


def test_values_of_three_bytes_are_refused(tmp_path, plane):
    fields = {"BitsAllocated": 24, "BitsStored": 24, "HighBit": 23}
    path = save(slice_dataset(plane.astype(np.uint32), (0, 0, 0), **fields), tmp_path / "a.dcm")
    assert "is stored without compression" in message_of(path)


@pytest.mark.parametrize("syntax", PACKED)
def test_pixels_that_were_decompressed_under_their_old_transfer_syntax_are_read(tmp_path, plane, syntax):
    path = save(slice_dataset(plane, (0, 0, 0)), tmp_path / "a.dcm")
    data = path.read_bytes()
    plain, padded = b"1.2.840.10008.1.2.1\0", syntax.encode() + b"\0" * (len(syntax) % 2)
    start = data.index(plain) - 2
    data = data[:start] + len(padded).to_bytes(2, "little") + padded + data[start + 2 + len(plain) :]
    path.write_bytes(data)
    assert np.array_equal(read_image(path).array[0], plane.astype(int) - 1024)


@pytest.mark.parametrize("end", [b"", bytes(16), bytes(7)])
def test_fragments_without_a_delimiter_end_with_their_file_or_with_zeros(tmp_path, plane, end):
    dataset = slice_dataset(plane, (0, 0, 0))
    dataset.compress(RLELossless, plane, generate_instance_uid=False)
    path = save(dataset, tmp_path / "a.dcm")
    data = path.read_bytes()
    assert data.endswith(b"\xfe\xff\xdd\xe0\0\0\0\0")
    path.write_bytes(data[:-8] + end)
    assert np.array_equal(in_hu(path)[0], plane.astype(int) - 1024)


def test_a_rescale_beside_the_groups_of_an_enhanced_ct_is_applied(tmp_path, plane):
    stored = np.stack([plane, plane[::-1]])
    path = enhanced(tmp_path / "e.dcm", stored, [0.0, 3.0])
    dataset = pydicom.dcmread(path)
    del dataset.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
    dataset.RescaleSlope, dataset.RescaleIntercept = 2, -1000
    dataset.save_as(path)
    assert np.array_equal(read_image(path).array, stored.astype(int) * 2 - 1000)


@pytest.mark.parametrize(
    ("slope", "intercept", "expected", "kind"),
    [
        ("1", "-1024", lambda v: v - 1024, "i"), (None, "-1000", lambda v: v - 1000, "i"),
        ("2", None, lambda v: v * 2, "i"), ("0", "-1024", lambda v: v - 1024, "i"), ("", "", lambda v: v, "u"),
        ("0.5", "1", lambda v: v * 0.5 + 1, "f"), ("1e6", "0", lambda v: v * 1e6, "f"),
    ],
)  # fmt: skip
def test_slope_and_intercept_may_be_missing_one_by_one(tmp_path, plane, slope, intercept, expected, kind):
    dataset = slice_dataset(plane, (0, 0, 0), RescaleSlope=slope, RescaleIntercept=intercept)
    values = in_hu(save(dataset, tmp_path / "a.dcm"))[0]
    assert values.dtype.kind == kind
    assert np.array_equal(values, expected(plane.astype(float)))


def test_a_rescale_of_words_is_refused(tmp_path, plane):
    path = save(slice_dataset(plane, (0, 0, 0), RescaleSlope="1.5"), tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes().replace(b"\x53\x10DS\x04\x001.5 ", b"\x53\x10DS\x04\x00abcd"))
    assert "not a number" in message_of(path)


@pytest.mark.parametrize("syntax", PACKED)
@pytest.mark.parametrize("in_memory", [True, False, "no more"])
def test_a_codec_sees_the_pixels_and_nothing_of_the_patient(tmp_path, plane, monkeypatch, syntax, in_memory):
    if in_memory and not hasattr(os, "memfd_create"):
        pytest.skip("this system has no files in memory")
    if in_memory is not True:
        if in_memory:  # such as in a sandbox
            monkeypatch.setattr(os, "memfd_create", lambda name: os.open(tmp_path / "none" / name, os.O_RDONLY))
        else:
            monkeypatch.delattr(os, "memfd_create", raising=False)
        in_memory = False
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
        (tmp_path / "temporary").mkdir()
    seen = []
    execute = sitk.ImageFileReader.Execute

    def watched(reader):
        seen.append(Path(reader.GetFileName()))
        content = seen[-1].read_bytes()
        assert PATIENT.encode() not in content and b"1.2.3.4" not in content
        assert len(content) < len(path.read_bytes()) + 8
        if not in_memory:
            assert seen[-1].parent.stat().st_mode & 0o77 == 0
        return execute(reader)

    monkeypatch.setattr(sitk.ImageFileReader, "Execute", watched)
    path = series(tmp_path / "ct", plane[None], syntax=syntax) / "IM0000.dcm"
    assert np.array_equal(read_image(path).array[0], plane.astype(int) - 1024)
    assert len(seen) == 1 and seen[0] != path and not seen[0].exists()
    assert in_memory or not any((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize("syntax", PACKED)
def test_a_compressed_slice_of_another_size_than_its_header_tells_is_refused(tmp_path, plane, syntax):
    path = series(tmp_path / "ct", plane[None], syntax=syntax) / "IM0000.dcm"
    dataset = pydicom.dcmread(path)
    for rows, columns in ((41, 48), (40, 96), (30_000, 30_000)):
        dataset.Rows, dataset.Columns = rows, columns
        dataset.save_as(path)
        text = message_of(path)
        # RLE data do not contain their size: missing data are noticed on decoding, or when memory is allocated.
        assert "the size of a slice contradicts its header" in text or (syntax == RLELossless and "is damaged" in text)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_every_frame_of_a_compressed_enhanced_ct_is_decoded(tmp_path, plane, syntax):
    stored = np.stack([plane, plane[::-1], plane.T.reshape(plane.shape)])
    path = enhanced(tmp_path / "e.dcm", stored, [0.0, 3.0, 6.0])
    dataset = pydicom.dcmread(path)
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(path)
    assert np.array_equal(read_image(path).array, stored.astype(int) - 1024)
    # With several fragments per frame, the start of a frame can be found in JPEG but not in RLE.
    frames = list(generate_frames(dataset.PixelData, number_of_frames=3))
    dataset.PixelData = encapsulate([frames[0][:100], frames[0][100:], *frames[1:]], has_bot=False)
    dataset.save_as(path)
    if syntax == RLELossless:
        assert "is stored as RLE" in message_of(path)
    else:
        assert np.array_equal(read_image(path).array, stored.astype(int) - 1024)


def test_the_fragments_of_a_frame_are_put_together(tmp_path, plane):
    path = series(tmp_path / "ct", plane[None], syntax=JPEG2000Lossless) / "IM0000.dcm"
    dataset = pydicom.dcmread(path)
    (whole,) = generate_frames(dataset.PixelData, number_of_frames=1)
    dataset.PixelData = encapsulate([whole[:100], whole[100:900], whole[900:]], has_bot=False)
    dataset.save_as(path)
    assert np.array_equal(read_image(path).array[0], plane.astype(int) - 1024)


def test_a_file_that_changes_while_it_is_read_is_one_error(tmp_path, plane):
    path = series(tmp_path / "ct", plane[None]) / "IM0000.dcm"
    header = read_dicom_header(str(path))
    whole = path.read_bytes()
    for content in (whole[:-100], b"hello"):
        path.write_bytes(content)
        with pytest.raises(ImageError, match="damaged"):
            dicom_pixels.stored_frames("a scan", header)
