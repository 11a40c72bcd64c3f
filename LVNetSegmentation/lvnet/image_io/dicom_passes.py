"""Which slices of a series are one pass of the scanner, or one reconstruction.

A series is meant to be one, and often is not: two phases half a slice apart, chest and abdomen that overlap, series
that an export has put together, an image of bolus tracking in between.  Slices are told apart, in this order:

- by what can only change from one pass to another (image type, kernel, tube voltage, series number, ...);
- by labels (acquisition, thickness, folder, ...) whose slices overlap in space: labels that follow one another are
  the rotations of one scan, labels that overlap are passes;
- by exposure and times, where these split the slices into regular stacks that overlap;
- by instance numbers that run through the same places twice;
- by position: slices on regular combs with a shift between them, and single slices beside a comb.

What cannot be told apart is told by :func:`~lvnet.image_io.dicom_geometry.arrange`, which refuses it.
"""

from __future__ import annotations

import os
from collections import defaultdict
from typing import Callable, Dict, Hashable, List, NamedTuple, Sequence, Tuple

import numpy as np

from .dicom_header import DicomHeader, FrameFields

#: mm up to which two slices lie at one place, whatever their distance from others.
SAME_PLACE_MM = 0.01
#: Share of a step up to which a slice lies on a regular grid.
JITTER = 0.1
# Share of places on its grid that a stack of slices may lack and still be regular.
_MISSING = 0.25
_FEWEST_OF_COMB = 5
# Numbers and steps from one slice of a chain to the next: a number may lack its slice, or a slice its number.
_STEPS = ((1, 1), (1, 2), (2, 2), (3, 3), (1, 3))
# Exposure and times split a series into so many parts at most.
_MOST_PARTS = 8


class Slice(NamedTuple):
    """One slice: a file, or one frame of it."""

    header: DicomHeader
    frame: int
    fields: FrameFields


Part = np.ndarray  # of indices
Way = Callable[[Part, Sequence[Hashable], np.ndarray], List[Part]]


def passes_of(slices: Sequence[Slice]) -> List[List[Slice]]:
    """The passes among slices of one series, the one that covers most first.

    Args:
        slices: with one pixel grid and one orientation, without copies, in any order.
    """
    heights = heights_of(slices)

    def by(way: Way, value: Callable[[Slice], Hashable]) -> Callable[[Part], List[Part]]:
        return lambda part: way(part, [value(slices[index]) for index in part], heights)

    numbers = [s.header.numbers["instance"] for s in slices]
    shifts = dict(zip(map(id, slices), _sideways(slices)))
    ways = [
        *(by(_by_kind, value) for value in _KINDS),
        *(by(_by_label, value) for value in _LABELS),
        by(_by_stacks, lambda slice_: shifts[id(slice_)]),
        *(by(_by_stacks, value) for value in _TRACES),
        lambda part: _by_numbers(part, numbers, heights),
        *(by(_by_runs, value) for value in _CLOCKS),
        lambda part: _by_folder(part, slices, heights),
        lambda part: _by_position(part, heights),
    ]
    parts = [np.argsort(heights, kind="stable")]
    for way in ways:
        parts = [piece for part in parts for piece in (way(part) if len(part) > 1 else [part])]
    parts.sort(key=lambda part: (-_extent(heights[part]), -len(part), _first(slices, part)))
    return [[slices[index] for index in part] for part in parts]


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


# What slices say of themselves ----------------------------------------------------------------------------------------


def _number(text: str) -> object:
    """A number whatever its digits: 5 and 5.0 are one."""
    try:
        return round(float(text.split("\\")[0]), 4)
    except ValueError:
        return text


def _acquisition(slice_: Slice) -> Hashable:
    return slice_.fields.acquisition or slice_.header.fields["acquisition"]


def _temporal(slice_: Slice) -> Hashable:
    return slice_.fields.temporal or slice_.header.fields["temporal"]


def _field(name: str) -> Callable[[Slice], Hashable]:
    return lambda slice_: slice_.header.fields[name]


def _quantity(name: str) -> Callable[[Slice], Hashable]:
    return lambda slice_: _number(slice_.header.fields[name])


def _folder(slice_: Slice) -> Hashable:
    return os.path.dirname(slice_.header.path)


def _moment(slice_: Slice) -> Hashable:
    fields = slice_.header.fields
    return fields["acquisition_datetime"] or fields["acquisition_date"] + fields["acquisition_time"]


def _frame_group(slice_: Slice) -> Hashable:
    return slice_.fields.group


def _description(slice_: Slice) -> Hashable:
    return slice_.header.description.upper()


