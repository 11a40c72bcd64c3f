"""The plausibility checks of one organ at a time, in its bounding box."""

from __future__ import annotations

from typing import List, Mapping, Optional, Tuple, Union

import numpy as np

from ..anatomy import LOOK, OK, WRONG, Limits, Organ
from ..boxes import Box, bounding_box, box_of_value
from ..orientation import orientation_of
from ..quality import Expected, Quality
from ..recipe import LabelClass, Recipe
from ..volume import Volume
from .check import Check
from .confidence import low_confidence_share
from .pieces import Pieces, holes_of, pieces_of

# A few voxels at the end may be chance.  From about a quarter of the liver's largest axial section (some
# 200 cm2) on, a substantial part of the organ is missing, and all measurements are wrong.
_EDGE_MM2 = Limits((0.0, 100.0), (0.0, 5000.0))
# Relative to the largest piece: small fragments are common and are removed; a piece of a fifth may be the organ.
_SECOND_PIECE = Limits((0.0, 0.02), (0.0, 0.2))
# Relative to the organ: enclosed cysts or tumours that were missed; holes of a fifth are implausible.
_HOLES = Limits((0.0, 0.01), (0.0, 0.2))
# Of 102 results with a DICE of 0.94 or more 101 had less than 0.12, all of the 4 below 0.90 more than 0.148
# (training/calibration.csv).  Beyond 0.21 there are no data; with half of the border uncertain it is not an organ.
_DOUBTFUL = Limits((0.0, 0.12), (0.0, 0.6))

_SIDES = ("inferior", "superior", "anterior", "posterior", "right", "left")
_MOST_VOXELS = 1_000_000


def self_check(
    scan: Volume,
    labels: Volume,
    probabilities: Union[np.ndarray, Volume, None],
    recipe: Recipe,
    *,
    before_postprocessing: Optional[np.ndarray] = None,
    low_confidence: Optional[Mapping[int, float]] = None,
    expected: Optional[Mapping[int, Expected]] = None,
    measured: Optional[Mapping[int, Mapping[str, float]]] = None,
) -> List[Check]:
    """Checks a segmentation without a reference.

    Args:
        scan: in HU.
        labels: uint8 label map on the scan's grid.
        probabilities: (z, y, x) of "any class but background" on the scan's grid, or None.
        recipe: its classes name the label values.
        before_postprocessing: (z, y, x) uint8 label map with all pieces and holes; None takes `labels`.
        low_confidence: fractions of uncertain voxels by label value if already known, from
            :func:`~lvnet.selfcheck.low_confidence`; otherwise computed from `probabilities`.
        expected: by label value, the DICE that the recipe's :class:`~lvnet.quality.Quality` expects; it replaces the
            verdict on the fraction of uncertain voxels, on which it is mostly based.
        measured: by label value, the result of :func:`~lvnet.selfcheck.measure`; without it HU are judged at the scan's
            own voxels, including their noise.

    Returns:
        Checks of every class in the recipe's order: one for a class that was not found.  If the recipe's anatomy
        does not state an organ's size or HU, those checks have a value but no verdict.

    Raises:
        ValueError: the arrays do not have the scan's shape.
    """
    soft = probabilities.array if isinstance(probabilities, Volume) else probabilities
    raw = labels.array if before_postprocessing is None else before_postprocessing
    for array in (labels.array, raw, soft):
        if array is not None and array.shape != scan.shape:
            raise ValueError(f"an array of {array.shape} voxels for a scan of {scan.shape}")
    alone = len(recipe.classes) == 1
    checks: List[Check] = []
    for entry in recipe.classes:
        organ = recipe.expects.of(entry.value) or Organ(entry.value)
        box = _box_of(labels.array, entry.value, alone=alone)
        if box is None:
            checks.append(_nothing(entry, organ))
            continue
        share = low_confidence.get(entry.value) if low_confidence is not None else None
        if low_confidence is None and soft is not None:
            share = low_confidence_share(soft, labels.array, labels.spacing, entry.value)
        likely = (expected or {}).get(entry.value)
        if likely is not None and recipe.quality is not None:
            checks.append(_expected(entry, likely, recipe.quality))
        edge = _edge(entry, labels)
        checks += [_volume(entry, organ.volume_ml, labels, box, cut_off=edge.verdict != OK), edge]
        pieces = pieces_of(raw, entry.value, _box_of(raw, entry.value, alone=alone))
        if pieces.count:
            holes = holes_of(raw, entry.value, pieces, alone=alone)
            checks += [_pieces(entry, pieces, labels.voxel_volume_ml), _holes(entry, holes, pieces, labels)]
        if share is not None:
            checks.append(_confidence(entry, share, judged=likely is None))
        checks += _brightness(entry, organ, scan, labels, box, (measured or {}).get(entry.value, {}).get("spread"))
    return checks


def _box_of(labels: np.ndarray, value: int, *, alone: bool) -> Optional[Box]:
    """The bounding box of one value; `alone` if no other value can occur, which avoids a copy."""
    return bounding_box(labels) if alone else box_of_value(labels, value)


def _nothing(entry: LabelClass, organ: Organ) -> Check:
    sentence = f"no {entry.name} was found: the scan may not show it, or may not be a CT in HU"
    return Check(f"{entry.name} presence", LOOK if organ.volume_ml is None else WRONG, sentence, 0.0, None, "ml")


def _expected(entry: LabelClass, expected: Expected, quality: Quality) -> Check:
    limits = Limits((quality.look_below, None), (quality.wrong_below, None))
    verdict = limits.verdict(expected.dice)
    sentence = f"expected DICE of the {entry.name} {expected.dice:.2f} ({expected.low:.2f} to {expected.high:.2f})"
    if verdict != OK:
        sentence += ": compare the outline with the scan before using the result"
    return Check(f"{entry.name} expected dice", verdict, sentence, expected.dice, limits)


