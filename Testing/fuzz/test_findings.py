"""Earlier findings of the fuzzer and similar inputs: a result or a one-line error, with bounded memory."""

from __future__ import annotations

import struct

import fuzz_seeds
import pytest
from corpus.headers import behind
from fuzz_engine import Child
from fuzz_targets import KINDS

SIZE = b"\xff\x51"


@pytest.fixture(scope="module")
def child():
    child = Child("reader")
    yield child
    child.close()


@pytest.fixture(scope="module")
def scans():
    return fuzz_seeds.scans()


def answer(child, kind, data):
    found = child.run(bytes([KINDS.index(kind)]) + data)
    return {key: found[key] for key in ("outcome", "what") if key in found}


@pytest.mark.parametrize("length", [0xE0DDFFFE, 0xFFFFFFFF])
@pytest.mark.parametrize("kind", [f"alone{kind}" for kind in fuzz_seeds.ALONE])
def test_garbage_behind_the_pixels_takes_no_memory(child, scans, kind, length):
    assert answer(child, kind, scans[kind] + bytes(4) + struct.pack("<I", length)) == {"outcome": "valid"}


@pytest.mark.parametrize("kind", ["alone rle", "alone jpeg", "alone jpegls", "alone jpeg2000"])
def test_fragments_that_do_not_follow_one_another_take_no_memory(child, scans, kind):
    data = scans[kind]
    assert answer(child, kind, data[:-60] + b"\xe0" * 40 + data[-60:]) == {"outcome": "refused"}


@pytest.mark.parametrize(
    ("offset", "form", "values"),
    [
        (4, ">2I", (60_000, 60_000)),  # pixels
        (4, ">2I", (10, 2**31)),
        (38 - 2, ">H", (16_384,)),  # components
        (20, ">2I", (1, 1)),  # tiles
        (20, ">2I", (0, 8)),
        (39, "2B", (0, 0)),  # subsampling
    ],
)  # fmt: skip
def test_a_jpeg_2000_header_takes_no_memory_for_what_is_not_there(child, scans, offset, form, values):
    data = behind(scans["alone jpeg2000"], SIZE, offset, form, *values)
    # Such a small slice has few tiles of one pixel; the file's own tiles are then cut off or misplaced.
    assert answer(child, "alone jpeg2000", data) in ({"outcome": "refused"}, {"outcome": "valid"})


@pytest.mark.parametrize("layers", [2, 65_535])
def test_quality_layers_of_a_jpeg_2000_slice_take_no_memory(child, scans, layers):
    data = behind(scans["alone jpeg2000"], b"\xff\x52", 4, ">H", layers)
    assert answer(child, "alone jpeg2000", data) in ({"outcome": "refused"}, {"outcome": "valid"})


LONG = b"b3 " * 2000


@pytest.mark.parametrize(
    "line",
    [b"space: " + LONG, b"kinds: " + b"domain " * 900, b"type: " + LONG, LONG, b":" * 3000, b"space: x:=" + LONG,
     b"space: \x0b" + LONG, b"#\rspace: " + LONG, b"content:x" + LONG + b": x", b"# " + b"x" * 70_000 + b"\n" + LONG],
    ids=range(10),
)  # fmt: skip
def test_a_long_field_of_an_nrrd_header_is_refused_and_ends_no_process(child, scans, line):
    for kind in ("nrrd", "layers"):
        assert answer(child, kind, scans[kind].replace(b"\ndimension", b"\n" + line + b"\ndimension", 1)) == {
            "outcome": "refused"
        }


@pytest.mark.parametrize(
    "line", [b"# " + LONG, b"note:=" + LONG, b"note:=space: " + LONG, b"http://a:b:=" + LONG, b"content: " + LONG]
)
def test_long_comments_and_keys_of_an_nrrd_header_are_fine(child, scans, line):
    text = line + b"\n" + b"# x\n" * 40_000
    assert answer(child, "nrrd", scans["nrrd"].replace(b"\ndimension", b"\n" + text + b"dimension", 1)) == {
        "outcome": "valid"
    }


@pytest.mark.parametrize("name", [b"Segment\xe9_LabelValue", b"Segment0_\xff", b"Segment1_\xe9_LabelValue", b"\xff"])
def test_keys_of_a_segmentation_that_are_no_utf_8_are_passed_over(child, scans, name):
    data = scans["layers"].replace(b"\nSegment1_LabelValue:=", b"\n" + name + b":=1\nSegment1_LabelValue:=", 1)
    assert data != scans["layers"]
    assert answer(child, "layers", data) == {"outcome": "valid"}


@pytest.mark.parametrize("field", [b"Name", b"Comment", b"AcquisitionDate", b"ObjectSubType", b"CenterOfRotation"])
@pytest.mark.parametrize("length", [300, 4000])
def test_a_long_text_in_a_metaimage_header_ends_no_process(child, scans, field, length):
    text = b"\n" + field + b" = " + b"1 " * (length // 2) + b"\nNDims"
    assert answer(child, "mha", scans["mha"].replace(b"\nNDims", text, 1)) == {"outcome": "valid"}
