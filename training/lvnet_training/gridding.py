"""Resampling scans once to a grid close to the network's, so that drawing a patch is fast.

Drawing a patch with 2.5 mm voxels directly from a scan with 0.7 mm voxels takes longer than the training step itself.
A resampled case has voxels that are hardly finer than the network's, and its label contains the fraction of each voxel
that belongs to the organ, which preserves the sub-voxel position of borders.
"""

from __future__ import annotations

from dataclasses import replace
from typing import List, Optional

import numpy as np
from lvnet.resampling import Axis

from .case import FULL_SHARE, Case, Grid, box_of


def on_grid(case: Case, grid: Grid) -> Case:
    """A case with voxels no finer than a grid's; axes that are already coarser are unchanged.

    Args:
        case: with class values as label.
        grid: (z, y, x) mm.

    Returns:
        The case with int16 HU and, as label, uint8 fractions of each class, (classes - 1, z, y, x), in 255ths.
    """
    axes = [
        Axis.of_spacing(size, own, max(own, wanted)) if wanted > own else Axis.keeping(size)
        for size, own, wanted in zip(case.image.shape, case.spacing, grid)
    ]
    spacing = tuple(own * axis.ratio for own, axis in zip(case.spacing, axes))
    image = np.rint(_resampled(np.asarray(case.image), axes)).astype(np.int16)
    shares = np.stack([
        np.rint(FULL_SHARE * _resampled(np.asarray(case.label) == value, axes)).astype(np.uint8)
        for value in range(1, case.classes)
    ])  # fmt: skip
    box = box_of(shares.max(axis=0) > FULL_SHARE // 2)
    return replace(case, image=image, label=shares, spacing=(spacing[0], spacing[1], spacing[2]), box=box, shares=True)


def gridded(case: Case, grid: Optional[Grid]) -> Case:
    """The case on a grid, or unchanged if there is none."""
    return case if grid is None else on_grid(case, grid)


def _resampled(array: np.ndarray, axes: List[Axis]) -> np.ndarray:
    """Means over the new voxels, float32; a few slices at a time."""
    to_z, to_y, to_x = axes[0].forward(), axes[1].forward(), np.ascontiguousarray(axes[2].forward().T)
    out = np.zeros((axes[0].new_size, axes[1].new_size, axes[2].new_size), np.float32)
    for z, plane in enumerate(array):
        rows = np.flatnonzero(to_z[:, z])
        moved = np.matmul(to_y, np.matmul(plane.astype(np.float32), to_x))
        for row in rows:
            out[row] += to_z[row, z] * moved
    return out
