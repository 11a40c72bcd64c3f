"""NRRD files (.nrrd, .nhdr): read through ITK, written so that ITK reads the grid back exactly."""

from __future__ import annotations

import itertools
import math
import os
import re
from pathlib import Path
from typing import Dict, List, Mapping, Sequence, Tuple

import numpy as np
import SimpleITK as sitk  # noqa: N813

from ..errors import ImageError
from ..progress import Progress
from . import itk
from .grid import check_grid, check_memory, check_size
from .source import UNKNOWN_SPACING, Source, squeezed_note
from .streams import check_length, damaged
from .voxels import INT16_BYTES, VoxelStack

_NAMES = {np.dtype(np.uint8): "uint8", np.dtype(np.int16): "int16", np.dtype(np.float32): "float"}
_ENCODINGS = {"gz": "gzip", "gzip": "gzip", "bz2": "bzip2", "bzip2": "bzip2", "raw": "raw", "text": "text",
              "txt": "text", "ascii": "text", "hex": "raw"}  # fmt: skip
_TYPE_BYTES = {
    2: ("short", "short int", "signed short", "signed short int", "int16", "int16_t", "ushort", "unsigned short",
        "unsigned short int", "uint16", "uint16_t"),
    4: ("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t", "float"),
    8: ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t",
        "ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t", "double"),
}  # fmt: skip
_VECTOR = re.compile(r"\([^)]*\)")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?=[\r\n])")
#: Teem copies invalid field values into message buffers of a kilobyte, without checking their length.
_MOST_IN_FIELD = 400
#: Largest header in bytes; one with hundreds of segments takes some hundred kilobytes.
_MOST_IN_HEADER = 2**24


def read_nrrd(name: str, path: Path, progress: Progress) -> Source:
    """Reads an NRRD file, with its voxels beside it if it is an .nhdr file.

    Args:
        name: the file's name for messages.
        path: the file.
        progress: called with the fraction of slices read.

    Raises:
        ImageError: the file is damaged, not a 3D volume of real numbers, or its grid is invalid.
    """
    reader, notes = open_nrrd(name, path)
    dropped = check_size(name, reader.GetSize(), reader.GetNumberOfComponents())
    grid = itk.grid_of(reader)
    check_grid(name, *grid)
    # ITK keeps all voxels in the file's type in memory while they are converted to int16.
    check_memory(name, reader.GetSize()[2::-1], itk.pixel_bytes(reader) + INT16_BYTES)
    progress(0.0, "reading the scan")
    image = itk.read_whole(name, reader)
    values = sitk.GetArrayViewFromImage(image)
    if values.dtype.kind not in "iuf":
        raise ImageError(
            f"{name} stores voxels as {image.GetPixelIDTypeAsString()}; save it with integers or floating-point numbers"
        )
    depth, height, width = values.shape[-3:]
    values = values.reshape(depth, height, width)
    stack = VoxelStack((depth, height, width))
    for index in range(depth):
        stack.put(index, values[index])
        progress((index + 1) / depth, "reading the scan")
    return Source(stack, *grid, squeezed_note(dropped) + notes)


def open_nrrd(name: str, path: Path) -> Tuple[sitk.ImageFileReader, Tuple[str, ...]]:
    """A reader with the header of an NRRD file, and notes about the header.

    Raises:
        ImageError: it is empty, damaged, or not an NRRD file.
    """
    fields = _read_fields(name, path)
    # Teem's error for an empty axis does not tell the reason.
    sizes = fields.get("sizes", "").split()
    if any(part.lstrip("-0") == "" or part.startswith("-") for part in sizes):
        raise ImageError(f"{name} is empty: its size is {' x '.join(sizes)} voxels; export the scan again")
    _check_spacing(name, fields, len(sizes))
    _check_voxels(name, path, fields)
    notes: Tuple[str, ...] = () if "space directions" in fields or "spacings" in fields else (UNKNOWN_SPACING,)
    if "old min" in fields or "old max" in fields or "oldmin" in fields or "oldmax" in fields:
        notes += ("its header says that the values were quantised (old min, old max): this was ignored",)
    return itk.read_header(name, path, "NrrdImageIO"), notes


def _check_spacing(name: str, fields: Dict[str, str], dimensions: int) -> None:
    """Fails if the spacing of an axis is missing, given twice, or not in mm.

    Raises:
        ImageError: the header does not give a unique voxel spacing in mm.
    """
    steps = [step for step in fields.get("spacings", "").split() if "nan" not in step.lower()]
    directions = [axis for axis in _VECTOR.findall(fields.get("space directions", "")) if "nan" not in axis.lower()]
    if directions and steps:
        raise ImageError(f"{name}: its header gives both space directions and spacings; remove one of them")
    # If an axis has no direction or spacing, ITK silently assumes 1 mm along an axis of its choice.
    given = "space directions" in fields or "spacings" in fields
    if given and max(len(directions), len(steps)) < min(3, dimensions):
        raise ImageError(f"{name}: its header lacks the voxel spacing of an axis; export the scan again")
    # ITK ignores the unit and assumes mm.
    units = set(re.findall(r'"([^"]*)"', fields.get("space units", "" if directions else fields.get("units", ""))))
    for unit in sorted(units - {"", "mm", "millimeter", "millimetre", "???"}):
        raise ImageError(f"{name}: its header gives lengths in {unit[:20]!r}; save it with a voxel spacing in mm")


