"""One checked scan with its label, from which patches are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Optional, Tuple

import numpy as np
from lvnet.errors import GeometryError, ImageError
from lvnet.orientation import to_canonical
from lvnet.volume import Volume

from .labels import to_classes

#: (z, y, x) mm.
Grid = Tuple[float, float, float]
#: HU outside this range are clipped in the cache: no useful window is wider.
CACHE_RANGE = (-1024, 1024)
#: In labels with fractions: a voxel that belongs completely to the class.
FULL_SHARE = 255
#: A scan whose values have a smaller range was normalised or is not a CT.
LEAST_HU_RANGE = 100


@dataclass(frozen=True, eq=False)
class Case:
    """A scan and its label in canonical orientation, (z, y, x), memory-mapped from the cache.

    Attributes:
        image: int16 HU.
        label: uint8 class values, (z, y, x); or, if `shares` is True, the fraction of each class except background,
            in 255ths, (classes - 1, z, y, x).
        spacing: (z, y, x) mm.
        box: first and last voxel of the organ along (z, y, x); None if there is none.
        classes: number of classes including background.
        shares: whether `label` contains fractions, see :mod:`.gridding`.
    """

    name: str
    image: np.ndarray
    label: np.ndarray
    spacing: Tuple[float, float, float]
    box: Optional[Tuple[Tuple[int, ...], Tuple[int, ...]]]
    classes: int = 2
    shares: bool = False

    def share(self, value: int, region: Tuple[slice, ...]) -> np.ndarray:
        """(z, y, x) float32 in a region: the fraction of each voxel that belongs to this class, 0 to 1."""
        if self.shares:
            return self.label[value - 1][region].astype(np.float32) / np.float32(FULL_SHARE)
        return (self.label[region] == value).astype(np.float32)


def make_case(
    name: str, scan: Volume, label: Volume, classes: int = 2, labels: Optional[Mapping[int, int]] = None
) -> Case:
    """Checks a scan with its label and reorients both to canonical orientation.

    Args:
        classes: number of classes including background.
        labels: class by value of the label; None if the values are the classes.

    Raises:
        GeometryError: the grids differ.
        ImageError: the label contains unknown values, or the scan cannot be a CT in HU.
    """
    if not scan.same_grid(label):
        raise GeometryError(f"{name}: scan and label have different grids; resample the label to the scan's grid")
    mapping = {value: value for value in range(classes)} if labels is None else labels
    moved, orientation = to_canonical(scan)
    values = np.ascontiguousarray(to_classes(name, orientation.apply(label.array), mapping))
    low, high = float(moved.array.min()), float(moved.array.max())
    if not np.isfinite(low + high) or high - low < LEAST_HU_RANGE:
        raise ImageError(f"{name}: the scan's values range from {low:g} to {high:g}, which cannot be a CT in HU")
    image = np.clip(moved.array, *CACHE_RANGE).astype(np.int16)
    return Case(name, np.ascontiguousarray(image), values, moved.spacing, box_of(values), classes)


def box_of(values: np.ndarray) -> Optional[Tuple[Tuple[int, ...], Tuple[int, ...]]]:
    """First and last non-zero voxel along each axis; None if all are zero."""
    touched = [np.flatnonzero(values.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    if any(len(t) == 0 for t in touched):
        return None
    return tuple(int(t[0]) for t in touched), tuple(int(t[-1]) for t in touched)