_KINDS = (
    _field("series_number"), _field("image_type"), _field("kernel"), _quantity("kvp"), _field("rescale_type"),
    _field("frame_of_reference"), _description, _frame_group,
)  # fmt: skip
_LABELS = (
    _field("acquisition_uid"), _acquisition, _temporal, _quantity("thickness"), _quantity("slice_distance"),
    _quantity("diameter"), _field("contrast"),
)  # fmt: skip
_TRACES = (_quantity("exposure_time"), _quantity("exposure"), _quantity("tube_current"), _moment,
           _field("content_time"))  # fmt: skip
_CLOCKS = (_moment, _field("content_time"))


def _values(slices: Sequence[Slice], part: Part, value: Callable[[Slice], Hashable]) -> List[Hashable]:
    return [value(slices[index]) for index in part]


def _first(slices: Sequence[Slice], part: Part) -> Tuple[int, ...]:
    return min((slices[i].header.numbers["acquisition"], slices[i].header.numbers["instance"]) for i in part)


def _sideways(slices: Sequence[Slice]) -> List[Hashable]:
    """Where each slice lies in its plane, in half pixels: two fields of view in one series differ here.

    Every slice of a tilted scan differs from the next, and so says nothing.
    """
    row, column = np.asarray(slices[0].fields.orientation).reshape(2, 3)
    plane = np.array([s.fields.position for s in slices]) @ np.stack([row, column], axis=1)
    pixel = 0.5 * max(min(slices[0].fields.pixel_spacing), 1e-6)
    return [tuple(place) for place in np.rint((plane - plane[0]) / pixel).tolist()]


# Ways to split a part -------------------------------------------------------------------------------------------------


def _grouped(part: Part, values: Sequence[Hashable]) -> List[Part]:
    groups: Dict[Hashable, List[int]] = defaultdict(list)
    for index, value in zip(part, values):
        groups[value].append(int(index))
    return [np.array(group) for group in groups.values()]


def _extent(heights: np.ndarray) -> float:
    return float(heights.max() - heights.min())


def _overlap(groups: Sequence[Part], heights: np.ndarray) -> bool:
    """Whether any two groups share a stretch of the normal."""
    spans = sorted((float(heights[group].min()), float(heights[group].max())) for group in groups)
    top = -np.inf
    for low, high in spans:
        if low <= top + SAME_PLACE_MM:
            return True
        top = max(top, high)
    return False


