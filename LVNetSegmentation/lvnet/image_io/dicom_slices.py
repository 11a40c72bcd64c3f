"""A DICOM slice, and tests on the positions of several slices."""

from __future__ import annotations

from typing import List, NamedTuple, Sequence

import numpy as np

from .dicom_header import DicomHeader, FrameFields

#: Distance in mm up to which two slices are at the same position.
SAME_PLACE_MM = 0.01
#: Tolerance for positions on a regular grid, as a fraction of the step.
JITTER = 0.1
# Fraction of positions that may be missing from a regular stack.
_MISSING = 0.25

Part = np.ndarray  # of indices


class Slice(NamedTuple):
    """One slice: a file, or one frame of it."""

    header: DicomHeader
    frame: int
    fields: FrameFields


def heights_of(slices: Sequence[Slice]) -> np.ndarray:
    """(n,) position in mm of each slice along the normal of the first."""
    row, column = np.asarray(slices[0].fields.orientation).reshape(2, 3)
    normal = np.cross(row, column)
    return np.array([s.fields.position for s in slices]) @ (normal / np.linalg.norm(normal))


def is_stack(heights: np.ndarray) -> bool:
    """Whether at least three heights form a regular grid without duplicates and with few gaps."""
    if len(heights) < 3:
        return False
    ordered = np.sort(heights)
    step = float(np.median(np.diff(ordered)))
    if step <= SAME_PLACE_MM:
        return False
    places = np.rint((ordered - ordered[0]) / step)
    if len(np.unique(places)) < len(places):
        return False
    # The median distance is subject to rounding; over many slices the total length is more precise.
    step = float(ordered[-1] - ordered[0]) / float(places[-1])
    off = np.abs((ordered - ordered[0]) / step - places).max()
    return bool(off <= JITTER and len(places) >= (1 - _MISSING) * (places[-1] + 1))


def extent(heights: np.ndarray) -> float:
    return float(heights.max() - heights.min())


def overlap(groups: Sequence[Part], heights: np.ndarray) -> bool:
    """Whether any two groups overlap along the normal."""
    spans = sorted((float(heights[group].min()), float(heights[group].max())) for group in groups)
    top = -np.inf
    for low, high in spans:
        if low <= top + SAME_PLACE_MM:
            return True
        top = max(top, high)
    return False


def stitched(groups: List[Part], heights: np.ndarray) -> List[Part]:
    """Joins consecutive groups that continue one grid."""
    groups.sort(key=lambda group: float(heights[group].min()))
    result = [groups[0]]
    last = groups[0]
    for group in groups[1:]:
        if _goes_on(heights[last], heights[group]):
            result[-1] = np.concatenate([result[-1], group])
        else:
            result.append(group)
        last = group
    return result


def _goes_on(below: np.ndarray, above: np.ndarray) -> bool:
    """Whether the next stack of slices continues this one; rotations of one or two slices have no grid of their own."""
    steps = [float(np.median(np.diff(np.sort(part)))) for part in (below, above) if len(part) >= 3]
    gap = float(above.min() - below.max())
    if not steps:
        return True
    if max(steps) > (1 + JITTER) * min(steps):
        return False
    step = float(np.mean(steps))
    # One slice may be missing between two stacks, but not between a stack and a single image.
    times = (1, 2) if len(steps) == 2 else (1,)
    return any(abs(gap - count * step) <= 1.5 * JITTER * step for count in times)
