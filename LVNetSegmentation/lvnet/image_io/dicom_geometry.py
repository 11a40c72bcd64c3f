"""Order, spacing, gaps, duplicates and tilt of the slices of a series.

The rules, in the order in which they are applied:

- Slices of one pass (see `dicom_passes`) are sorted along the normal of their plane; of several with the same
  pixels at one position one is kept.  Different images at one position, and alternating distances, mean two
  passes that cannot be told apart, which is an error.
- A stack with a gap of more than 5 slices and 10 mm (30 mm if the spacing is uneven anyway) is two scans; the longer
  one is kept.
- Positions that deviate from a regular grid by at most a tenth of the spacing are taken as that grid.
- Otherwise the scan is resampled to a regular grid by linear interpolation between neighbouring
  slices; slices that already lie on the grid are kept unchanged.  The usual case is missing slices;
  interpolating them keeps every other slice at its true position.
- Slices that are shifted sideways (gantry tilt) are kept unchanged, one above the other: no
  orthogonal grid can represent them, a label map would otherwise not fit its slices, and spacing
  along the normal gives the correct voxel volume.  A note says how far positions are off.
"""

from __future__ import annotations

import zlib
from typing import List, NamedTuple, Sequence, Tuple

import numpy as np

from ..errors import ImageError
from .dicom_header import read_pixels
from .dicom_slices import SAME_PLACE_MM, Slice

_GAP_SLICES, _GAP_MM, _EVEN_GAP_MM = 5, 30.0, 10.0
_JITTER = 0.1
_TILT_DEGREES = 0.3
# Tolerance of the header's slice distance, and the smallest plausible slice thickness, as fractions of the distance.
_OTHER, _THIN = 0.02, 0.5
# With so many interpolated slices for each real one, resampling to a regular grid is refused.
_MOST_MADE_UP = 10
# Relative difference of two distances that counts as a change; and the number of changes that mean interleaved passes.
_TURN, _MOST_TURNS, _SHORT = 0.4, 0.25, 0.6


class Layer(NamedTuple):
    """One slice of the volume: `slices[first]`, blended with `slices[second]` by `weight` if that is not 0."""

    first: int
    second: int
    weight: float


class Stack(NamedTuple):
    """A series in order.

    Attributes:
        slices: sorted along the normal, one per position.
        layers: how each slice of the volume is composed.
        spacing: (x, y, z) in mm.
        origin: (x, y, z) of the first voxel, LPS.
        direction: nine direction cosines, row by row.
        notes: sentences for the user.
    """

    slices: List[Slice]
    layers: List[Layer]
    spacing: Tuple[float, float, float]
    origin: Tuple[float, ...]
    direction: Tuple[float, ...]
    notes: Tuple[str, ...]


def arrange(name: str, slices: Sequence[Slice]) -> Stack:
    """Sorts the slices of one series and arranges them on a regular grid.

    Args:
        name: the scan's name for messages.
        slices: of one series, in any order.

    Raises:
        ImageError: they are too uneven for a regular grid.
    """
    notes: List[str] = []
    row, column = np.asarray(slices[0].fields.orientation).reshape(2, 3)
    normal = np.cross(row, column)
    normal /= np.linalg.norm(normal)
    ordered, heights = _sorted_along(name, slices, normal, notes)
    ordered, heights = _longest_part(ordered, heights, notes)
    gaps = np.diff(heights)
    # Written so that NaN heights are refused too.
    if gaps.size and not float(heights[-1] - heights[0]) <= _MOST_MADE_UP * len(heights) * _usual_gap(gaps):
        raise ImageError(
            f"{name}: its slices are {gaps.min():.3g} to {gaps.max():.3g} mm apart, too uneven for a regular grid;"
            " export the series again"
        )
    _refuse_woven(name, heights)
    layers, step = _layers(heights, notes)
    if len(ordered) == 1:
        step = _thickness(ordered[0], notes)
    else:
        _note_distance(ordered, step, notes)
    pixel_rows, pixel_columns = ordered[0].fields.pixel_spacing
    positions = np.array([s.fields.position for s in ordered])
    _note_shift(positions, heights, normal, min(pixel_rows, pixel_columns), notes)
    direction = np.stack([row, column, normal], axis=1)
    return Stack(
        ordered,
        layers,
        (pixel_columns, pixel_rows, step),
        tuple(float(part) for part in positions[0]),
        tuple(float(part) for part in direction.ravel()),
        tuple(notes),
    )