def _by_kind(part: Part, values: Sequence[Hashable], heights: np.ndarray) -> List[Part]:
    """By what only changes between passes; where nearly every slice has its own, some program has made it up."""
    groups = _grouped(part, values)
    return groups if len(groups) <= max(_MOST_PARTS, len(part) // 3) else _by_label(part, values, heights)


def _by_label(part: Part, values: Sequence[Hashable], heights: np.ndarray) -> List[Part]:
    groups = _grouped(part, values)
    if len(groups) == 1:
        return groups
    return groups if _overlap(groups, heights) else _stitched(groups, heights)


def _stitched(groups: List[Part], heights: np.ndarray) -> List[Part]:
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


def _by_stacks(part: Part, values: Sequence[Hashable], heights: np.ndarray) -> List[Part]:
    """By a value that may change from slice to slice as well: only into a few regular stacks that overlap."""
    groups = _grouped(part, values)
    if not 1 < len(groups) <= _MOST_PARTS or not all(is_stack(heights[group]) for group in groups):
        return [part]
    return groups if _overlap(groups, heights) else _stitched(groups, heights)


def _by_folder(part: Part, slices: Sequence[Slice], heights: np.ndarray) -> List[Part]:
    """By folder, where numbers or places are there twice: else an export has only spread one scan over folders."""
    numbers = [slices[index].header.numbers["instance"] for index in part]
    twice = len(set(numbers)) < len(numbers) or (np.diff(np.sort(heights[part])) <= SAME_PLACE_MM).any()
    return _by_stacks(part, _values(slices, part, _folder), heights) if twice else [part]


def _by_numbers(part: Part, numbers: Sequence[int], heights: np.ndarray) -> List[Part]:
    """By instance numbers: each pass is a chain in which number and height rise, or fall, together."""
    order = np.array([numbers[index] for index in part])
    high = heights[part]
    if len(set(order.tolist())) == 1 or _extent(high) <= SAME_PLACE_MM:
        return [part]
    # Numbers that were given by place, ties in either order, tell nothing.
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
        return [part]  # a few numbers are wrong, and their places are those that lack a slice
    stacks += [np.array([index]) for chain in rest for index in chain]
    return stacks if _overlap(stacks, heights) else _stitched(stacks, heights)


def _completes(height: float, stack: np.ndarray) -> bool:
    if len(stack) < 3:
        return False
    step = float(np.median(np.diff(np.sort(stack))))
    place = (height - stack.min()) / step
    near = float(np.abs(stack - height).min())
    return bool(step > SAME_PLACE_MM and 0.5 * step < near < 2.5 * step and abs(place - round(place)) <= JITTER)


class _AmbiguousError(Exception):
    """Two slices would go on in one chain equally well."""


def _chains(order: np.ndarray, heights: np.ndarray) -> List[List[int]]:
    """Indices by chains of rising numbers with even steps of height, the longest first."""
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
        for start in by_number[first][:_MOST_PARTS]:
            for steps, follower in nexts[: 3 * _MOST_PARTS]:
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
    """mm by which a chain leaves the straight line from its first slice to its last."""
    share = (numbers - numbers[0]) / (numbers[-1] - numbers[0]) if len(numbers) > 1 else np.zeros(1)
    return float(np.abs(heights - heights[0] - share * (heights[-1] - heights[0])).max())


def _goes_evenly(heights: np.ndarray) -> bool:
    """Whether the last two steps of a chain are alike."""
    if len(heights) < 3:
        return False
    last, before = heights[-1] - heights[-2], heights[-2] - heights[-3]
    return bool(abs(last - before) <= JITTER * abs(last) + SAME_PLACE_MM)


def _followed(
    start: int, number: int, slope: float, by_number: Dict[int, List[int]], heights: np.ndarray
) -> Tuple[List[int], bool]:
    """The chain that goes on from a slice, and whether it could only go on this way."""
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
                # Positions are rounded; the whole way tells the step best.
                slope = (height - float(heights[start])) / gone
                # What is met beyond a gap may be of another pass, unless the chain goes on from there.
                sure = len(chain) if steps == 1 and (sure == len(chain) - 1 or _goes_evenly(heights[chain])) else sure
                break
        else:
            return chain[:sure], clear


def _by_runs(part: Part, times: Sequence[Hashable], heights: np.ndarray) -> List[Part]:
    """By the clock: a pass goes one way, the next one begins anew."""
    try:
        clock = np.array([float(str(time)) for time in times])
    except ValueError:
        return [part]
    order = np.lexsort((heights[part], clock))
    ordered = part[order]
    runs: List[List[int]] = [[int(ordered[0])]]
    way = 0.0
    for before, index in zip(ordered, ordered[1:]):
        step = float(np.sign(heights[index] - heights[before]))
        if step and way and step != way:
            runs.append([])
            way = 0.0
        elif step:
            way = step
        runs[-1].append(int(index))
    groups = [np.array(run) for run in runs]
    few = 1 < len(groups) <= _MOST_PARTS
    if few and _overlap(groups, heights) and all(is_stack(heights[group]) for group in groups):
        return groups
    return [part]


def _by_position(part: Part, heights: np.ndarray) -> List[Part]:
    """By regular combs of slices with a shift between them, or one comb and a few slices beside it."""
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
        # A few slices lie on many combs by chance.
        enough = min(len(stack) for stack in stacks) >= _FEWEST_OF_COMB and covered >= len(part) - 2
        if len(stacks) > 1 and not (enough and _overlap(stacks, heights)):
            continue
        return groups
    return [part]


def _step(high: np.ndarray, count: int) -> float:
    """Of `count` combs in sorted heights; over many slices, since positions are rounded."""
    step = float(np.median(high[count:] - high[:-count]))
    for times in (4, 16, 64):
        lag = count * times
        if lag < len(high):
            longer = float(np.median(high[lag:] - high[:-lag])) / times
            step = longer if abs(longer - step) <= 0.5 * JITTER * step / times**0.5 else step
    return step


def _combs(part: Part, heights: np.ndarray, step: float) -> List[Part]:
    """Slices by their place within a step, which goes round in a circle."""
    phases = heights[part] / step % 1.0
    order = np.argsort(phases)
    breaks = np.flatnonzero(np.diff(phases[order]) > JITTER)
    groups = np.split(part[order], breaks + 1)
    if len(groups) > 1 and phases[order[0]] + 1 - phases[order[-1]] <= JITTER:
        groups[0] = np.concatenate([groups.pop(), groups[0]])
    return groups


def _within(part: Part, stack: Part, heights: np.ndarray) -> bool:
    """Whether what is beside a stack lies inside of its stretch."""
    beside = heights[np.setdiff1d(part, stack)]
    return bool(beside.size and beside.min() > heights[stack].min() and beside.max() < heights[stack].max())