def _check_voxels(name: str, path: Path, fields: Dict[str, str]) -> None:
    """Fails before ITK allocates memory for missing voxels, or reads files in other folders.

    Args:
        name: the file's name for messages.
        path: the header's file.
        fields: the header's fields.

    Raises:
        ImageError: the voxel file is missing, too short, in another folder, or one of several.
    """
    data, entry = path, fields.get("data file", fields.get("datafile", ""))
    if entry:
        if entry.upper().startswith("LIST") or "%" in entry:
            raise ImageError(f"{name} stores its voxels in several files; save it as one .nrrd file")
        # "-" would be standard input.
        if os.path.isabs(entry) or ".." in Path(entry).parts or entry == "-":
            raise ImageError(f"{name}: the voxel file named in its header is not in the same folder; copy it there")
        data = path.parent / entry
        if not os.path.isfile(data):
            raise damaged(name)
    encoding = _ENCODINGS.get(fields.get("encoding", "").lower(), "")
    kind = fields.get("type", "").lower()
    size = next((size for size, names in _TYPE_BYTES.items() if kind in names), 1)
    try:
        needed = math.prod(int(part) for part in fields.get("sizes", "").split())
    except ValueError as error:
        raise damaged(name) from error
    check_length(name, encoding, data.stat().st_size, needed * (1 if encoding == "text" else size))


def _read_fields(name: str, path: Path) -> Dict[str, str]:
    """The standard fields of a header, without comments and custom key/value pairs.

    Raises:
        ImageError: the file is not an NRRD file, or its header is too long.
    """
    with open(path, "rb") as file:
        header = file.read(1 << 16)
        if not header.startswith(b"NRRD"):
            raise ImageError(f"{name} is not an NRRD file, despite its name; check where it comes from")
        end = _BLANK_LINE.search(header)
        while end is None and len(header) <= _MOST_IN_HEADER:
            more = file.read(len(header))
            if not more:
                break
            header += more
            end = _BLANK_LINE.search(header)
    header = header[: end.start() if end else None]
    if len(header) > _MOST_IN_HEADER:
        raise damaged(name)
    fields: Dict[str, str] = {}
    for line in _LINE_END.split(header)[1:]:
        key, _, value = line.partition(b":")
        pair, field = line.find(b":="), line.find(b": ")
        if line.startswith(b"#") or (pair >= 0 and not 0 <= field < pair):
            continue
        if len(line) > _MOST_IN_FIELD and not line.lower().startswith(b"content: "):
            raise damaged(name)
        fields[key.decode("utf-8", "replace").strip().lower()] = value.decode("utf-8", "replace").strip()
    return fields


def nrrd_header(
    shape: Sequence[int],
    dtype: np.dtype,
    spacing: Sequence[float],
    origin: Sequence[float],
    direction: Sequence[float],
    fields: Mapping[str, str],
) -> bytes:
    """The header of an .nrrd file with gzip-compressed voxels.

    NRRD stores spacing times direction.  If there are three doubles from which ITK's reader restores
    spacing and direction exactly (always the case for grids from an NRRD file), these are written;
    otherwise the closest ones, with priority for the spacing, which differ by about the last bit.

    Args:
        shape: (z, y, x).
        dtype: uint8, int16 or float32.
        spacing: (x, y, z) in mm.
        origin: (x, y, z) in mm, LPS.
        direction: nine direction cosines, row by row, LPS.
        fields: custom key/value pairs, such as those of a segmentation.
    """
    matrix = np.asarray(direction, np.float64).reshape(3, 3)
    axes = " ".join(_vector(_space_direction(matrix[:, axis], float(spacing[axis]))) for axis in range(3))
    lines = [
        "NRRD0004", f"type: {_NAMES[dtype]}", "dimension: 3", "space: left-posterior-superior",
        f"sizes: {shape[2]} {shape[1]} {shape[0]}", f"space directions: {axes}", "kinds: domain domain domain",
        *([] if dtype.itemsize == 1 else ["endian: little"]), "encoding: gzip", f"space origin: {_vector(origin)}",
        *(f"{key}:={_escaped(value)}" for key, value in fields.items()), "", "",
    ]  # fmt: skip
    return "\n".join(lines).encode("utf-8")


def _space_direction(direction: np.ndarray, step: float, reach: int = 3) -> Tuple[float, ...]:
    """The vector of length `step` that divided by its length gives `direction`, exactly if possible."""
    choices: List[List[Tuple[bool, float]]] = []
    for part in direction:
        near = [float(part) * step]
        for towards in (np.inf, -np.inf):
            value = near[0]
            for _ in range(reach):
                value = float(np.nextafter(value, towards))
                near.append(value)
        if near[0] == 0.0:
            near = near[:1]
        choices.append([(value * (1.0 / step) != part, value) for value in near])
    # Prefer an exact length, then the fewest inexact components, then the smallest change.
    best: Tuple[Tuple[bool, int, float], Tuple[float, ...]] = ((True, 4, np.inf), tuple(c[0][1] for c in choices))
    for trial in itertools.product(*choices):
        x, y, z = (value for _, value in trial)
        rank = (
            bool(np.sqrt(x * x + y * y + z * z) != step),
            sum(wrong for wrong, _ in trial),
            sum(abs(value - choice[0][1]) for (_, value), choice in zip(trial, choices)),
        )
        if rank < best[0]:
            best = (rank, (x, y, z))
        if rank[:2] == (False, 0):
            break
    return best[1]


def _vector(values: Sequence[float]) -> str:
    return "(" + ",".join(repr(float(value)) for value in values) + ")"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n")
