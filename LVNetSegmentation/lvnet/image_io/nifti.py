"""NIfTI-1 files: read with ITK's interpretation of the geometry, written so that ITK reads it back exactly.

ITK's own writer stores float32 quaternions from which the reader rebuilds the axes, which changes
oblique directions by about 1e-8 in every round trip.  The header written here stores the axes in the
sform, as exactly those float32 numbers that ITK's reader converts to the given directions.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..errors import ImageError
from ..progress import Progress
from ..volume import IDENTITY_DIRECTION
from . import itk
from .geometry_checks import check_grid, check_memory, check_size
from .nifti_transforms import (
    Transforms,
    check_rotation,
    check_transforms,
    grid_of_sform,
    is_skewed,
    lacks_spacing,
    nearest_grid,
    read_transforms,
    spacing_of_sform,
)
from .source import Source, squeezed_note
from .streams import check_length, damaged, open_voxels, read_slices
from .voxels import INT16_BYTES, VoxelStack

_HEADER_SIZE = 348
_DATA_OFFSET = 352
_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
_CODES = {np.dtype(np.uint8): 2, np.dtype(np.int16): 4, np.dtype(np.float32): 16}
_COLOURS = {128: 3, 2304: 4}
# Always mm, even if another unit would preserve a number's last digits: many programs, and ITK 5.3 for
# the origin, ignore the unit.
_MILLIMETRES = 2


class _Header(NamedTuple):
    order: str
    dim: Tuple[int, ...]
    datatype: int
    pixdim: Tuple[float, ...]
    offset: int
    slope: float
    intercept: float
    transforms: Transforms
    placed: bool
    unit: int
    placing: Tuple[Tuple[int, ...], Tuple[float, ...]]
    compressed: bool


def read_nifti(name: str, path: Path, progress: Progress) -> Source:
    """Reads a NIfTI-1 file, compressed or not, with its scl_slope and scl_inter applied.

    Args:
        name: the file's name for messages.
        path: the file.
        progress: called with the fraction of slices read.

    Raises:
        ImageError: the file is damaged, not a 3D volume of real numbers, or its grid is invalid.
    """
    header = _read_header(name, path)
    rank = header.dim[0]
    size = header.dim[1 : rank + 1]
    components = _COLOURS.get(header.datatype, size[4] if rank > 4 and size[4] > 0 else 1)
    dropped = check_size(name, size[:4] if rank > 4 and components == 1 else size, components)
    if header.datatype not in _TYPES:
        raise ImageError(
            f"{name} stores voxels of NIfTI type {header.datatype}; save it with integers or floating-point numbers"
        )
    shape = (size[2], size[1], size[0])
    if not lacks_spacing(header.transforms, header.pixdim[1:4]):
        check_grid(name, header.pixdim[1:4], (0.0,) * 3, IDENTITY_DIRECTION)
    dtype = np.dtype(header.order + _TYPES[header.datatype])
    needed = header.offset + math.prod(shape) * dtype.itemsize
    check_length(name, "gzip" if header.compressed else "raw", path.stat().st_size, needed)
    if header.compressed and not path.name.lower().endswith(".gz"):
        raise ImageError(f"{name} is compressed although its name does not say so; rename it to end with .nii.gz")
    check_memory(name, shape, INT16_BYTES)
    check_transforms(name, header.transforms)
    grid, grid_notes = _grid(name, path, header, shape)
    check_grid(name, *grid)
    notes = squeezed_note(dropped) + grid_notes
    if not header.placed:
        notes += ("the file's header contains no orientation: its slices are assumed to be axial, from the feet up",)
    stack = VoxelStack(shape)
    surplus: List[str] = []
    encoding = "gzip-file" if header.compressed else "raw"
    scaled = header.slope not in (0.0, 1.0) or (header.slope == 1.0 and header.intercept != 0.0)
    with open_voxels(name, path, encoding, header.offset) as stream:
        for index, values in enumerate(read_slices(name, stream, shape, dtype, progress, surplus)):
            stack.put(index, values * np.float64(header.slope) + header.intercept if scaled else values)
    return Source(stack, *grid, notes + tuple(surplus), _placement(header, grid))


def _grid(name: str, path: Path, header: _Header, shape: Tuple[int, int, int]) -> Tuple[itk.Grid, Tuple[str, ...]]:
    """Spacing, origin and direction as in ITK, corrected where ITK deviates from the standard; and notes."""
    sform = header.transforms.sform
    if header.transforms.qform is None and sform is not None and not np.linalg.norm(sform[:, :3], axis=0).all():
        raise ImageError(f"{name}: the axes of its sform are linearly dependent; correct the file's header")
    if lacks_spacing(header.transforms, header.pixdim[1:4]):
        found = grid_of_sform(header.transforms, shape)
        if found is None:
            raise ImageError(f"{name}: the axes of its sform are not perpendicular; resample the scan first")
        return found
    try:
        grid = itk.grid_of(itk.read_header(name, path, "NiftiImageIO"))
    except ImageError as error:
        nearest = None if sform is None or not is_skewed(sform) else nearest_grid(sform, shape)
        if nearest is not None:
            return nearest
        if is_skewed(sform):
            raise ImageError(f"{name}: the axes of its sform are not perpendicular; resample the scan first") from error
        raise
    # Programs disagree on whether the unit of pixdim also applies to the sform.
    return spacing_of_sform(header.transforms, shape, grid, trusted=header.unit in (0, _MILLIMETRES))


def _placement(header: _Header, grid: itk.Grid) -> bytes:
    """The header fields that define the grid, for a result in the same format; empty if they cannot be reused.

    These are pixdim (if its spacing agrees with the grid), the codes, the quaternion, and the sform.
    """
    matrix = np.asarray(grid[2]).reshape(3, 3)
    sform = header.transforms.sform
    if not header.placed or header.unit not in (0, _MILLIMETRES) or np.abs(matrix.T @ matrix - np.eye(3)).max() > 9e-5:
        return b""
    if sform is not None and is_skewed(sform):
        return b""
    codes, numbers = header.placing
    return struct.pack("<4f2h18f", header.pixdim[0], *grid[0], *codes, *numbers)


def _read_header(name: str, path: Path) -> _Header:
    with open(path, "rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    opener: Any = gzip.open if compressed else open
    try:
        with opener(path, "rb") as file:
            data = file.read(_HEADER_SIZE)
    except (EOFError, OSError, zlib.error) as error:
        raise damaged(name) from error
    if len(data) < _HEADER_SIZE:
        raise damaged(name)
    order = next((o for o in "<>" if struct.unpack_from(o + "i", data)[0] == _HEADER_SIZE), "")
    if not order:
        if any(struct.unpack_from(o + "i", data)[0] == 540 for o in "<>"):
            raise ImageError(f"{name} is a NIfTI-2 file, which is not supported; save it as NIfTI-1")
        raise ImageError(f"{name} is not a NIfTI file, despite its name; check where it comes from")
    if data[344:348] != b"n+1\0":
        raise ImageError(f"{name} contains a NIfTI header without voxels; save header and voxels in one .nii.gz file")
    dim = struct.unpack_from(order + "8h", data, 40)
    if not 1 <= dim[0] <= 7:
        raise damaged(name)
    check_rotation(name, data, order)
    slope, intercept = struct.unpack_from(order + "2f", data, 112)
    if not np.isfinite((slope, intercept)).all():
        slope, intercept = 0.0, 0.0
    offset = struct.unpack_from(order + "f", data, 108)[0]
    return _Header(
        order=order,
        dim=dim,
        datatype=struct.unpack_from(order + "h", data, 70)[0],
        pixdim=struct.unpack_from(order + "8f", data, 76),
        offset=int(offset) if _DATA_OFFSET <= offset < 1e9 else _DATA_OFFSET,
        slope=slope,
        intercept=intercept,
        transforms=read_transforms(data, order),
        placed=any(struct.unpack_from(order + "2h", data, 252)),
        unit=data[123] & 7,
        placing=(struct.unpack_from(order + "2h", data, 252), struct.unpack_from(order + "18f", data, 256)),
        compressed=compressed,
    )


def nifti_header(
    name: str,
    shape: Sequence[int],
    dtype: np.dtype,
    spacing: Sequence[float],
    origin: Sequence[float],
    direction: Sequence[float],
    placement: bytes = b"",
) -> bytes:
    """The 352 bytes before the voxels of a NIfTI-1 file.

    ITK reads a grid from a NIfTI file in mm back bit for bit; one with more digits than float32 can
    store is rounded to float32.

    Args:
        name: the file's name for messages.
        shape: (z, y, x).
        dtype: uint8, int16 or float32.
        spacing: (x, y, z) in mm.
        origin: (x, y, z) in mm, LPS.
        direction: nine direction cosines, row by row, LPS.
        placement: the header fields that define the grid, byte for byte from the scan's own file, if it is NIfTI.

    Raises:
        ImageError: the format does not support the size, or axes that are not perpendicular.
    """
    if max(shape) > 32767:
        raise ImageError(f"{name}: NIfTI allows at most 32767 voxels along an axis; write .nrrd or .mha instead")
    matrix = np.asarray(direction, np.float64).reshape(3, 3)
    # ITK refuses an sform that is further than 1e-4 from perpendicular.
    if np.abs(matrix.T @ matrix - np.eye(3)).max() > 9e-5:
        raise ImageError(f"{name}: NIfTI does not support axes that are not perpendicular; write .nrrd or .mha instead")
    columns = [_sform_column(matrix[:, axis], float(spacing[axis])) for axis in range(3)]
    sform = np.zeros((3, 4), np.float32)
    sform[:, :3] = np.stack(columns, axis=1)
    sform[:, 3] = np.float32(np.asarray(origin, np.float64))
    sform[:2] *= np.float32(-1)  # LPS to NIfTI's RAS
    turn, handedness = _quaternion(matrix)
    depth, height, width = shape
    code = _CODES[dtype]
    header = bytearray(_DATA_OFFSET)
    struct.pack_into("<i", header, 0, _HEADER_SIZE)
    header[38:39] = b"r"
    struct.pack_into("<8h", header, 40, 3, width, height, depth, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, code, dtype.itemsize * 8)
    struct.pack_into("<8f", header, 76, handedness, *spacing, 0.0, 0.0, 0.0, 0.0)
    struct.pack_into("<3f", header, 108, _DATA_OFFSET, 1.0, 0.0)
    header[123] = _MILLIMETRES
    struct.pack_into("<2h", header, 252, 1, 1)
    struct.pack_into("<6f", header, 256, *turn, *(float(value) for value in sform[:, 3]))
    struct.pack_into("<12f", header, 280, *(float(value) for value in sform.ravel()))
    if placement:
        header[76:92], header[252:328] = placement[:16], placement[16:]
    header[344:348] = b"n+1\0"
    return bytes(header)


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Normalises (n, 3) to unit length with the same order of operations as ITK's reader."""
    x, y, z = vectors.T
    return vectors / np.sqrt(x * x + y * y + z * z)[:, None]


