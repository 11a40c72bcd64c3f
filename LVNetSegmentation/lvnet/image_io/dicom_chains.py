"""Separating passes by instance numbers that run through the same positions twice."""

from __future__ import annotations

from collections import defaultdict
from typing import Dict, List, Sequence, Tuple

import numpy as np

from .dicom_slices import JITTER, SAME_PLACE_MM, Part, extent, overlap, stitched

# Allowed steps in number and position from one slice of a chain to the next: slices or numbers may be missing.
_STEPS = ((1, 1), (1, 2), (2, 2), (3, 3), (1, 3))
# Starting slices that are tried, if several have the same number.
_MOST_STARTS = 8


def by_numbers(part: Part, numbers: Sequence[int], heights: np.ndarray) -> List[Part]:
    """Splits by instance numbers: in each pass, number and height increase (or decrease) together."""
    order = np.array([numbers[index] for index in part])
    high = heights[part]
    if len(set(order.tolist())) == 1 or extent(high) <= SAME_PLACE_MM:
        return [part]
    # Numbers that were assigned by position, with ties in any order, carry no information.
    if any((np.diff(order[np.lexsort((way * order, high))]) * way > 0).all() for way in (1, -1)):
        return [part]
    try:
        chains = [part[chain] for chain in _chains(order, high)]
    except _AmbiguousError:
        return [part]
    stacks = [chain for chain in chains if len(chain) >= 3]
    rest = [chain for chain in chains if len(chain) < 3]
    left = sum(len(chain) for chain in rest)
    if not stacks or left > max(2, 0.1 * len(part)):
        return [part]
    if len(stacks) == 1 and all(_completes(heights[index], heights[stacks[0]]) for chain in rest for index in chain):
        return [part]  # a few numbers are wrong, and these slices fill gaps
    stacks += [np.array([index]) for chain in rest for index in chain]
    return stacks if overlap(stacks, heights) else stitched(stacks, heights)


def _completes(height: float, stack: np.ndarray) -> bool:
    if len(stack) < 3:
        return False
    step = float(np.median(np.diff(np.sort(stack))))
    place = (height - stack.min()) / step
    near = float(np.abs(stack - height).min())
    return bool(step > SAME_PLACE_MM and 0.5 * step < near < 2.5 * step and abs(place - round(place)) <= JITTER)


class _AmbiguousError(Exception):
    """Two slices would continue one chain equally well."""


def _chains(order: np.ndarray, heights: np.ndarray) -> List[List[int]]:
    """Indices of chains with increasing numbers and equal height steps, the longest first."""
    by_number: Dict[int, List[int]] = defaultdict(list)
    for index, number in enumerate(order.tolist()):
        by_number[number].append(index)
    gaps = np.diff(np.sort(heights))
    apart = gaps[gaps > SAME_PLACE_MM]
    near = SAME_PLACE_MM + (JITTER * float(np.percentile(apart, 25)) if apart.size else 0.0)
    if any((np.diff(np.sort(heights[same])) <= near).any() for same in by_number.values()):
        raise _AmbiguousError
    chains = []
    while by_number:
        first = min(by_number)
        best, clear, bend = [by_number[first][0]], True, np.inf
        nexts = [(steps, j) for skip, steps in _STEPS[:3] for j in by_number.get(first + skip, ())]
        for start in by_number[first][:_MOST_STARTS]:
            for steps, follower in nexts[: 3 * _MOST_STARTS]:
                slope = float(heights[follower] - heights[start]) / steps
                if abs(slope) > SAME_PLACE_MM:
                    chain, only = _followed(start, first, slope, by_number, heights)
                    own = _bend(order[chain], heights[chain])
                    if (len(chain), -own) > (len(best), -bend):
                        best, clear, bend = chain, only, own
        if not clear:
            raise _AmbiguousError
        for index in best:
            number = int(order[index])
            by_number[number].remove(index)
            if not by_number[number]:
                del by_number[number]
        chains.append(best)
    return chains


def _bend(numbers: np.ndarray, heights: np.ndarray) -> float:
    """Largest deviation in mm of a chain from the straight line between its first and last slice."""
    share = (numbers - numbers[0]) / (numbers[-1] - numbers[0]) if len(numbers) > 1 else np.zeros(1)
    return float(np.abs(heights - heights[0] - share * (heights[-1] - heights[0])).max())


def _goes_evenly(heights: np.ndarray) -> bool:
    """Whether the last two steps of a chain are equal."""
    if len(heights) < 3:
        return False
    last, before = heights[-1] - heights[-2], heights[-2] - heights[-3]
    return bool(abs(last - before) <= JITTER * abs(last) + SAME_PLACE_MM)


def _followed(
    start: int, number: int, slope: float, by_number: Dict[int, List[int]], heights: np.ndarray
) -> Tuple[List[int], bool]:
    """The chain that continues from a slice, and whether there was no other way to continue it."""
    chain, here, height, clear, sure = [start], number, float(heights[start]), True, 1
    tolerance = 0.5 * JITTER * abs(slope) + SAME_PLACE_MM
    gone = 0
    while True:
        for skip, steps in _STEPS:
            place = height + steps * slope
            near = [j for j in by_number.get(here + skip, ()) if abs(heights[j] - place) <= tolerance]
            if near:
                clear = clear and len(near) == 1
                chain.append(near[0])
                here, height, gone = here + skip, float(heights[chain[-1]]), gone + steps
                # Positions are rounded, so the step is best estimated over the whole length.
                slope = (height - float(heights[start])) / gone
                # A slice beyond a gap may belong to another pass, unless the chain continues from there.
                sure = len(chain) if steps == 1 and (sure == len(chain) - 1 or _goes_evenly(heights[chain])) else sure
                break
        else:
            return chain[:sure], clear