def _sorted_along(
    name: str, slices: Sequence[Slice], normal: np.ndarray, notes: List[str]
) -> Tuple[List[Slice], np.ndarray]:
    heights = np.array([np.dot(s.fields.position, normal) for s in slices])
    keys = [(s.header.numbers["acquisition"], s.header.numbers["instance"], s.frame) for s in slices]
    order = np.argsort(heights, kind="stable")
    gaps = np.diff(heights[order])
    apart = gaps[gaps > SAME_PLACE_MM]
    # Because of rounding, two images of one position may not have exactly equal heights.
    near = max(SAME_PLACE_MM, _JITTER * _usual_gap(apart)) if apart.size else SAME_PLACE_MM
    groups: List[List[int]] = []
    for index in order:
        if groups and heights[index] - heights[groups[-1][0]] <= near:
            groups[-1].append(int(index))
        else:
            groups.append([int(index)])
    crowded = [group for group in groups if len(group) > 1]
    if crowded and len(groups) > 1 and not all(_are_copies([slices[i] for i in group]) for group in crowded):
        raise ImageError(
            f"{name}: {len(crowded)} of {len(groups)} positions have several different slices, and their headers do not"
            " tell which belong together; export each series or phase into a folder of its own"
        )
    chosen = [min(group, key=lambda i: keys[i]) for group in groups]
    repeated = len(slices) - len(chosen)
    if repeated:
        notes.append(f"{repeated} slices at duplicate positions were left out (copies or a later phase)")
    return [slices[i] for i in chosen], heights[chosen]


def _are_copies(slices: Sequence[Slice]) -> bool:
    """Whether slices at one position have the same stored pixels; frames of one file are not compared."""
    if any(len(s.header.frames) > 1 for s in slices):
        return False
    first = slices[0]
    try:
        pixels = read_pixels(first.header)
        return all(s.fields.rescale == first.fields.rescale and read_pixels(s.header) == pixels for s in slices[1:])
    except (OSError, EOFError, ValueError, zlib.error):
        return False


def _refuse_woven(name: str, heights: np.ndarray) -> None:
    """Fails if the distances of slices are irregular; missing slices and a single change of distance are allowed.

    Raises:
        ImageError: the distances are irregular.
    """
    gaps = np.diff(heights)
    if len(gaps) < 4:
        return
    step = _usual_gap(gaps)
    places = round(float(heights[-1] - heights[0]) / step)
    even = _deviation(heights, float(heights[-1] - heights[0]) / places) <= _JITTER
    if even and places + 1 <= 1.35 * len(heights) + 2:
        return
    larger = np.maximum(gaps[1:], gaps[:-1])
    # Where the distance changes, one that is shorter than both belongs to a slice of another pass.
    short = [
        gap < _SHORT * min(float(np.median(gaps[max(0, i - 3) : i])), float(np.median(gaps[i + 1 : i + 4])))
        for i, gap in enumerate(gaps[1:-1], 1)
    ]
    turns = int((np.abs(np.diff(gaps)) > _TURN * larger).sum())
    if any(short) or turns > max(4, _MOST_TURNS * len(gaps)):
        raise ImageError(
            f"{name}: its slices are irregularly spaced ({gaps.min():.3g} to {gaps.max():.3g} mm), probably two passes"
            " that their headers do not distinguish; export each pass into a folder of its own"
        )


def _longest_part(slices: List[Slice], heights: np.ndarray, notes: List[str]) -> Tuple[List[Slice], np.ndarray]:
    gaps = np.diff(heights)
    if not gaps.size:
        return slices, heights
    usual = float(np.median(gaps))
    even = bool((np.abs(gaps - usual) <= _JITTER * usual).mean() > 0.7)
    limit = max(_GAP_SLICES * usual, _EVEN_GAP_MM if even else _GAP_MM)
    breaks = np.flatnonzero(gaps > limit) + 1
    if not breaks.size:
        return slices, heights
    edges = [0, *(int(b) for b in breaks), len(slices)]
    begin, end = max(zip(edges[:-1], edges[1:]), key=lambda part: part[1] - part[0])
    notes.append(
        f"the series has a gap of {gaps.max():.0f} mm: only the longest part was used, {end - begin} of"
        f" {len(slices)} slices"
    )
    return slices[begin:end], heights[begin:end]


