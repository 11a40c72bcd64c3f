"""Encoding pictures as PNG, also in `data:` addresses, so that a page is self-contained."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

#: PNG's colour type by the number of channels: grey, RGB, RGBA.
_KINDS = {1: 0, 3: 2, 4: 6}


def png(pixels: np.ndarray) -> bytes:
    """A PNG file.

    Args:
        pixels: uint8, (rows, columns) for grey or (rows, columns, 3 or 4) for RGB or RGBA.
    """
    array = pixels if pixels.ndim == 3 else pixels[:, :, None]
    height, width, channels = array.shape
    # Each row as its difference to the row above: this halves the size of noise-free pictures.
    rows = np.concatenate([array[:1], array[1:] - array[:-1]]).reshape(height, -1)
    lines = np.concatenate([np.full((height, 1), 2, np.uint8), rows], axis=1)
    head = struct.pack(">IIBBBBB", width, height, 8, _KINDS[channels], 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in parts)


def data_address(pixels: np.ndarray) -> str:
    """A PNG as a `data:` address."""
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode("ascii")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
