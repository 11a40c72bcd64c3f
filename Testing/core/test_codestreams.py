"""The size in a compressed image's header is checked before decoding, and an unreasonable size is refused."""

from __future__ import annotations

import contextlib
import io
import struct

import numpy as np
import pydicom
import pytest
from corpus.dicom_files import series
from corpus.headers import behind
from hypothesis import given
from hypothesis import strategies as st
from lvnet.image_io.codestreams import check_rle, jpeg_2000_size, jpeg_size
from PIL import Image
from pydicom.encaps import generate_frames
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

ROWS, COLUMNS = 40, 48
SIZ, COD = b"\xff\x51", b"\xff\x52"


def frame(folder, syntax):
    plane = np.random.default_rng(1).integers(0, 3000, (1, ROWS, COLUMNS)).astype(np.uint16)
    path = series(folder / syntax, plane, syntax=syntax) / "IM0000.dcm"
    return next(generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1))


@pytest.fixture(scope="module")
def jpeg_2000(tmp_path_factory):
    return frame(tmp_path_factory.mktemp("jpeg2000"), JPEG2000Lossless)


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGLSLossless])
def test_jpeg_and_jpeg_ls_tell_their_size(tmp_path, syntax):
    assert jpeg_size(frame(tmp_path, syntax)) == (ROWS, COLUMNS, 1, 16)


def test_every_kind_of_jpeg_tells_its_size():
    image = Image.fromarray(np.zeros((ROWS, COLUMNS, 3), np.uint8))
    for progressive in (False, True):
        file = io.BytesIO()
        image.save(file, "jpeg", progressive=progressive, comment=b"\xff\xc0" * 20)
        assert jpeg_size(file.getvalue()) == (ROWS, COLUMNS, 3, 8)
        assert jpeg_size(b"\xff\xd8\xff\xff\xff" + file.getvalue()[3:]) == (ROWS, COLUMNS, 3, 8)


def test_jpeg_2000_tells_its_size(jpeg_2000):
    assert jpeg_2000_size(jpeg_2000) == (ROWS, COLUMNS, 1, 16)
    box = b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\x14ftypjp2 \0\0\0\0jp2 "
    assert jpeg_2000_size(box + jpeg_2000) == (ROWS, COLUMNS, 1, 16)
    # The end marker may be missing, and a padding byte may make the length even.
    assert jpeg_2000[-2:] == b"\xff\xd9" or jpeg_2000[-3:] == b"\xff\xd9\0"
    end = jpeg_2000.rindex(b"\xff\xd9")
    assert jpeg_2000_size(jpeg_2000[:end]) == jpeg_2000_size(jpeg_2000[:end] + b"\0") == (ROWS, COLUMNS, 1, 16)


def test_empty_parts_and_markers_without_a_length_are_passed_over(jpeg_2000):
    end, first = jpeg_2000.rindex(b"\xff\xd9"), jpeg_2000.index(b"\xff\x90")
    empty = bytes.fromhex("ff90000a00000000000c0100")
    assert jpeg_2000_size(jpeg_2000[:end] + empty + b"\xff\xd9") == (ROWS, COLUMNS, 1, 16)
    assert jpeg_2000_size(jpeg_2000[:first] + b"\xff\x30" + jpeg_2000[first:]) == (ROWS, COLUMNS, 1, 16)
    # A tile-part that extends to the end of the data.
    assert jpeg_2000_size(behind(jpeg_2000, b"\xff\x90", 4, ">I", 0)) == (ROWS, COLUMNS, 1, 16)


def test_the_offset_of_a_jpeg_2000_image_is_no_part_of_it(jpeg_2000):
    moved = behind(jpeg_2000, SIZ, 4, ">4I", COLUMNS + 8, ROWS + 4, 8, 4)
    assert jpeg_2000_size(behind(moved, SIZ, 20, ">2I", 64, 64)) == (ROWS, COLUMNS, 1, 16)


@pytest.mark.parametrize(
    ("offset", "form", "values"),
    [
        (20, ">2I", (0, 8)),  # tiles of width 0
        (20, ">2I", (1, 1)),  # a huge number of tiles
        (28, ">2I", (2**31, 0)),  # a tile offset beyond the image
        (4, ">4I", (COLUMNS, ROWS, COLUMNS, 0)),  # an offset as large as the image
        (36, ">H", (0,)),  # no components
        (39, "2B", (0, 1)),  # a subsampling factor of 0
    ],
)
def test_a_jpeg_2000_image_without_sense_is_refused(jpeg_2000, offset, form, values):
    data = behind(jpeg_2000, SIZ, offset, form, *values)
    if offset == 20:
        data = behind(data, SIZ, 4, ">2I", 2**14, 2**14)
    with pytest.raises(ValueError, match=r"invalid tiles|image without pixels"):
        jpeg_2000_size(data)


@pytest.mark.parametrize(
    ("side", "precincts", "layers", "sound"),
    [
        (512, None, 1, True),
        (2048, 0x88, 30, True),  # precincts of 256 x 256 pixels
        (4096, 0x11, 1, False),  # of 2 x 2: a decoder would allocate 9 GB for them
        (512, 0x00, 1, False),
        (4096, 0x77, 65_535, False),
    ],
)
def test_precincts_and_layers_have_a_measure(jpeg_2000, side, precincts, layers, sound):
    data = behind(jpeg_2000, SIZ, 4, ">8I", side, side, 0, 0, side, side, 0, 0)
    data = behind(data, COD, 4, ">H", layers)
    if precincts is not None:
        place = data.index(COD) + 2
        levels = data[place + 7]
        data = behind(data, COD, 0, ">HB", 12 + levels + 1, data[place + 2] | 1)
        end = place + 12
        data = data[:end] + bytes([precincts]) * (levels + 1) + data[end:]
    if sound:
        assert jpeg_2000_size(data) == (side, side, 1, 16)
    else:
        with pytest.raises(ValueError, match="too many precincts or layers"):
            jpeg_2000_size(data)


def test_rle_has_a_segment_for_every_byte_of_a_value(tmp_path):
    data = frame(tmp_path, RLELossless)
    check_rle(data, 2)
    first, second = struct.unpack_from("<2I", data, 4)
    for offset, values in ((0, (0,)), (0, (3,)), (4, (0,)), (4, (second, first)), (8, (len(data),)), (8, (2**31,))):
        spoilt = bytearray(data)
        struct.pack_into(f"<{len(values)}I", spoilt, offset, *values)
        with pytest.raises(ValueError, match="segments"):
            check_rle(bytes(spoilt), 2)
    with pytest.raises(ValueError, match="segments"):
        check_rle(data, 1)
    with pytest.raises(ValueError, match="not RLE"):
        check_rle(data[:63], 2)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9, 0.99])
def test_a_codestream_that_is_cut_off_is_refused(jpeg_2000, share):
    with pytest.raises(ValueError, match=r"truncated|end too early|not JPEG"):
        jpeg_2000_size(jpeg_2000[: int(len(jpeg_2000) * share)])


@given(st.binary(max_size=60), st.integers(0, 200), st.integers(0, 60))
def test_damaged_codestreams_are_a_size_or_a_value_error(jpeg_2000, junk, place, removed):
    for size, begin in ((jpeg_2000_size, jpeg_2000), (jpeg_size, b"\xff\xd8\xff\xe0\0\x10" + bytes(14))):
        with contextlib.suppress(ValueError):
            assert len(size(begin[:place] + junk + begin[place + removed :])) == 4
