"""Checks of a scan's size and geometry."""

from __future__ import annotations

import math
from typing import Sequence

import numpy as np

from ..errors import ImageError
from ..system import available_memory

# Range of spacings and origins in mm that is numerically safe; whether a scan can be one of a person is checked by
# `scanchecks.refuse_impossible`.
_FINEST, _COARSEST, _FARTHEST = 1e-20, 1e20, 1e9


def check_size(name: str, size: Sequence[int], components: int = 1) -> int:
    """Checks the (x, y, z, ...) size of an image that is to be read as a volume.

    Returns:
        The number of trailing axes of length 1 to drop.

    Raises:
        ImageError: it is empty, 2D, a series of volumes, or has several values per voxel.
    """
    if any(length < 1 for length in size):
        raise ImageError(f"{name} is empty: its size is {_times(size)} voxels; export the scan again")
    if components != 1:
        raise ImageError(f"{name} is a colour or vector image ({components} values per voxel); a CT has one")
    if len(size) < 3:
        raise ImageError(f"{name} is a {len(size)}D image ({_times(size)}); a 3D volume of slices is needed")
    if any(length > 1 for length in size[3:]):
        raise ImageError(f"{name} is a {len(size)}D image ({_times(size)}); save one of its volumes in a separate file")
    return len(size) - 3


def check_memory(name: str, shape: Sequence[int], itemsize: int) -> None:
    """Fails before a volume is read that does not fit into memory.

    Args:
        name: the file's name for messages.
        shape: number of voxels along each axis.
        itemsize: bytes of memory per voxel that reading takes.

    Raises:
        ImageError: more memory is needed than is available.
    """
    needed, free = math.prod(shape) * itemsize, available_memory()
    if free is not None and needed > free:
        raise ImageError(
            f"{name} has {_times(shape[::-1])} voxels, which need {needed / 1e9:.1f} GB of memory where"
            f" {free / 1e9:.1f} GB are free; close other programs, or crop the scan"
        )


def check_grid(
    name: str, spacing: Sequence[float], origin: Sequence[float], direction: Sequence[float], *, signed: bool = False
) -> None:
    """Checks the geometry of a volume.

    Args:
        name: the file's name for messages.
        spacing: three numbers in mm.
        origin: (x, y, z) in mm.
        direction: nine numbers, row by row.
        signed: whether the file format allows a negative spacing.

    Raises:
        ImageError: the spacing is zero, negative or not finite, or the axes are linearly dependent.
    """
    numbers = ", ".join(f"{value:g}" for value in spacing)
    if not all(np.isfinite(value) and (value > 0 or (signed and value < 0)) for value in spacing):
        raise ImageError(f"{name}: its voxel spacing ({numbers} mm) is not positive; correct the file's header")
    if not all(_FINEST <= abs(value) <= _COARSEST for value in spacing):
        raise ImageError(f"{name}: its voxel spacing ({numbers} mm) is out of range; correct the file's header")
    matrix = np.asarray(direction, np.float64).reshape(3, 3)
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-6:
        raise ImageError(f"{name}: the directions of its axes are linearly dependent; correct the file's header")
    if not (np.abs(np.asarray(origin, np.float64)) <= _FARTHEST).all():
        raise ImageError(f"{name}: its position in the patient is not a number; correct the file's header")


def _times(size: Sequence[int]) -> str:
    return " x ".join(str(length) for length in size)
