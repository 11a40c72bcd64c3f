"""The voxel grid of a phantom: size, spacing, coverage of the patient, orientation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional, Sequence, Tuple

import numpy as np

from ..errors import ConfigurationError
from .liver import Liver
from .shapes import rotation
from .torso import Torso

#: Fewest voxels along an axis that still show any anatomy.
MIN_SIZE = 8
_MIN_SLICES, _MAX_SLICES = 60, 120
_FLIPS = ((), (0, 1), (1, 2), (2,), (0,))


@dataclass(frozen=True)
class Grid:
    """The geometry of one phantom.

    Attributes:
        shape, spacing: (z, y, x), spacing in mm.
        centre: (x, y, z) of the grid's middle in patient coordinates (mm, LPS).
        turn: (3, 3) direction cosines before any flip, columns x, y, z.
        flips: index axes (0 = x, 1 = y, 2 = z) along which the stored array is reversed.
        table: (x, y, z) shift from patient to scanner coordinates, for the header's origin.
    """

    shape: Tuple[int, int, int]
    spacing: Tuple[float, float, float]
    centre: np.ndarray
    turn: np.ndarray
    flips: Tuple[int, ...]
    table: np.ndarray

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        torso: Torso,
        liver: Liver,
        size: Optional[Tuple[int, int, int]],
        spacing: Optional[Tuple[float, float, float]],
    ) -> Grid:
        """A random grid around the liver; `size` and `spacing` override the random values.

        With `size` alone the field of view stays that of the seed and the voxel size follows; with
        `spacing` alone the number of voxels follows. With both, the field of view may be smaller
        than the body, and is then moved towards the liver.
        """
        bottom, top = float(liver.low[2]), min(float(liver.high[2]), torso.dome_top)
        below, above = rng.uniform(60.0, 210.0), rng.uniform(15.0, 80.0)
        cut, share = rng.random(), rng.uniform(0.12, 0.4)
        if cut < 1 / 12:
            above = -share * (top - bottom)
        elif cut < 1 / 6:
            below = -share * (top - bottom)
        low, high = bottom - below, top + above
        # At least 60 slices of 3.5 mm, by extending the scan at the end that is not cut.
        missing = max(0.0, 210.0 - (high - low))
        low, high = (low, high + missing) if below < 0 else (low - missing, high)
        width, depth = 2.0 * torso.body_half_width, torso.body_back - torso.body_front
        view = max(width, depth + 40.0) * rng.uniform(1.03, 1.2)
        view = min(max(view, 290.0), 510.0)
        pixel, step = rng.uniform(1.5, 2.0), rng.uniform(2.5, 5.0)
        offset = rng.uniform(-8.0, 8.0, 2)
        turn = rotation(*rng.uniform(-6.0, 6.0, 3)) if rng.random() < 0.2 else np.eye(3)
        flips = _FLIPS[int(rng.choice(len(_FLIPS), p=(0.62, 0.16, 0.08, 0.08, 0.06)))]
        table = np.array([rng.uniform(-15.0, 15.0), rng.uniform(-180.0, 20.0), rng.uniform(-1200.0, 300.0)])
        columns = int(np.clip(round(view / pixel), 192, 256))
        slices = int(np.clip(round((high - low) / step), _MIN_SLICES, _MAX_SLICES))

        if size is None and spacing is None:
            size = (slices, columns, columns)
        if size is None and spacing is not None:
            size = (_fitting(high - low, spacing[0]), _fitting(view, spacing[1]), _fitting(view, spacing[2]))
        assert size is not None
        if spacing is None:
            spacing = ((high - low) / size[0], view / size[1], view / size[2])
            spacing = (round(spacing[0], 4), round(spacing[1], 4), round(spacing[2], 4))
        middle = np.array([offset[0], 0.5 * (torso.body_front + torso.body_back) + 8.0 + offset[1], 0.5 * (low + high)])
        field = np.array([n * s for n, s in zip(size, spacing)])[::-1]
        room = np.maximum(0.5 * (np.array([width, depth, high - low]) - field), 0.0)
        centre = middle + np.clip(0.5 * (liver.low + liver.high) - middle, -room, room)
        return cls(size, spacing, centre, turn, flips, table)

    def axes(self) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(z, y, x) coordinates in mm along the grid's own axes, 0 in the middle."""
        z, y, x = ((np.arange(n) - 0.5 * (n - 1)) * s for n, s in zip(self.shape, self.spacing))
        return z, y, x

    def header(self) -> Tuple[Tuple[float, float, float], Tuple[float, ...]]:
        """(origin, direction) of the stored array, flips included."""
        steps = self.turn * np.asarray(self.spacing[::-1])
        last = np.asarray(self.shape[::-1]) - 1.0
        origin = self.centre + self.table - steps @ (0.5 * last)
        direction = self.turn.copy()
        for axis in self.flips:
            origin = origin + steps[:, axis] * last[axis]
            direction[:, axis] *= -1.0
        return (
            (float(origin[0]), float(origin[1]), float(origin[2])),
            tuple(float(value) + 0.0 for value in direction.ravel()),
        )

    def stored(self, array: np.ndarray) -> np.ndarray:
        """The array in storage order: flipped, contiguous."""
        return np.ascontiguousarray(np.flip(array, tuple(2 - axis for axis in self.flips)))


def checked_size(size: Optional[Sequence[int]]) -> Optional[Tuple[int, int, int]]:
    """`size` as three integers.

    Raises:
        ConfigurationError: not three integers of at least :data:`MIN_SIZE`.
    """
    if size is None:
        return None
    try:
        numbers = [int(n) for n in size]
        exact = len(numbers) == 3 and all(float(n) == float(given) for n, given in zip(numbers, size))
    except (TypeError, ValueError, OverflowError):
        numbers, exact = [], False
    if not exact or min(numbers) < MIN_SIZE:
        raise ConfigurationError(
            f"the size of a phantom cannot be {size!r}: give three integers (slices, rows, columns),"
            f" each at least {MIN_SIZE}"
        )
    return numbers[0], numbers[1], numbers[2]


def checked_spacing(spacing: Optional[Sequence[float]]) -> Optional[Tuple[float, float, float]]:
    """`spacing` as three positive numbers.

    Raises:
        ConfigurationError: not three finite numbers above 0.
    """
    if spacing is None:
        return None
    try:
        numbers = [float(s) for s in spacing]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != 3 or not all(math.isfinite(s) and s > 0 for s in numbers):
        raise ConfigurationError(
            f"the spacing of a phantom cannot be {spacing!r}: give three positive numbers (z, y, x) in mm"
        )
    return numbers[0], numbers[1], numbers[2]


def _fitting(length: float, step: float) -> int:
    return max(MIN_SIZE, round(length / step))
