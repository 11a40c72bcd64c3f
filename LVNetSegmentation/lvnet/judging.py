"""Runs the self-check of a result on the network's output, on the network's own grid."""

from __future__ import annotations

from typing import Dict, Mapping, Tuple

import numpy as np

from .preprocessing import Prepared
from .quality import Expected
from .recipe import Recipe
from .selfcheck import Check, DoubtfulRegions, doubtful_regions, likely_organs, low_confidence, measure, self_check
from .volume import Volume

Measured = Mapping[int, Mapping[str, float]]


def judge(
    scan: Volume,
    labels: np.ndarray,
    found: np.ndarray,
    prepared: Prepared,
    scores: np.ndarray,
    spread: np.ndarray,
    recipe: Recipe,
) -> Tuple[Tuple[Check, ...], Measured, Mapping[int, Expected], DoubtfulRegions]:
    """Judges a result without a reference.

    Args:
        scan: in HU.
        labels: (z, y, x) uint8 on the scan's grid.
        found: the same before postprocessing.
        prepared: the scan on the network's grid.
        scores: (classes, z, y, x) probabilities over `prepared.array`.
        spread: (classes - 1, z, y, x) standard deviation of the probabilities between slabs.
        recipe: of the network.

    Returns:
        The checks; the results of :func:`lvnet.selfcheck.measure` by label value, empty for a recipe that normalises
        each scan separately, which loses the HU; the expected DICE by label value; and the doubtful regions.
    """
    steps, best = steps_of(scan, prepared), likely_organs(scores)
    measured = _measured(prepared, scores, spread, recipe, steps)
    quality = recipe.quality
    likely = quality.expect(measured.get(quality.value, {})) if quality is not None else None
    expected = {quality.value: likely} if quality is not None and likely is not None else {}
    checks = self_check(
        scan,
        scan.with_array(labels),
        None,
        recipe,
        before_postprocessing=found,
        low_confidence=low_confidence(scores, steps, recipe, best),
        expected=expected,
        measured=measured,
    )
    values = tuple(entry.value for entry in recipe.classes)
    return tuple(checks), measured, expected, doubtful_regions(scan, prepared, scores, values, steps, best)


def steps_of(scan: Volume, prepared: Prepared) -> Tuple[float, float, float]:
    """(z, y, x) mm between the voxels of the network's grid."""
    steps = [scan.spacing[axis] * along.ratio for axis, along in zip(prepared.orientation.axes, prepared.axes)]
    return steps[0], steps[1], steps[2]


def _measured(
    prepared: Prepared,
    scores: np.ndarray,
    spread: np.ndarray,
    recipe: Recipe,
    steps: Tuple[float, float, float],
) -> Dict[int, Mapping[str, float]]:
    settings = recipe.preprocessing
    if settings.mean is None or settings.std is None:
        return {}
    image = prepared.array * np.float32(settings.std) + np.float32(settings.mean)
    return {
        entry.value: measure(scores[channel], spread[channel - 1], image, steps)
        for channel, entry in enumerate(recipe.classes, 1)
    }
