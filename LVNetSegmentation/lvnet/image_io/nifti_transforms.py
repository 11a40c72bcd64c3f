"""The two transforms of a NIfTI header, and whether they agree.

A header may contain a qform (a rotation) and an sform (any matrix).  ITK, and therefore 3D Slicer, chooses
one of them by its own rules; other programs use the other.  If they disagree, a result matches the scan in
some programs and is displaced in others, so the user is told.
"""

from __future__ import annotations

import struct
from typing import NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..errors import ImageError
from .itk import Grid

# Largest distance of two equal positions, as a fraction of the smallest voxel edge.
_SAME = 0.1
# Tolerance for the squared length of a quaternion above one.
_ROUNDING = 1e-3
_UNIT_MM = {1: 1000.0, 3: 0.001}


class Transforms(NamedTuple):
    """(3, 4) matrices from (x, y, z) indices to mm, LPS; None if the header has none."""

    qform: Optional[np.ndarray]
    sform: Optional[np.ndarray]


def read_transforms(data: bytes, order: str) -> Transforms:
    """The transforms of a NIfTI-1 header.

    Args:
        data: its 348 bytes.
        order: "<" or ">".
    """
    codes = struct.unpack_from(order + "2h", data, 252)
    pixdim = struct.unpack_from(order + "8f", data, 76)
    unit = _UNIT_MM.get(data[123] & 7, 1.0)
    qform = sform = None
    if codes[0] > 0:
        b, c, d, *origin = struct.unpack_from(order + "6f", data, 256)
        qform = np.column_stack([_rotation(b, c, d) * pixdim[1:4], origin])
        qform[:, 2] *= -1.0 if pixdim[0] < 0 else 1.0
    if codes[1] > 0:
        sform = np.asarray(struct.unpack_from(order + "12f", data, 280)).reshape(3, 4)
    to_lps = unit * np.array([[-1.0], [-1.0], [1.0]])
    return Transforms(None if qform is None else to_lps * qform, None if sform is None else to_lps * sform)


def check_transforms(name: str, transforms: Transforms) -> None:
    """Fails if a transform is invalid.

    Raises:
        ImageError: a transform contains a value that is not a number.
    """
    for matrix in transforms:
        if matrix is not None and not np.isfinite(matrix).all():
            raise ImageError(
                f"{name}: its orientation contains a value that is not a number; correct the file's header"
            )


def check_rotation(name: str, data: bytes, order: str) -> None:
    """Fails if the only transform of a header is a qform that is not a rotation.

    Args:
        name: the file's name for messages.
        data: the header's 348 bytes.
        order: "<" or ">".

    Raises:
        ImageError: the quaternion is longer than one beyond rounding errors.
    """
    codes = struct.unpack_from(order + "2h", data, 252)
    square = float(np.square(struct.unpack_from(order + "3f", data, 256)).sum())
    if codes[0] > 0 and codes[1] <= 0 and square > 1 + _ROUNDING:
        raise ImageError(f"{name}: its qform is not a rotation, and there is no sform; correct the file's header")


def lacks_spacing(transforms: Transforms, pixdim: Sequence[float]) -> bool:
    """Whether pixdim contains no spacing, so that only the sform gives it."""
    return transforms.qform is None and transforms.sform is not None and not all(0 < step < np.inf for step in pixdim)


def grid_of_sform(transforms: Transforms, shape: Tuple[int, int, int]) -> Optional[Tuple[Grid, Tuple[str, ...]]]:
    """The grid from an sform alone, and a note; None if its axes are linearly dependent."""
    sform = transforms.sform
    assert sform is not None
    found = nearest_grid(sform, shape)
    if found is None:
        return None
    note = "the voxel spacing in pixdim is not positive: that of the sform was used, other programs may not do so"
    return found[0], ((note, *found[1]) if is_skewed(sform) else (note,))


def is_skewed(matrix: Optional[np.ndarray]) -> bool:
    """Whether the axes of a transform are not perpendicular within ITK's tolerance."""
    if matrix is None:
        return False
    lengths = np.linalg.norm(matrix[:, :3], axis=0)
    if not lengths.all():
        return True
    axes = matrix[:, :3] / lengths
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() > 1e-4)


