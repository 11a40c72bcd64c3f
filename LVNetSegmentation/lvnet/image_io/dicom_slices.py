"""A slice of DICOM, and what is asked of the heights of several."""

from __future__ import annotations

from typing import List, NamedTuple, Sequence

import numpy as np

from .dicom_header import DicomHeader, FrameFields

#: mm up to which two slices lie at one place, whatever their distance from others.
SAME_PLACE_MM = 0.01
#: Share of a step up to which a slice lies on a regular grid.
JITTER = 0.1
# Share of places on its grid that a stack of slices may lack and still be regular.
_MISSING = 0.25

Part = np.ndarray  # of indices


class Slice(NamedTuple):
    """One slice: a file, or one frame of it."""

    header: DicomHeader
    frame: int
    fields: FrameFields


def heights_of(slices: Sequence[Slice]) -> np.ndarray:
    """(n,) mm of each slice along the normal of the first."""
    row, column = np.asarray(slices[0].fields.orientation).reshape(2, 3)
    normal = np.cross(row, column)
    return np.array([s.fields.position for s in slices]) @ (normal / np.linalg.norm(normal))


def is_stack(heights: np.ndarray) -> bool:
    """Whether at least three heights lie on a regular grid, one a place, of which few are missing."""
    if len(heights) < 3:
        return False
    ordered = np.sort(heights)
    step = float(np.median(np.diff(ordered)))
    if step <= SAME_PLACE_MM:
        return False
    places = np.rint((ordered - ordered[0]) / step)
    if len(np.unique(places)) < len(places):
        return False
    # The median is known to a rounding; over many slices the whole length tells more.
    step = float(ordered[-1] - ordered[0]) / float(places[-1])
    off = np.abs((ordered - ordered[0]) / step - places).max()
    return bool(off <= JITTER and len(places) >= (1 - _MISSING) * (places[-1] + 1))


def extent(heights: np.ndarray) -> float:
    return float(heights.max() - heights.min())


def overlap(groups: Sequence[Part], heights: np.ndarray) -> bool:
    """Whether any two groups share a stretch of the normal."""
    spans = sorted((float(heights[group].min()), float(heights[group].max())) for group in groups)
    top = -np.inf
    for low, high in spans:
        if low <= top + SAME_PLACE_MM:
            return True
        top = max(top, high)
    return False


def stitched(groups: List[Part], heights: np.ndarray) -> List[Part]:
    """Groups that follow one another, put together where they go on in one grid."""
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
    """Whether a stack of slices goes on in the next; rotations of one or two slices have no grid of their own."""
    steps = [float(np.median(np.diff(np.sort(part)))) for part in (below, above) if len(part) >= 3]
    gap = float(above.min() - below.max())
    if not steps:
        return True
    if max(steps) > (1 + JITTER) * min(steps):
        return False
    step = float(np.mean(steps))
    # One slice may be missing between two stacks, but a single image is no reason to make one up.
    times = (1, 2) if len(steps) == 2 else (1,)
    return any(abs(gap - count * step) <= 1.5 * JITTER * step for count in times)
