"""Writes files byte by byte, so that any field can be wrong."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Sequence, Union

import numpy as np
from lvnet.volume import Volume

from .scans import scan

_CODES = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "i1": 256, "u2": 512, "u4": 768, "i8": 1024, "u8": 1280}
_NRRD = {"i1": "int8", "u1": "uint8", "i2": "int16", "u2": "uint16", "i4": "int32", "u4": "uint32", "i8": "int64",
         "u8": "uint64", "f4": "float", "f8": "double"}  # fmt: skip
_META = {"i1": "MET_CHAR", "u1": "MET_UCHAR", "i2": "MET_SHORT", "u2": "MET_USHORT", "i4": "MET_INT",
         "u4": "MET_UINT", "i8": "MET_LONG_LONG", "u8": "MET_ULONG_LONG", "f4": "MET_FLOAT",
         "f8": "MET_DOUBLE"}  # fmt: skip


def nifti(volume: Optional[Volume] = None, change: Optional[Callable[[bytearray, str], Any]] = None) -> bytes:
    """A NIfTI-1 file with consistent sform and qform.

    Args:
        volume: (z, y, x) voxels of any real type and byte order, with an axial grid.
        change: gets the header and its byte order, to damage it.
    """
    volume = scan() if volume is None else volume
    order = ">" if volume.array.dtype.byteorder == ">" else "<"
    depth, height, width = volume.shape
    z, y, x = volume.spacing
    header = bytearray(352)
    struct.pack_into(order + "i", header, 0, 348)
    struct.pack_into(order + "8h", header, 40, 3, width, height, depth, 1, 1, 1, 1)
    kind = volume.array.dtype.str[1:]
    struct.pack_into(order + "2h", header, 70, _CODES[kind], volume.array.dtype.itemsize * 8)
    struct.pack_into(order + "8f", header, 76, 1.0, x, y, z, 0, 0, 0, 0)
    struct.pack_into(order + "3f", header, 108, 352.0, 1.0, 0.0)
    header[123] = 2
    ox, oy, oz = volume.origin
    struct.pack_into(order + "2h", header, 252, 1, 1)
    # RAS: a rotation by 180 degrees about z converts to LPS.
    struct.pack_into(order + "6f", header, 256, 0.0, 0.0, 1.0, -ox, -oy, oz)
    struct.pack_into(order + "12f", header, 280, -x, 0, 0, -ox, 0, -y, 0, -oy, 0, 0, z, oz)
    header[344:348] = b"n+1\0"
    if change is not None:
        change(header, order)
    return bytes(header) + volume.array.tobytes()


def field(offset: int, form: str, *values: Any) -> Callable[[bytearray, str], None]:
    """A change of one field of a NIfTI header."""
    return lambda header, order: struct.pack_into(order + form, header, offset, *values)


def changes(*each: Callable[[bytearray, str], Any]) -> Callable[[bytearray, str], None]:
    """Several changes in sequence."""

    def change(header: bytearray, order: str) -> None:
        for one in each:
            one(header, order)

    return change


def behind(data: bytes, marker: bytes, offset: int, form: str, *values: int, start: bytes = b"") -> bytes:
    """The data with numbers replaced at an offset after the first occurrence of a marker from `start` on."""
    result = bytearray(data)
    place = data.index(marker, data.index(start)) + len(marker) + offset
    struct.pack_into(form, result, place, *values)
    return bytes(result)


def nrrd(
    volume: Optional[Volume] = None,
    *,
    encoding: str = "gzip",
    sizes: Optional[Sequence[int]] = None,
    directions: Optional[str] = None,
    data: Optional[bytes] = None,
    more: str = "",
) -> bytes:
    """An NRRD file; `sizes`, `directions` and `data` replace the correct values."""
    volume = scan() if volume is None else volume
    axes = volume.direction_matrix * np.asarray(volume.spacing[::-1])
    true = " ".join("(" + ",".join(repr(float(v)) for v in axes[:, i]) + ")" for i in range(3))
    raw = volume.array.tobytes() if data is None else data
    order = "big" if volume.array.dtype.byteorder == ">" else "little"
    lines = [
        "NRRD0004", f"type: {_NRRD[volume.array.dtype.str[1:]]}", "dimension: 3", "space: left-posterior-superior",
        f"sizes: {' '.join(str(v) for v in (sizes or volume.shape[::-1]))}",
        f"space directions: {true if directions is None else directions}", "kinds: domain domain domain",
        f"endian: {order}", f"encoding: {encoding}",
        f"space origin: ({','.join(repr(float(v)) for v in volume.origin)})", *([more] if more else []), "", "",
    ]  # fmt: skip
    return "\n".join(lines).encode() + (gzip.compress(raw, mtime=0) if encoding == "gzip" else raw)


def metaimage(
    volume: Optional[Volume] = None,
    *,
    compressed: bool = True,
    data: Optional[bytes] = None,
    **fields: Union[str, None],
) -> bytes:
    """An MHA file; fields replace those of the header, None omits one."""
    volume = scan() if volume is None else volume
    raw = volume.array.tobytes() if data is None else data
    packed = zlib.compress(raw) if compressed else raw
    big = volume.array.dtype.byteorder == ">"
    header: Dict[str, Union[str, None]] = {
        "ObjectType": "Image", "NDims": "3", "BinaryData": "True", "BinaryDataByteOrderMSB": str(big),
        "CompressedData": str(compressed),
        "TransformMatrix": " ".join(repr(float(v)) for v in volume.direction_matrix.T.ravel()),
        "Offset": " ".join(repr(float(v)) for v in volume.origin),
        "ElementSpacing": " ".join(repr(float(v)) for v in volume.spacing[::-1]),
        "DimSize": " ".join(str(v) for v in volume.shape[::-1]),
        "ElementType": _META[volume.array.dtype.str[1:]], **fields,
    }  # fmt: skip
    if compressed:
        header.setdefault("CompressedDataSize", str(len(packed)))
    # By definition, the last field.
    header["ElementDataFile"] = header.pop("ElementDataFile", "LOCAL")
    lines = [f"{key} = {value}\n" for key, value in header.items() if value is not None]
    return "".join(lines).encode() + packed


def write(path: Path, data: bytes) -> Path:
    """Writes a file with these bytes."""
    path.write_bytes(data)
    return path
