"""Separating passes by position: interleaved regular stacks with an offset, and single slices beside a stack."""

from __future__ import annotations

from typing import List

import numpy as np

from .dicom_slices import JITTER, SAME_PLACE_MM, Part, is_stack, overlap

_FEWEST_OF_COMB = 5


def by_position(part: Part, heights: np.ndarray) -> List[Part]:
    """Splits into interleaved regular stacks with an offset, or one stack and a few slices beside it."""
    high = np.sort(heights[part])
    if len(part) < 4 or is_stack(high):
        return [part]
    for count in range(1, min(5, len(part))):
        step = _step(high, count)
        if step <= SAME_PLACE_MM * 10:
            continue
        groups = _combs(part, heights, step)
        stacks = [group for group in groups if is_stack(heights[group])]
        covered = sum(len(stack) for stack in stacks)
        if not 1 <= len(stacks) <= count or covered < 0.7 * len(part) or len(groups) == 1:
            continue
        if len(stacks) == 1 and not _within(part, stacks[0], heights):
            continue
        # A few slices fit many regular grids by chance.
        enough = min(len(stack) for stack in stacks) >= _FEWEST_OF_COMB and covered >= len(part) - 2
        if len(stacks) > 1 and not (enough and overlap(stacks, heights)):
            continue
        return groups
    return [part]


def _step(high: np.ndarray, count: int) -> float:
    """The step of `count` interleaved stacks, from sorted heights; over many slices, since positions are rounded."""
    step = float(np.median(high[count:] - high[:-count]))
    for times in (4, 16, 64):
        lag = count * times
        if lag < len(high):
            longer = float(np.median(high[lag:] - high[:-lag])) / times
            step = longer if abs(longer - step) <= 0.5 * JITTER * step / times**0.5 else step
    return step


def _combs(part: Part, heights: np.ndarray, step: float) -> List[Part]:
    """Slices grouped by their offset within a step (modulo the step)."""
    phases = heights[part] / step % 1.0
    order = np.argsort(phases)
    breaks = np.flatnonzero(np.diff(phases[order]) > JITTER)
    groups = np.split(part[order], breaks + 1)
    if len(groups) > 1 and phases[order[0]] + 1 - phases[order[-1]] <= JITTER:
        groups[0] = np.concatenate([groups.pop(), groups[0]])
    return groups


def _within(part: Part, stack: Part, heights: np.ndarray) -> bool:
    """Whether the slices beside a stack lie within its extent."""
    beside = heights[np.setdiff1d(part, stack)]
    return bool(beside.size and beside.min() > heights[stack].min() and beside.max() < heights[stack].max())
