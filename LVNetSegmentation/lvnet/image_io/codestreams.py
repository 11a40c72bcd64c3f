"""The size in the header of a compressed image, checked before a codec allocates memory for it.

A header of a few bytes can make a decoder allocate gigabytes (for pixels, for tiles, or for the bookkeeping of
resolutions and quality layers) or crash the process.  Nothing is decoded here.
"""

from __future__ import annotations

import struct
from typing import Iterator, NamedTuple, Tuple

# JPEG and JPEG-LS (ISO 10918-1, 14495-1): a start of frame is C0 to CF or F7, except three that are tables.
_JPEG_START = b"\xff\xd8"
_NO_FRAMES = (0xC4, 0xC8, 0xCC)
# JPEG 2000 (ISO 15444-1, annex A).
_START = b"\xff\x4f\xff\x51"
_BOX = b"\x00\x00\x00\x0cjP  "
#: The first bytes of every image of the JPEG family.
BEGINS = (_JPEG_START, _START, _BOX)
_SIZE, _CODING, _COMPONENT_CODING, _TILE_PART, _DATA, _END = 0xFF51, 0xFF52, 0xFF53, 0xFF90, 0xFF93, 0xFFD9
#: Markers without a length.
_ALONE = range(0xFF30, 0xFF40)
_MOST_TILES = 4096
_RLE_HEADER = 64
#: Limit for the number of packets (resolutions x precincts x layers); a slice of 512 x 512 pixels has a few dozen.
_MOST_PACKETS = 2**24
_MOST_PRECINCTS = 2**16
_MOST_LEVELS = 32


class ImageSize(NamedTuple):
    """Pixels along y and x, values per pixel, and bits per value (for JPEG 2000: of the first)."""

    rows: int
    columns: int
    components: int
    bits: int


def jpeg_size(data: bytes) -> ImageSize:
    """The size of a JPEG or JPEG-LS image.

    Raises:
        ValueError: the data are not such an image, or do not give its size.
    """
    if data[:2] != _JPEG_START:
        raise ValueError("not a JPEG")
    place = 2
    while True:
        if data[place : place + 1] != b"\xff":
            raise ValueError("a marker is missing")
        while data[place + 1 : place + 2] == b"\xff":  # any number of fill bytes may come before a marker
            place += 1
        marker, length = _number(data, place + 1, 1), _number(data, place + 2, 2)
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in _NO_FRAMES):
            bits, rows, columns, components = (
                _number(data, place + start, length) for start, length in ((4, 1), (5, 2), (7, 2), (9, 1))
            )
            return ImageSize(rows, columns, components, bits)
        if length < 2:
            raise ValueError("a segment without a length")
        place += 2 + length


def check_rle(data: bytes, bytes_of_value: int) -> None:
    """Checks the header of an RLE image (DICOM PS3.5, annex G): it must have one segment for each byte of a value.

    Raises:
        ValueError: the number of segments differs, or they are not stored one after the other.
    """
    if len(data) < _RLE_HEADER:
        raise ValueError("not RLE")
    count, *offsets = struct.unpack_from("<16I", data)
    if count != bytes_of_value or offsets[0] < _RLE_HEADER:
        raise ValueError("the number of segments is not that of the bytes of a value")
    edges = [*offsets[:count], len(data)]
    if any(first >= second for first, second in zip(edges, edges[1:])):
        raise ValueError("segments that do not follow one another")


def jpeg_2000_size(data: bytes) -> ImageSize:
    """The size of a JPEG 2000 image.

    Raises:
        ValueError: the data are not such an image, are damaged or truncated, or have invalid or excessive tiles,
            precincts or layers.
    """
    start = data.find(_START)
    # A palette in the enclosing box would turn one component into many.
    if start < 0 or (start and (not data.startswith(_BOX) or b"pclr" in data[:start])):
        raise ValueError("not JPEG 2000")
    size = ImageSize(0, 0, 0, 0)
    layers = 1
    for marker, content in _segments(data, start):
        if (marker == _SIZE) != (size.components == 0):
            raise ValueError("the size is not the first segment, or is given twice")
        if marker == _SIZE:
            size = _grid(content)
        elif marker == _CODING:
            layers = max(layers, _number(content, 2, 2))
            own_precincts, levels = _number(content, 0, 1) & 1, _number(content, 5, 1)
            _check_packets(size, layers, levels, content[10:] if own_precincts else b"")
        elif marker == _COMPONENT_CODING:
            place = 1 if size.components < 257 else 2
            own_precincts, levels = _number(content, place, 1) & 1, _number(content, place + 1, 1)
            _check_packets(size, layers, levels, content[place + 6 :] if own_precincts else b"")
    return size


def _segments(data: bytes, start: int) -> Iterator[Tuple[int, bytes]]:
    """Marker and content of each segment of the main header and of the tile-part headers."""
    place, end, between = start + 2, 0, False
    while True:
        marker = _number(data, place, 2)
        if marker == _END or (between and marker != _TILE_PART):
            if not end or marker != _END:
                raise ValueError("no tiles")
            return
        if marker == _DATA:
            if not end:
                raise ValueError("data without a tile")
            place, between = end, True
            if place >= len(data) - 1:  # the end marker is missing, which decoders may or may not accept
                return
            continue
        if marker in _ALONE:
            place += 2
            continue
        length = _number(data, place + 2, 2)
        content = data[place + 4 : place + 2 + length]
        if length < 2 or len(content) != length - 2:
            raise ValueError("a truncated segment")
        if marker == _TILE_PART:
            whole = _number(content, 2, 4)
            end = place + whole if whole else len(data)
            if not place + 12 <= end <= len(data):
                raise ValueError("a truncated tile")
            between = whole == 12  # an empty tile-part, which has no data marker either
        yield marker, content
        place += 2 + length


def _grid(content: bytes) -> ImageSize:
    if len(content) < 36:
        raise ValueError("a truncated size")
    right, bottom, left, top, width, height, first_left, first_top, components = struct.unpack_from(">8IH", content, 2)
    if not (width and height and components and right > left and bottom > top):
        raise ValueError("an image without pixels")
    tiles = _up(right - first_left, width) * _up(bottom - first_top, height)
    if not 0 < tiles <= _MOST_TILES:
        raise ValueError("invalid tiles")
    step_x, step_y = _number(content, 37, 1), _number(content, 38, 1)
    if not (step_x and step_y):
        raise ValueError("an image without pixels")
    rows, columns = _up(bottom, step_y) - _up(top, step_y), _up(right, step_x) - _up(left, step_x)
    return ImageSize(rows, columns, components, (content[36] & 0x7F) + 1)


def _check_packets(size: ImageSize, layers: int, levels: int, precincts: bytes) -> None:
    """Fails if a decoder would have to manage more packets than any real image has."""
    if levels > _MOST_LEVELS or (precincts and len(precincts) <= levels):
        raise ValueError("too many resolutions, or one without its precincts")
    most = 0
    for level in range(levels + 1):
        exponents = precincts[level] if precincts else 0xFF
        across = (_up(size.columns, 1 << (levels - level)) >> (exponents & 15)) + 2
        down = (_up(size.rows, 1 << (levels - level)) >> (exponents >> 4)) + 2
        most = max(most, across * down)
    if most > _MOST_PRECINCTS or most * (levels + 1) * layers > _MOST_PACKETS:
        raise ValueError("too many precincts or layers")


def _number(data: bytes, place: int, length: int) -> int:
    if place + length > len(data):
        raise ValueError("the data end too early")
    return int.from_bytes(data[place : place + length], "big")


def _up(value: int, divisor: int) -> int:
    return -(-value // divisor)