def nearest_grid(sform: np.ndarray, shape: Tuple[int, int, int]) -> Optional[Tuple[Grid, Tuple[str, ...]]]:
    """The perpendicular grid nearest to an sform, and a note; None if they differ too much.

    Args:
        sform: (3, 4) whose axes are not perpendicular.
        shape: (z, y, x) voxels.
    """
    lengths = np.linalg.norm(sform[:, :3], axis=0)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        return None
    left, _, right = np.linalg.svd(sform[:, :3] / lengths)
    axes = left @ right
    apart = _farthest(np.column_stack([axes * lengths, sform[:, 3]]), sform, shape)
    if apart > _SAME * lengths.min():
        return None
    note = (
        f"the axes of the file's sform are not exactly perpendicular: the nearest perpendicular axes were used, which"
        f" moves the scan's corners by at most {max(apart, 0.001):.2g} mm"
    )
    return (tuple(lengths.tolist()), tuple(sform[:, 3].tolist()), tuple(axes.ravel().tolist())), (note,)


def spacing_of_sform(
    transforms: Transforms, shape: Tuple[int, int, int], grid: Grid, *, trusted: bool = True
) -> Tuple[Grid, Tuple[str, ...]]:
    """ITK's grid, with the sform's own spacing if the sform was used, and notes about disagreements.

    ITK uses the directions of an sform with the spacing of pixdim, which by the standard belongs to the qform.

    Args:
        transforms: the header's transforms.
        shape: (z, y, x) voxels.
        grid: spacing (x, y, z), origin and direction from ITK.
        trusted: whether the sform's lengths are in mm.
    """
    qform, sform = transforms
    if sform is None:
        return grid, ()
    spacing, origin, direction = (np.asarray(part, np.float64) for part in grid)
    lengths = np.linalg.norm(sform[:, :3], axis=0)
    if not (lengths > 0).all():
        return grid, ()
    taken = np.column_stack([direction.reshape(3, 3) * spacing, origin])
    scaled = np.column_stack([sform[:, :3] / lengths * spacing, sform[:, 3]])
    is_sform = qform is None or _farthest(taken, scaled, shape) <= _farthest(taken, qform, shape)
    notes: Tuple[str, ...] = ()
    if (
        trusted
        and is_sform
        and _farthest(np.column_stack([direction.reshape(3, 3) * lengths, origin]), taken, shape)
        > _SAME * float(min(spacing.min(), lengths.min()))
    ):
        notes += (
            f"the file gives two voxel spacings: {_times(lengths)} mm in its sform, which was used, and"
            f" {_times(spacing)} mm in pixdim, which other programs may use",
        )
        grid = (tuple(lengths.tolist()), grid[1], grid[2])
    if qform is not None and not notes:
        apart = _farthest(qform, sform, shape)
        if apart > _SAME * float(spacing.min()):
            notes += (
                f"the file's sform and qform differ by up to {apart:.3g} mm: the"
                f" {'sform' if is_sform else 'qform'} was used, as in 3D Slicer; other programs may show scan and"
                " result at another position",
            )
    return grid, notes


def _times(numbers: np.ndarray) -> str:
    return " x ".join(f"{number:.4g}" for number in numbers)


def _farthest(one: np.ndarray, other: np.ndarray, shape: Tuple[int, int, int]) -> float:
    """The largest distance in mm between the positions of the scan's corners under two transforms."""
    corners = np.array([[x, y, z, 1] for x in (0, shape[2] - 1) for y in (0, shape[1] - 1) for z in (0, shape[0] - 1)])
    return float(np.linalg.norm((one - other) @ corners.T, axis=0).max())


def _rotation(b: float, c: float, d: float) -> np.ndarray:
    """(3, 3) rotation of NIfTI's quaternion, whose first component follows from unit length."""
    square = b * b + c * c + d * d
    if square > 1.0:
        b, c, d = (part / np.sqrt(square) for part in (b, c, d))
    a = np.sqrt(max(0.0, 1.0 - b * b - c * c - d * d))
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
