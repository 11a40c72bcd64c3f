"""Resampling along one axis as a matrix, so that a volume is resampled by matrix products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

import numpy as np


@dataclass(frozen=True)
class Axis:
    """One axis of a grid and of the grid that it is resampled to; both have the same centre.

    Attributes:
        size: voxels of the scan.
        new_size: voxels of the network's grid.
        ratio: new voxel size divided by the old one; None aligns the ends of both grids.
    """

    size: int
    new_size: int
    ratio: float = 0.0

    def __post_init__(self) -> None:
        if self.ratio <= 0:
            object.__setattr__(self, "ratio", self.size / self.new_size)

    @classmethod
    def keeping(cls, size: int) -> Axis:
        """An axis that is not resampled."""
        return cls(size, size, 1.0)

    @classmethod
    def of_spacing(cls, size: int, spacing: float, new_spacing: float) -> Axis:
        """An axis that is resampled from `spacing` to `new_spacing` mm."""
        # The tolerance avoids an extra voxel beyond the scan's end because of rounding errors.
        return cls(size, max(1, int(np.ceil(size * spacing / new_spacing - 1e-3))), new_spacing / spacing)

    def forward(self) -> np.ndarray:
        """(new_size, size) float32: a triangle filter as wide as the larger of the two voxels.

        Rows sum to one; beyond the ends the last voxel is repeated.
        """
        if self.size == self.new_size and abs(self.ratio - 1) < 1e-9:
            return np.eye(self.size, dtype=np.float32)
        centres = (np.arange(self.new_size) - (self.new_size - 1) / 2) * self.ratio + (self.size - 1) / 2
        centres = np.clip(centres, 0, self.size - 1)
        distance = np.abs(centres[:, None] - np.arange(self.size)[None, :])
        weights = np.maximum(0.0, 1.0 - distance / max(1.0, self.ratio))
        return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)

    def backward_neighbours(self) -> Tuple[np.ndarray, np.ndarray]:
        """For each old voxel, the index of the new voxel before it and the weight of the next one."""
        places = (np.arange(self.size) - (self.size - 1) / 2) / self.ratio + (self.new_size - 1) / 2
        places = np.clip(places, 0, self.new_size - 1)
        lower = np.minimum(places.astype(np.int64), max(0, self.new_size - 2))
        return lower, (places - lower)

    def backward(self) -> np.ndarray:
        """(size, new_size) float32: linear interpolation back to the scan's voxels."""
        lower, share = self.backward_neighbours()
        weights = np.zeros((self.size, self.new_size), np.float32)
        rows = np.arange(self.size)
        weights[rows, lower] = 1 - share
        if self.new_size > 1:
            weights[rows, lower + 1] += share
        return weights
