"""The boxes that masks lie in, so that what follows looks at nothing else."""

from __future__ import annotations

from typing import Optional, Tuple

import numpy as np

#: (z, y, x) slices.
Box = Tuple[slice, slice, slice]


def bounding_box(mask: np.ndarray) -> Optional[Box]:
    """The smallest box that holds every voxel that is not zero, or None if there is none.

    Args:
        mask: (z, y, x) bool or integer.
    """
    depth = mask.shape[0]
    first = next((z for z in range(depth) if mask[z].any()), None)
    if first is None:
        return None
    last = next(z for z in range(depth - 1, -1, -1) if mask[z].any())
    shadow = np.zeros(mask.shape[1:], bool)
    # A few planes at a time: reducing integers would otherwise make a bool copy of all of them.
    for start in range(first, last + 1, 16):
        shadow |= mask[start : min(start + 16, last + 1)].any(axis=0)
    rows, columns = np.flatnonzero(shadow.any(axis=1)), np.flatnonzero(shadow.any(axis=0))
    return slice(first, last + 1), slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def union(first: Optional[Box], second: Optional[Box]) -> Optional[Box]:
    """The smallest box around both; None counts as nothing."""
    if first is None or second is None:
        return first or second
    z, y, x = (slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(first, second))
    return z, y, x


def box_of_value(labels: np.ndarray, value: int) -> Optional[Box]:
    """The smallest box that holds every voxel of one value, or None if there is none; without a mask of all voxels.

    Args:
        labels: (z, y, x) label map.
        value: not 0.
    """
    found: Optional[Box] = None
    for z, plane in enumerate(labels):
        here = bounding_box((plane == value)[None])
        found = union(found, here and (slice(z, z + 1), here[1], here[2]))
    return found
