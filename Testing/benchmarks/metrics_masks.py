"""Pairs of masks for the benchmark of the metrics: a liver, and a prediction similar to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

import numpy as np
from lvnet.phantom import make_phantom
from scipy import ndimage

#: Spacing in mm of the grid on which a shape is drawn before it is resampled to a case's own grid.
_STEP = 3.0


@dataclass(frozen=True)
class Case:
    """One pair of masks.

    Attributes:
        name: name in the table.
        size: (z, y, x) voxels.
        spacing: (z, y, x) mm.
        liver_ml: volume of the reference.
        islands: whether the prediction also has components far from the liver.
    """

    name: str
    size: Tuple[int, int, int]
    spacing: Tuple[float, float, float]
    liver_ml: float = 1500.0
    islands: bool = False


A = Case("A", (300, 512, 512), (1.5, 0.8, 0.8))
B = Case("B", (800, 512, 512), (0.8, 0.8, 0.8))
CASES = {
    "A": A,
    "B": B,
    "A-islands": Case("A-islands", A.size, A.spacing, islands=True),
    "B-islands": Case("B-islands", B.size, B.spacing, islands=True),
    # Small enough for a test.
    "quick": Case("quick", (60, 128, 128), (5.0, 3.0, 3.0), islands=True),
}

#: Positions of the islands as fractions of the image (z, y, x), and their radius in mm.
_ISLANDS = (
    ((0.08, 0.20, 0.15), 6.0),
    ((0.10, 0.75, 0.85), 14.0),
    ((0.92, 0.30, 0.80), 22.0),
    ((0.90, 0.85, 0.20), 4.0),
    ((0.50, 0.50, 0.90), 26.0),
)


def make_pair(case: Case, dice: float = 0.956) -> Tuple[np.ndarray, np.ndarray]:
    """Prediction and reference, (z, y, x) bool; the same case always gives the same masks.

    Args:
        case: the case to make.
        dice: DICE of the two without islands, to about 0.001.
    """
    shape = _liver()
    noise = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=shape.shape), 8.0 / _STEP)
    noise /= noise.std()
    # Find the level that gives the volume, then the roughness that gives the overlap.
    level = _bisect(lambda v: _volume_ml(shape, v) > case.liver_ml, -40.0, 40.0)
    inside = shape < level
    rough = _bisect(lambda v: _dice(shape + v * noise < level, inside) < dice, 0.0, 20.0)
    reference = _on_grid(shape - level, case)
    prediction = _on_grid(shape + rough * noise - level, case)
    if case.islands:
        for place, radius in _ISLANDS:
            _add_ball(prediction, case, place, radius)
    return prediction, reference


def _liver() -> np.ndarray:
    """(z, y, x) signed distance in mm, negative inside, from a phantom's liver, on a grid of 3 mm."""
    _, label = make_phantom(3, size=(90, 130, 130), spacing=(_STEP,) * 3)
    mask = np.pad(label.array > 0, 16)
    outside, inside = ndimage.distance_transform_edt(~mask), ndimage.distance_transform_edt(mask)
    return ndimage.gaussian_filter((outside - inside) * _STEP, 1.0)


def _on_grid(distance: np.ndarray, case: Case) -> np.ndarray:
    """The shape resampled to the case's grid, centred on the liver, a few slices at a time."""
    centre = np.array(ndimage.center_of_mass(distance < 0))
    mask = np.zeros(case.size, bool)
    axes = [
        (np.arange(n) - (n - 1) / 2) * step / _STEP + middle for n, step, middle in zip(case.size, case.spacing, centre)
    ]
    # The area outside the drawn shape is background.
    ranges = [np.flatnonzero((axis >= 0) & (axis < n)) for axis, n in zip(axes, distance.shape)]
    columns = slice(ranges[1][0], ranges[1][-1] + 1), slice(ranges[2][0], ranges[2][-1] + 1)
    for z in ranges[0]:
        points = np.meshgrid(axes[0][z : z + 1], axes[1][columns[0]], axes[2][columns[1]], indexing="ij")
        mask[(slice(z, z + 1), *columns)] = ndimage.map_coordinates(distance, points, order=1) < 0
    return mask


def _add_ball(mask: np.ndarray, case: Case, place: Tuple[float, float, float], radius: float) -> None:
    centre = [int(share * n) for share, n in zip(place, case.size)]
    reach = [int(radius // step) for step in case.spacing]
    axes = [np.arange(-n, n + 1) * step for n, step in zip(reach, case.spacing)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    box = tuple(slice(c - n, c + n + 1) for c, n in zip(centre, reach))
    mask[box] |= z * z + y * y + x * x <= radius * radius


def _volume_ml(shape: np.ndarray, level: float) -> float:
    return float(np.count_nonzero(shape < level)) * _STEP**3 / 1000.0


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


def _bisect(too_high, low: float, high: float) -> float:
    for _ in range(30):
        middle = (low + high) / 2
        if too_high(middle):
            high = middle
        else:
            low = middle
    return (low + high) / 2