def _layers(heights: np.ndarray, notes: List[str]) -> Tuple[List[Layer], float]:
    count = len(heights)
    if count == 1:
        return [Layer(0, 0, 0.0)], 1.0
    gaps = np.diff(heights)
    total = float(heights[-1] - heights[0])
    step = total / (count - 1)
    if _deviation(heights, step) <= _JITTER:
        return [Layer(index, index, 0.0) for index in range(count)], step
    intervals = max(1, round(total / _usual_gap(gaps)))
    step = total / intervals
    missing = intervals + 1 - count
    targets = heights[0] + step * np.arange(intervals + 1)
    right = np.clip(np.searchsorted(heights, targets), 1, count - 1)
    weights = (targets - heights[right - 1]) / (heights[right] - heights[right - 1])
    layers = []
    for index, weight, target in zip(right, weights, targets):
        nearest = int(index - 1 if target - heights[index - 1] < heights[index] - target else index)
        if abs(target - heights[nearest]) <= _JITTER * step:
            layers.append(Layer(nearest, nearest, 0.0))
        else:
            layers.append(Layer(int(index) - 1, int(index), float(weight)))
    if missing > 0 and _deviation(heights, step) <= _JITTER:
        what = "1 slice is" if missing == 1 else f"{missing} slices are"
        notes.append(f"{what} missing: interpolated between neighbours ({len(layers)} slices of {step:.3g} mm now)")
    else:
        notes.append(
            f"slices {gaps.min():.3g} to {gaps.max():.3g} mm apart were resampled to {len(layers)} slices"
            f" {step:.3g} mm apart"
        )
    return layers, step


def _usual_gap(gaps: np.ndarray) -> float:
    """The spacing of the grid: that of the finest part of a scan with several spacings, so that nothing is lost."""
    return float(np.percentile(gaps, 25))


def _deviation(heights: np.ndarray, step: float) -> float:
    """The largest distance from a grid of `step`, in steps."""
    places = (heights - heights[0]) / step
    nearest = np.rint(places)
    if len(np.unique(nearest)) < len(nearest):
        return np.inf
    return float(np.abs(places - nearest).max())


def _thickness(only: Slice, notes: List[str]) -> float:
    try:
        value = float(only.header.fields["thickness"])
    except ValueError:
        value = 0.0
    if not 0 < value < 1000:
        notes.append("the only slice has no thickness in its header: 1 mm is assumed")
        return 1.0
    return value


def _note_distance(slices: Sequence[Slice], step: float, notes: List[str]) -> None:
    """Notes about headers whose slice distance differs from the positions, which are used."""
    stated = sorted({round(abs(s.fields.distance[0]), 4) for s in slices if s.fields.distance})
    stated = [distance for distance in stated if distance > 0 and abs(distance - step) > _OTHER * step]
    if stated:
        said = " or ".join(f"{distance:g}" for distance in stated[:3])
        notes.append(
            f"the slice distance is {said} mm in the headers, but {step:.4g} mm by the slice positions, which were used"
        )
    try:
        thickness = float(slices[0].header.fields["thickness"])
    except ValueError:
        return
    if 0 < thickness < _THIN * step:
        notes.append(f"the slices are {thickness:g} mm thick but {step:.4g} mm apart: there are gaps between them")


def _note_shift(positions: np.ndarray, heights: np.ndarray, normal: np.ndarray, pixel: float, notes: List[str]) -> None:
    rise = heights - heights[0]
    sideways = positions - positions[0] - rise[:, None] * normal
    farthest = float(np.linalg.norm(sideways, axis=1).max())
    if len(heights) < 2 or farthest <= 0.5 * pixel:
        return
    slope = rise @ sideways / (rise @ rise)
    angle = float(np.degrees(np.arctan(np.linalg.norm(slope))))
    uneven = float(np.linalg.norm(sideways - rise[:, None] * slope, axis=1).max())
    if uneven <= pixel and angle > _TILT_DEGREES:
        notes.append(
            f"gantry tilt of {angle:.1f} degrees: the slices were not sheared, positions are up to"
            f" {farthest:.0f} mm off"
        )
    elif farthest > pixel:
        notes.append(f"slices are shifted sideways by up to {farthest:.1f} mm: this was not corrected")