def _sform_column(direction: np.ndarray, step: float, reach: int = 20000) -> np.ndarray:
    """(3,) float32, about `step` times `direction`, that normalise to exactly `direction`.

    A direction from a NIfTI file is a float32 vector divided by its length.  That length agrees
    with the spacing to 1e-3 at worst, so the few thousand float32 numbers around the largest
    component include the original one; it gives the length, and the length the other components.
    """
    plain = np.float32(direction * step)
    if np.array_equal(_unit(plain[None].astype(np.float64))[0], direction):
        return plain
    largest = int(np.argmax(np.abs(direction)))
    around = plain[largest : largest + 1].view(np.int32) + np.arange(-reach, reach + 1, dtype=np.int32)
    lengths = around.view(np.float32).astype(np.float64) / direction[largest]
    candidates = np.float32(lengths[:, None] * direction)
    exact = np.flatnonzero((_unit(candidates.astype(np.float64)) == direction).all(axis=1))
    if not exact.size:
        return plain
    best: int = exact[np.argmin(np.abs(lengths[exact] - step))]
    return candidates[best]


def _quaternion(matrix: np.ndarray) -> Tuple[List[float], float]:
    """NIfTI's (b, c, d) and the handedness (1 or -1) of an LPS direction matrix."""
    rotation = np.diag([-1.0, -1.0, 1.0]) @ matrix
    handedness = 1.0 if np.linalg.det(rotation) > 0 else -1.0
    rotation[:, 2] *= handedness
    # The eigenvector of the largest eigenvalue of this matrix is the quaternion of the nearest
    # rotation, without the case distinctions of the usual formulas.
    m: Any = rotation
    system = np.array(
        [
            [m[0, 0] + m[1, 1] + m[2, 2], 0.0, 0.0, 0.0],
            [m[2, 1] - m[1, 2], m[0, 0] - m[1, 1] - m[2, 2], 0.0, 0.0],
            [m[0, 2] - m[2, 0], m[1, 0] + m[0, 1], m[1, 1] - m[0, 0] - m[2, 2], 0.0],
            [m[1, 0] - m[0, 1], m[2, 0] + m[0, 2], m[2, 1] + m[1, 2], m[2, 2] - m[0, 0] - m[1, 1]],
        ]
    )
    quaternion: Optional[np.ndarray] = np.linalg.eigh(system)[1][:, -1]
    assert quaternion is not None
    if quaternion[0] < 0:
        quaternion = -quaternion
    return [float(part) for part in quaternion[1:]], handedness
