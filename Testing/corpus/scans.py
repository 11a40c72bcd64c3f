"""Small synthetic valid scans."""

from __future__ import annotations

from typing import Optional, Tuple

import numpy as np
from lvnet.volume import Volume

SHAPE = (12, 40, 48)
SPACING = (3.0, 2.0, 2.0)
ORIGIN = (-40.0, -30.0, 12.0)


def waves(shape: Tuple[int, int, int] = SHAPE) -> np.ndarray:
    """(z, y, x) int16 voxels for which a network with random weights predicts both organ and background."""
    y, x = np.mgrid[: shape[1], : shape[2]]
    plane = 200 * np.sin(x / 3.0) * np.cos(y / 4.0)
    return np.stack([plane + 20 * np.sin(z) for z in range(shape[0])]).astype(np.int16)


def scan(array: Optional[np.ndarray] = None, **place: object) -> Volume:
    """A volume with the default spacing and origin."""
    fields = {"spacing": SPACING, "origin": ORIGIN, **place}
    return Volume(waves() if array is None else array, **fields)  # type: ignore[arg-type]
