"""Reorienting a scan to the orientation that the network was trained on, and its result back.

The network sees every scan with index axes that run to the patient's left, posterior and superior
(LPS), whatever its direction matrix.  This is done by permuting and flipping axes, never by
interpolation: a direction matrix that is rotated by up to 45 degrees changes no voxel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import permutations
from typing import Sequence, Tuple

import numpy as np

from .errors import GeometryError
from .volume import Volume


@dataclass(frozen=True)
class Orientation:
    """The permutation and flips from array axes (z, y, x) to canonical axes.

    Attributes:
        axes: for each canonical array axis (z, y, x), the array axis of the scan it is taken from.
        flips: for each canonical array axis, whether it runs against the scan's.
    """

    axes: Tuple[int, int, int]
    flips: Tuple[bool, bool, bool]

    def apply(self, array: np.ndarray) -> np.ndarray:
        """A view of the scan's array in canonical axes (z, y, x); nothing is copied."""
        return array.transpose(self.axes)[self._slices]

    def undo(self, array: np.ndarray) -> np.ndarray:
        """A view of a canonical array in the scan's own axis order; nothing is copied."""
        back = tuple(int(i) for i in np.argsort(self.axes))
        return array[self._slices].transpose(back)

    def undo_box(self, box: Sequence[slice], shape: Sequence[int]) -> Tuple[slice, slice, slice]:
        """The box in the scan's own axis order that a box of the canonical array is.

        Args:
            box: three slices (z, y, x) with start and stop.
            shape: (z, y, x) of the canonical array.
        """
        turned = [
            slice(size - side.stop, size - side.start) if flip else side
            for side, size, flip in zip(box, shape, self.flips)
        ]
        first, second, third = (turned[self.axes.index(axis)] for axis in range(3))
        return first, second, third

    @property
    def _slices(self) -> Tuple[slice, ...]:
        return tuple(slice(None, None, -1) if flip else slice(None) for flip in self.flips)


def orientation_of(volume: Volume) -> Orientation:
    """The permutation and flips that bring a volume closest to LPS axes.

    Raises:
        GeometryError: the direction matrix is singular or not finite.
    """
    matrix = volume.direction_matrix
    if not np.all(np.isfinite(matrix)) or abs(np.linalg.det(matrix)) < 1e-3:
        raise GeometryError("the direction matrix of the scan is singular; repair its header or export it again")
    # Column i of the matrix is the direction of index axis i; each of L, P and S gets one index axis.
    best = max(permutations(range(3)), key=lambda p: sum(abs(matrix[row, p[row]]) for row in range(3)))
    flips = [bool(matrix[row, best[row]] < 0) for row in range(3)]
    # The order of patient axes (x, y, z) and index axes (x, y, z) is reversed for arrays (z, y, x).
    axes = tuple(2 - best[row] for row in (2, 1, 0))
    return Orientation((axes[0], axes[1], axes[2]), (flips[2], flips[1], flips[0]))


def to_canonical(volume: Volume) -> Tuple[Volume, Orientation]:
    """The same scan with index axes closest to LPS; the voxels are a view of the original.

    Returns:
        The volume, with matching spacing, origin and direction, and the orientation for the way back.
    """
    orientation = orientation_of(volume)
    matrix, spacing = volume.direction_matrix, np.array(volume.spacing)
    origin = np.array(volume.origin, float)
    columns = []
    for axis, flip in zip(orientation.axes, orientation.flips):
        column = matrix[:, 2 - axis]
        if flip:
            origin = origin + column * spacing[axis] * (volume.array.shape[axis] - 1)
            column = -column
        columns.append(column)
    direction = np.stack(columns[::-1], axis=1)
    first, second, third = orientation.axes
    moved = replace(
        volume,
        array=orientation.apply(volume.array),
        spacing=(float(spacing[first]), float(spacing[second]), float(spacing[third])),
        origin=(float(origin[0]), float(origin[1]), float(origin[2])),
        direction=tuple(float(v) for v in direction.ravel()),
    )
    return moved, orientation
