"""Files found by fuzzing or made with malicious intent: each is refused in one line, before it takes any memory."""

from __future__ import annotations

import gzip
import json
import resource
import struct

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from corpus.dicom_files import series
from lvnet import fieldtypes
from lvnet.checkpoint import load_checkpoint, save_checkpoint
from lvnet.errors import CheckpointError, ConfigurationError, GeometryError, ImageError
from lvnet.image_io import read_image, write_image
from lvnet.image_io.dicom_header import read_dicom_header, read_pixels
from lvnet.network import LVNet
from lvnet.preprocessing import prepare
from lvnet.recipe import Architecture, Preprocessing, Recipe
from lvnet.volume import Volume

HUGE = 20_000


@pytest.fixture
def scan():
    return Volume(np.arange(4 * 8 * 10, dtype=np.int16).reshape(4, 8, 10), (2.5, 0.8, 0.7))


@pytest.fixture(autouse=True)
def _no_memory_for_what_is_not_there(monkeypatch):
    """Fails if an array of the size that a header claims is allocated."""
    empty = np.empty

    def bounded(shape, *arguments, **more):
        assert np.prod(shape, dtype=float) < 1e8, f"memory for {shape} voxels"
        return empty(shape, *arguments, **more)

    monkeypatch.setattr(np, "empty", bounded)


def message_of(path):
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_nifti_header_cannot_claim_more_voxels_than_its_file_can_hold(scan, tmp_path, name):
    write_image(scan, tmp_path / name)
    opener = gzip.open if name.endswith("gz") else open
    with opener(tmp_path / name, "rb") as file:
        data = bytearray(file.read())
    struct.pack_into("<3h", data, 42, HUGE, HUGE, HUGE)
    with opener(tmp_path / name, "wb") as file:
        file.write(data)
    assert "damaged" in message_of(tmp_path / name)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"DimSize = 10 8 4", b"DimSize = 20000 20000 20000", "damaged"),
        (b"DimSize = 10 8 4", b"DimSize = 18446744073709551616 8 4", "damaged"),
        (b"NDims = 3", b"NDims = 0", "damaged"),
        (b"ElementSpacing = 0.7", b"ElementSpacing = 1e30", "out of range"),
        (b"ElementSpacing = 0.7", b"ElementSpacing = 1e-300", "out of range"),
        (b"Offset = 0.0", b"Offset = 1e300", "position"),
    ],
)
def test_a_metaimage_header_cannot_claim_what_is_not_there(scan, tmp_path, old, new, words):
    write_image(scan, tmp_path / "a.mha")
    data = (tmp_path / "a.mha").read_bytes()
    assert old in data
    (tmp_path / "a.mha").write_bytes(data.replace(old, new))
    assert words in message_of(tmp_path / "a.mha")


@pytest.mark.parametrize("packed", [False, True])
def test_an_nrrd_header_cannot_claim_more_voxels_than_its_file_can_hold(scan, tmp_path, packed):
    sitk.WriteImage(sitk.GetImageFromArray(scan.array), str(tmp_path / "a.nrrd"), packed)
    data = (tmp_path / "a.nrrd").read_bytes()
    (tmp_path / "a.nrrd").write_bytes(data.replace(b"sizes: 10 8 4", b"sizes: 20000 20000 20000"))
    assert "damaged" in message_of(tmp_path / "a.nrrd")


@pytest.mark.parametrize("entry", ["../secret.raw", "/etc/passwd", "-", "LIST", "a%d.raw 1 4 1", "none.raw"])
def test_an_nrrd_header_names_no_file_outside_its_folder(scan, tmp_path, entry):
    folder = tmp_path / "scan"
    folder.mkdir()
    (tmp_path / "secret.raw").write_bytes(scan.array.tobytes())
    sitk.WriteImage(sitk.GetImageFromArray(scan.array), str(folder / "a.nhdr"), False)
    header = (folder / "a.nhdr").read_bytes()
    assert b"data file: a.raw" in header
    assert read_image(folder / "a.nhdr").shape == scan.shape
    (folder / "a.nhdr").write_bytes(header.replace(b"data file: a.raw", f"data file: {entry}".encode()))
    message_of(folder / "a.nhdr")


def dicom_element(group, element, form, length, value=b""):
    long = form in (b"OB", b"OW", b"SQ", b"UN")
    return struct.pack("<HH", group, element) + form + struct.pack("<2xI" if long else "<H", length) + value


@pytest.mark.parametrize("where", ["top", "sequence", "unknown form", "behind the pixels", "garbage at the end"])
def test_a_dicom_element_that_claims_more_bytes_than_its_file_has_takes_no_memory(tmp_path, where):
    """GDCM would allocate the length that an element claims, up to 4 GB, before it reads."""
    stored = np.arange(9 * 8 * 10, dtype=np.uint16).reshape(9, 8, 10)
    path = series(tmp_path / "ct", stored) / "IM0002.dcm"
    whole = path.read_bytes()
    overlong = dicom_element(9, 0x1010, b"UN", 0xF0000000)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(overlong)) + overlong
    at_begin = whole.index(dicom_element(8, 0x60, b"CS", 2, b"CT"))
    for place, added in {
        "top": (at_begin, overlong),
        "sequence": (at_begin, dicom_element(9, 0x1011, b"SQ", len(item), item)),
        "unknown form": (at_begin, dicom_element(9, 0x1010, b"RH", 8, b"PYDICOM ")),
        "behind the pixels": (len(whole), dicom_element(0xFFFC, 0xFFFC, b"OB", 0xF0000000)),
        "garbage at the end": (len(whole), bytes(range(0x99, 0xD9))),
    }.items():
        if place == where:
            path.write_bytes(whole[: added[0]] + added[1] + whole[added[0] :])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    volume = read_image(tmp_path / "ct")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 100_000
    if where == "top":  # the elements after it are lost; the other places do not affect the required elements
        assert volume.notes[0] == "left out: 1 x damaged files"
        stored[2] = (stored[1] + stored[3]) // 2
    assert np.array_equal(volume.array, stored.astype(int) - 1024)