def _volume(entry: LabelClass, usual: Optional[Limits], labels: Volume, box: Box, *, cut_off: bool) -> Check:
    count = sum(int(np.count_nonzero(plane == entry.value)) for plane in labels.array[box])
    value = count * labels.voxel_volume_ml
    sentence = f"the {entry.name} volume is {value:.0f} ml"
    if usual is None:
        return Check(f"{entry.name} volume", None, sentence, value, None, "ml")
    limits = usual.without_lower() if cut_off else usual
    verdict = limits.verdict(value)
    if cut_off:
        sentence += " in this scan, which shows only a part of it"
    if verdict != OK:
        low, high = usual.ok
        more = high is not None and value > high
        sentence += f", {'more' if more else 'less'} than usual for adults ({_range(low, high)} ml)"
    return Check(f"{entry.name} volume", verdict, sentence, value, limits, "ml")


def _edge(entry: LabelClass, labels: Volume) -> Check:
    orientation = orientation_of(labels)
    array = orientation.apply(labels.array)
    z, y, x = (labels.spacing[axis] for axis in orientation.axes)
    faces = (array[0], array[-1], array[:, 0], array[:, -1], array[:, :, 0], array[:, :, -1])
    sizes = (x * y, x * y, x * z, x * z, y * z, y * z)
    areas = [int(np.count_nonzero(face == entry.value)) * size for face, size in zip(faces, sizes)]
    area = float(sum(areas))
    verdict = _EDGE_MM2.verdict(area)
    sides = [side for side, part in zip(_SIDES, areas) if part > 0]
    if not sides:
        sentence = f"the {entry.name} is completely inside the scan"
    elif verdict == OK:
        sentence = f"the {entry.name} just touches the {_listed(sides)} end of the scan ({area:.0f} mm2)"
    else:
        sentence = f"the {entry.name} is cut off at the {_listed(sides)} end of the scan ({area:.0f} mm2)"
    return Check(f"{entry.name} edge", verdict, sentence, area, _EDGE_MM2, "mm2")


def _pieces(entry: LabelClass, pieces: Pieces, voxel_ml: float) -> Check:
    if pieces.count == 1:
        return Check(f"{entry.name} pieces", OK, f"the {entry.name} is in one piece", 0.0, _SECOND_PIECE)
    share = pieces.second / pieces.largest
    verdict = _SECOND_PIECE.verdict(share)
    sizes = f"the largest {_ml(pieces.largest * voxel_ml)}, the next {_ml(pieces.second * voxel_ml)}"
    sentence = f"the network found the {entry.name} in {pieces.count} pieces, {sizes}"
    if verdict == OK:
        sentence = f"the {entry.name} is in one piece apart from small fragments, {sizes}"
    return Check(f"{entry.name} pieces", verdict, sentence, share, _SECOND_PIECE)


def _holes(entry: LabelClass, voxels: int, pieces: Pieces, labels: Volume) -> Check:
    share = voxels / pieces.largest
    sentence = f"the {entry.name} has no holes"
    if voxels:
        sentence = f"the network left holes of {_ml(voxels * labels.voxel_volume_ml)} in the {entry.name} ({share:.1%})"
    return Check(f"{entry.name} holes", _HOLES.verdict(share), sentence, share, _HOLES)


def _confidence(entry: LabelClass, share: float, *, judged: bool) -> Check:
    sentence = f"the network is uncertain about {share:.0%} of the {entry.name} and its border"
    if not judged:
        return Check(f"{entry.name} confidence", None, sentence, share)
    return Check(f"{entry.name} confidence", _DOUBTFUL.verdict(share), sentence, share, _DOUBTFUL)


def _brightness(
    entry: LabelClass, organ: Organ, scan: Volume, labels: Volume, box: Box, coarse: Optional[float]
) -> List[Check]:
    size = float(np.prod([side.stop - side.start for side in box]))
    stride = max(1, int(np.ceil((size / _MOST_VOXELS) ** (1 / 3))))
    sample: Tuple[slice, ...] = tuple(slice(side.start, side.stop, stride) for side in box)
    values = scan.array[sample][labels.array[sample] == entry.value]
    if not values.size:  # thinner than the sampling step
        values = scan.array[box][labels.array[box] == entry.value]
    low, middle, high = (float(value) for value in np.percentile(values, (25, 50, 75)))
    spread, usual = (high - low, organ.spread_hu) if coarse is None else (coarse, organ.smoothed_spread_hu)
    median = f"the median inside the {entry.name} is {middle:.0f} HU"
    quartiles = f"half of the {entry.name}'s voxels are between {low:.0f} and {high:.0f} HU"
    verdict = None if organ.median_hu is None else organ.median_hu.verdict(middle)
    if verdict not in (OK, None):
        median += ", which is unusual for this organ: check that the scan is a CT in HU, and that this is the organ"
    evenness = None if usual is None else usual.verdict(spread)
    if evenness not in (OK, None):
        quartiles += ", " + ("no spread at all" if spread < 1 else "a spread that is unusual for this organ")
    return [
        Check(f"{entry.name} brightness", verdict, median, middle, organ.median_hu, "HU"),
        Check(f"{entry.name} spread", evenness, quartiles, spread, usual, "HU"),
    ]


def _range(low: Optional[float], high: Optional[float]) -> str:
    if low is None or high is None:
        return f"at least {low:.0f}" if low is not None else f"at most {high:.0f}"
    return f"{low:.0f} to {high:.0f}"


def _ml(value: float) -> str:
    return f"{value:.0f} ml" if value >= 1 else "less than 1 ml"


def _listed(words: List[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
