"""MetaImage files (.mha, .mhd).

They are not read by ITK, which returns uninitialised memory if compressed voxels are damaged, accepts an
incomplete grid, and copies texts of any length into buffers of 255 bytes.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

import numpy as np

from ..errors import ImageError
from ..progress import Progress
from .grid import check_grid, check_memory, check_size
from .itk import Grid
from .source import UNKNOWN_SPACING, Source, squeezed_note
from .streams import check_length, damaged, open_voxels, read_slices
from .voxels import INT16_BYTES, VoxelStack

_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
_NAMES = {np.dtype(np.uint8): "MET_UCHAR", np.dtype(np.int16): "MET_SHORT", np.dtype(np.float32): "MET_FLOAT"}
_SIZE_FIELD = b"CompressedDataSize = "
_SIZE_WIDTH = 20
_MOST_DIMENSIONS = 10
#: Synonymous field names of the grid; if a header has several of them, ITK uses the first in this order.
_SPACINGS, _ORIGINS, _MATRICES = (
    ("elementspacing", "elementsize"), ("origin", "offset", "position"), ("transformmatrix", "rotation", "orientation"),
)  # fmt: skip


def read_metaimage(name: str, path: Path, progress: Progress) -> Source:
    """Reads an .mha file, or an .mhd file with the one file of voxels that it names.

    Args:
        name: the file's name for messages.
        path: the file.
        progress: called with the fraction of slices read.

    Raises:
        ImageError: the file is damaged, not a 3D volume of real numbers, or its grid is invalid.
    """
    fields, end = _read_fields(name, path)
    try:
        size = tuple(int(part) for part in fields["dimsize"].split())
        components = int(fields.get("elementnumberofchannels", "1"))
        kind = fields["elementtype"].upper()
        skip = int(fields.get("headersize", "0"))
    except (KeyError, ValueError) as error:
        raise damaged(name) from error
    if fields.get("ndims", "").strip() != str(len(size)) or len(size) > _MOST_DIMENSIONS:
        raise damaged(name)
    dropped = check_size(name, size, components)
    try:
        written = _grid(fields, len(size))
    except ValueError as error:
        raise damaged(name) from error
    # In MetaImage, as in ITK, a negative spacing means a flipped axis.
    check_grid(name, *written, signed=True)
    if kind not in _TYPES:
        raise ImageError(f"{name} stores voxels as {kind}; save it with integers or floating-point numbers")
    if fields.get("binarydata", "true").lower() != "true":
        raise ImageError(f"{name} stores its voxels as text; save it in binary form")
    data, offset = _voxel_file(name, path, fields["elementdatafile"], end)
    shape = (size[2], size[1], size[0])
    big = "true" in (fields.get("binarydatabyteordermsb", "").lower(), fields.get("elementbyteordermsb", "").lower())
    dtype = np.dtype((">" if big else "<") + _TYPES[kind])
    compressed = fields.get("compresseddata", "false").lower() == "true"
    length = math.prod(shape) * dtype.itemsize
    if skip == -1:  # the voxels are the end of the file
        offset = data.stat().st_size - length
    elif skip > 0:
        offset += skip
    check_length(name, "zlib" if compressed else "raw", data.stat().st_size - offset, length)
    if offset < 0:
        raise damaged(name)
    check_memory(name, shape, INT16_BYTES)
    stack = VoxelStack(shape)
    surplus: List[str] = []
    with open_voxels(name, data, "zlib" if compressed else "raw", offset) as stream:
        for index, values in enumerate(read_slices(name, stream, shape, dtype, progress, surplus)):
            stack.put(index, values)
    notes = squeezed_note(dropped)
    if not any(key in fields for key in _SPACINGS):
        notes += (UNKNOWN_SPACING,)
    for keys in (_SPACINGS, _ORIGINS, _MATRICES):
        given = [key for key in keys if key in fields]
        if any(_values(fields[key]) != _values(fields[given[0]]) for key in given[1:]):
            notes += (f"the header's {' and '.join(given)} differ: the first was used, as in ITK",)
    slope = _values(fields.get("elementtointensityfunctionslope", "1"))
    intercept = _values(fields.get("elementtointensityfunctionoffset", "0"))
    if slope != [1.0] or intercept != [0.0]:
        notes += ("the header gives a slope or offset for the intensities: it was ignored, as in ITK",)
    return Source(stack, *_positive(written), notes + tuple(surplus))


def _values(text: str) -> List[float]:
    """The numbers of a field; empty if it contains anything else."""
    try:
        return [round(float(part), 6) for part in text.split()]
    except ValueError:
        return []


def _read_fields(name: str, path: Path) -> Tuple[Dict[str, str], int]:
    """The header's fields with lower-case names, and the offset of its end."""
    fields: Dict[str, str] = {}
    with open(path, "rb") as file:
        for _ in range(200):
            line = file.readline(4096)
            key, found, value = line.decode("utf-8", "replace").partition("=")
            if not found:
                break
            fields[key.strip().lower()] = value.strip()
            if key.strip().lower() == "elementdatafile":
                return fields, file.tell()
    if "ndims" in fields or "dimsize" in fields:
        raise damaged(name)
    raise ImageError(f"{name} is not a MetaImage file, despite its name; check where it comes from")


