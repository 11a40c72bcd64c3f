"""Separating the passes of a series: which slices belong to one pass of the scanner, or one reconstruction.

A series should be a single pass, but often is not: two phases half a slice apart, chest and abdomen that overlap,
series that were merged on export, a bolus-tracking image in between.  Slices are separated, in this order:

- by fields that can only change from one pass to another (image type, kernel, tube voltage, series number, ...);
- by labels (acquisition, thickness, folder, ...) whose slices overlap in space: labels that follow one another are
  the rotations of one scan, labels that overlap are passes;
- by exposure and times, if these split the slices into regular stacks that overlap;
- by instance numbers that run through the same positions twice;
- by position: interleaved regular stacks with an offset, and single slices beside a stack.

Passes that cannot be separated are detected by :func:`~lvnet.image_io.dicom_geometry.arrange`, which raises an error.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Callable, Dict, Hashable, List, Sequence, Tuple

import numpy as np

from .dicom_chains import by_numbers
from .dicom_combs import by_position
from .dicom_pass_fields import CLOCKS, KINDS, LABELS, TRACES, folder_of, sideways
from .dicom_slices import SAME_PLACE_MM, Part, Slice, extent, heights_of, is_stack, overlap, stitched

# Exposure and times may split a series into at most this many parts.
_MOST_PARTS = 8


Way = Callable[[Part, Sequence[Hashable], np.ndarray], List[Part]]


def passes_of(slices: Sequence[Slice]) -> List[List[Slice]]:
    """The passes among slices of one series, the one that covers the most first.

    Args:
        slices: with one pixel grid and one orientation, without copies, in any order.
    """
    heights = heights_of(slices)

    def by(way: Way, value: Callable[[Slice], Hashable]) -> Callable[[Part], List[Part]]:
        return lambda part: way(part, [value(slices[index]) for index in part], heights)

    numbers = [s.header.numbers["instance"] for s in slices]
    shifts = dict(zip(map(id, slices), sideways(slices)))
    ways = [
        *(by(_by_kind, value) for value in KINDS),
        *(by(_by_label, value) for value in LABELS),
        by(_by_stacks, lambda slice_: shifts[id(slice_)]),
        *(by(_by_stacks, value) for value in TRACES),
        lambda part: by_numbers(part, numbers, heights),
        *(by(_by_runs, value) for value in CLOCKS),
        lambda part: _by_folder(part, slices, heights),
        lambda part: by_position(part, heights),
    ]
    parts = [np.argsort(heights, kind="stable")]
    for way in ways:
        parts = [piece for part in parts for piece in (way(part) if len(part) > 1 else [part])]
    parts.sort(key=lambda part: (-extent(heights[part]), -len(part), _first(slices, part)))
    return [[slices[index] for index in part] for part in parts]


def _values(slices: Sequence[Slice], part: Part, value: Callable[[Slice], Hashable]) -> List[Hashable]:
    return [value(slices[index]) for index in part]


def _first(slices: Sequence[Slice], part: Part) -> Tuple[int, ...]:
    return min((slices[i].header.numbers["acquisition"], slices[i].header.numbers["instance"]) for i in part)


# Ways to split a part -------------------------------------------------------------------------------------------------


def _grouped(part: Part, values: Sequence[Hashable]) -> List[Part]:
    groups: Dict[Hashable, List[int]] = defaultdict(list)
    for index, value in zip(part, values):
        groups[value].append(int(index))
    return [np.array(group) for group in groups.values()]


def _by_kind(part: Part, values: Sequence[Hashable], heights: np.ndarray) -> List[Part]:
    """Splits by fields that only change between passes; values that differ in nearly every slice are ignored."""
    groups = _grouped(part, values)
    return groups if len(groups) <= max(_MOST_PARTS, len(part) // 3) else _by_label(part, values, heights)


def _by_label(part: Part, values: Sequence[Hashable], heights: np.ndarray) -> List[Part]:
    groups = _grouped(part, values)
    if len(groups) == 1:
        return groups
    return groups if overlap(groups, heights) else stitched(groups, heights)


def _by_stacks(part: Part, values: Sequence[Hashable], heights: np.ndarray) -> List[Part]:
    """Splits by a value that may also change from slice to slice: only into a few regular stacks that overlap, or
    into any number at the same positions."""
    groups = _grouped(part, values)
    if len(groups) == 1 or not all(is_stack(heights[group]) for group in groups):
        return [part]
    if len(groups) > _MOST_PARTS and not _at_same_places(groups, heights):
        return [part]
    return groups if overlap(groups, heights) else stitched(groups, heights)


def _at_same_places(groups: Sequence[Part], heights: np.ndarray) -> bool:
    places = [np.sort(heights[group]) for group in groups]
    return all(
        len(one) == len(places[0]) and float(np.abs(one - places[0]).max()) <= SAME_PLACE_MM for one in places[1:]
    )


def _by_folder(part: Part, slices: Sequence[Slice], heights: np.ndarray) -> List[Part]:
    """Splits by folder, if numbers or positions occur twice; otherwise one scan was exported to several folders."""
    numbers = [slices[index].header.numbers["instance"] for index in part]
    twice = len(set(numbers)) < len(numbers) or (np.diff(np.sort(heights[part])) <= SAME_PLACE_MM).any()
    return _by_stacks(part, _values(slices, part, folder_of), heights) if twice else [part]


def _seconds(time: str) -> float:
    """Seconds of a time of day, HHMMSS.FFFFFF, with or without a date before it."""
    number = float(time.split("&")[0])
    whole = int(number)
    return whole // 10**6 * 86400.0 + whole // 10**4 % 100 * 3600 + whole // 100 % 100 * 60 + number % 100


def _by_runs(part: Part, times: Sequence[Hashable], heights: np.ndarray) -> List[Part]:
    """Splits by time: a pass moves in one direction, and the next one starts again."""
    try:
        clock = np.array([_seconds(str(time)) for time in times])
    except (ValueError, OverflowError):
        return [part]
    order = np.lexsort((heights[part], clock))
    ordered = part[order]
    waits = [0.0, *np.diff(clock[order]).tolist(), 0.0]
    runs: List[List[int]] = [[int(ordered[0])]]
    way = 0.0
    for place, (before, index) in enumerate(zip(ordered, ordered[1:]), 1):
        step = float(np.sign(heights[index] - heights[before]))
        if step and way and step != way:
            # If an upward pass follows a downward one, the slice at the turn fits both: the longer pause tells
            # where the first one ended.
            turned = len(runs[-1]) > 1 and waits[place - 1] > waits[place]
            runs.append([runs[-1].pop()] if turned else [])
            way = step if turned else 0.0
        elif step:
            way = step
        runs[-1].append(int(index))
    groups = [np.array(run) for run in runs]
    few = 1 < len(groups) <= _MOST_PARTS
    if few and overlap(groups, heights) and all(is_stack(heights[group]) for group in groups):
        return groups
    return [part]