def test_a_fragment_of_pixels_cannot_claim_more_bytes_than_its_file_has(tmp_path):
    start = bytes(128) + b"DICM" + dicom_element(2, 0x10, b"UI", 20, b"1.2.840.10008.1.2.5\0")
    fragments = struct.pack("<HHI", 0xFFFE, 0xE000, 0) + struct.pack("<HHI", 0xFFFE, 0xE000, 4) + b"abcd"
    end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    for broken in (b"", struct.pack("<HHI", 0xFFFE, 0xE000, 0xF0000000), b"garbage!"):
        pixels = dicom_element(0x7FE0, 0x10, b"OB", 0xFFFFFFFF, fragments + broken + end)
        (tmp_path / "a.dcm").write_bytes(start + dicom_element(8, 0x60, b"CS", 2, b"CT") + pixels)
        header = read_dicom_header(str(tmp_path / "a.dcm"))
        assert header is not None
        assert header.complete is not bool(broken)
        assert read_pixels(header) == [b"abcd"]


def test_a_scan_larger_than_any_patient_is_refused_before_it_is_resampled(scan):
    settings = Preprocessing(in_plane_spacing=(2.5, 2.5), slice_spacing=4.0)
    with pytest.raises(GeometryError, match="larger than any patient"):
        prepare(Volume(scan.array, (9000.0, 9000.0, 9000.0)), settings)


# Recipes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": {"widths": [65536] * 8}},
        {"architecture": {"kernel_size": 65535}},
        {"preprocessing": {"mean": float("nan")}},
        {"preprocessing": {"mean": "22"}},
        {"preprocessing": {"window": [-100, 0, 100]}},
        {"preprocessing": {"slab_depth": 16.0}},
        {"preprocessing": {"in_plane_spacing": [2.5]}},
        {"name": 3},
        {"name": "\ud800"},
        {"provenance": {"score": float("inf")}},
        {"classes": [{"value": True, "name": "liver"}]},
        {"classes": [{"value": 1, "name": ["liver"]}]},
        {"classes": [{"value": 1, "name": "liver", "colour": [1, 2]}]},
    ],
)
def test_a_recipe_of_wrong_kinds_is_refused(changes):
    data = json.loads(json.dumps(Recipe().to_dict()))
    assert Recipe.from_dict(data) == Recipe()
    for key, value in changes.items():
        data[key] = {**data[key], **value} if isinstance(value, dict) and key != "provenance" else value
    with pytest.raises(CheckpointError):
        Recipe.from_dict(data)


def test_weights_that_do_not_fit_are_refused_before_memory_is_taken_for_the_network(tmp_path):
    small = Recipe(Architecture(widths=(2, 3), kernel_size=3, expansion=1), Preprocessing(slab_depth=4))
    large = Recipe(Architecture(widths=(512, 4096)), Preprocessing(slab_depth=4))
    save_checkpoint(tmp_path / "w.safetensors", LVNet(small.architecture).state_dict(), large)
    loaded, before = load_checkpoint(tmp_path / "w.safetensors"), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match="do not match the architecture"):
        loaded.build()
    # Without the check it would take 500 MB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_a_network_too_large_for_any_computer_is_refused():
    with pytest.raises(ConfigurationError, match="too large"):
        Architecture(widths=(65536, 65536))


@pytest.mark.parametrize("value", [True, "1", 1.5, float("inf"), 10**30, None, [1]])
def test_a_whole_number_is_nothing_else(value):
    with pytest.raises(ValueError, match="expansion"):
        fieldtypes.check_fields(Architecture, {"expansion": value})


def test_an_odd_transfer_syntax_is_reported_in_one_line(tmp_path):
    meta = dicom_element(2, 0x10, b"UI", 20, b"1.2.\n40.10008.1.2.1\0")
    fields = [(0x60, b"CS", b"CT"), (0x18, b"UI", b"1.2.3\0")]
    body = b"".join(dicom_element(8, element, form, len(value), value) for element, form, value in sorted(fields))
    place = [(0x20, 0x32, b"DS", b"0\\0\\0 "), (0x20, 0x37, b"DS", b"1\\0\\0\\0\\1\\0 "), (0x28, 0x02, b"US", b"\1\0"),
             (0x28, 0x10, b"US", b"\1\0"), (0x28, 0x11, b"US", b"\2\0"), (0x28, 0x30, b"DS", b"1\\1 ")]  # fmt: skip
    body += b"".join(dicom_element(group, element, form, len(value), value) for group, element, form, value in place)
    pixels = dicom_element(0x7FE0, 0x10, b"OW", 4, b"abcd")
    (tmp_path / "a.dcm").write_bytes(bytes(128) + b"DICM" + meta + body + pixels)
    assert "transfer syntax 1.2.?40" in message_of(tmp_path / "a.dcm")
