"""The paper's training data: consecutive slices of a scan, resized as in inference, without augmentation."""

from __future__ import annotations

from typing import Dict, Sequence, Tuple

import numpy as np
from lvnet.preprocessing import normalise
from lvnet.recipe import Preprocessing
from lvnet.resampling import Axis

from .case import Case

#: Cache of a scan's mean and standard deviation, by case, window and size: the paper normalises by the whole scan.
_statistics: Dict[Tuple, Tuple[float, float]] = {}


def draw_slab(
    rng: np.random.Generator, case: Case, patch: Sequence[int], settings: Preprocessing
) -> Tuple[np.ndarray, np.ndarray]:
    """Random consecutive slices of a case.

    Args:
        patch: (z, y, x) voxels: z whole slices, each resized to (y, x).

    Returns:
        Normalised voxels, float32, and labels, int64, both (z, y, x).  If slices are missing, the last one is repeated.
    """
    depth = len(case.image)
    start = int(rng.integers(0, max(1, depth - patch[0] + 1)))
    chosen = np.minimum(np.arange(start, start + patch[0]), depth - 1)
    image = _resize(np.clip(case.image[chosen], *settings.window).astype(np.float32), patch)
    if settings.mean is None:
        mean, std = scan_statistics(case, patch, settings)
        image = (image - np.float32(mean)) / np.float32(std)
    else:
        image = normalise(image, settings)
    labels = np.zeros(tuple(patch), np.int64)
    source = case.label[chosen]
    for value in range(1, case.classes):
        if (source == value).any():
            labels[_resize((source == value).astype(np.float32), patch) > 0.5] = value
    return image, labels


def scan_statistics(case: Case, patch: Sequence[int], settings: Preprocessing) -> Tuple[float, float]:
    """Mean and standard deviation in HU of the whole scan, windowed and resized."""
    key = (id(case), case.name, tuple(settings.window), tuple(patch[1:]))
    if key not in _statistics:
        total, squares, count = 0.0, 0.0, 0
        for start in range(0, len(case.image), 16):
            planes = np.clip(case.image[start : start + 16], *settings.window).astype(np.float32)
            planes = _resize(planes, patch).astype(np.float64)
            total, squares, count = total + planes.sum(), squares + (planes**2).sum(), count + planes.size
        mean = total / count
        std = float(np.sqrt(max(0.0, squares / count - mean**2)))
        _statistics[key] = (float(mean), std if std > 1e-6 else 1.0)
    return _statistics[key]


def _resize(planes: np.ndarray, patch: Sequence[int]) -> np.ndarray:
    """Resizes (n, h, w) to the patch's (n, y, x)."""
    to_y = Axis(planes.shape[1], patch[1]).forward()
    to_x = np.ascontiguousarray(Axis(planes.shape[2], patch[2]).forward().T)
    return np.matmul(to_y, np.matmul(planes, to_x))