def _voxel_file(name: str, path: Path, entry: str, end: int) -> Tuple[Path, int]:
    if entry.upper() == "LOCAL":
        return path, end
    if entry.upper().startswith("LIST") or "%" in entry:
        raise ImageError(f"{name} stores its voxels in several files; save it as one .mha file")
    data = path.parent / entry
    # An untrusted header must not read files outside its own folder.
    if os.path.isabs(entry) or ".." in Path(entry).parts or not data.is_file():
        raise ImageError(f"{name}: the voxel file named in its header is not in the same folder; copy it there")
    return data, 0


def _grid(fields: Dict[str, str], dimensions: int) -> Grid:
    """Spacing as written, origin, nine direction cosines of a header; ValueError if one has too few numbers."""

    def numbers(keys: Sequence[str], count: int, default: Sequence[float]) -> List[float]:
        text = next((fields[key] for key in keys if key in fields), None)
        found = list(default) if text is None else [float(part) for part in text.split()]
        if len(found) < count:
            raise ValueError("too few numbers")
        return found[:count]

    spacing = numbers(_SPACINGS, dimensions, [1.0] * dimensions)
    origin = numbers(_ORIGINS, dimensions, [0.0] * dimensions)
    # The file lists one axis after another, direction cosines go row by row.
    axes = numbers(_MATRICES, dimensions**2, np.eye(dimensions).ravel().tolist())
    direction = [axes[column * dimensions + row] for row in range(3) for column in range(3)]
    return tuple(spacing[:3]), tuple(origin[:3]), tuple(direction)


def _positive(grid: Grid) -> Grid:
    """ITK's interpretation of a negative spacing: the axis points the other way."""
    spacing, origin, direction = grid
    signs = [1.0 if step > 0 else -1.0 for step in spacing]
    return (
        tuple(abs(step) for step in spacing),
        origin,
        tuple(value * signs[index % 3] for index, value in enumerate(direction)),
    )


def metaimage_header(
    shape: Sequence[int],
    dtype: np.dtype,
    spacing: Sequence[float],
    origin: Sequence[float],
    direction: Sequence[float],
) -> Tuple[bytes, int]:
    """The header of an .mha file with zlib-compressed voxels, exact to the last bit of a double.

    Args:
        shape: (z, y, x).
        dtype: uint8, int16 or float32.
        spacing: (x, y, z) in mm.
        origin: (x, y, z) in mm, LPS.
        direction: nine direction cosines, row by row, LPS.

    Returns:
        The bytes, and the offset at which to write :func:`compressed_size` once it is known.
    """
    matrix = np.asarray(direction, np.float64).reshape(3, 3)
    text = [
        "ObjectType = Image", "NDims = 3", "BinaryData = True", "BinaryDataByteOrderMSB = False",
        "CompressedData = True", _SIZE_FIELD.decode() + " " * _SIZE_WIDTH,
        f"TransformMatrix = {_numbers(matrix.T.ravel())}", f"Offset = {_numbers(origin)}", "CenterOfRotation = 0 0 0",
        f"ElementSpacing = {_numbers(spacing)}", f"DimSize = {shape[2]} {shape[1]} {shape[0]}",
        f"ElementType = {_NAMES[dtype]}", "ElementDataFile = LOCAL", "",
    ]  # fmt: skip
    header = "\n".join(text).encode("ascii")
    return header, header.index(_SIZE_FIELD) + len(_SIZE_FIELD)


def compressed_size(count: int) -> bytes:
    """The bytes to write at the offset that :func:`metaimage_header` returns."""
    return str(count).ljust(_SIZE_WIDTH).encode("ascii")


def _numbers(values: Sequence[float]) -> str:
    # repr is the shortest text that reads back as the same double.
    return " ".join(repr(float(value)) for value in values)
