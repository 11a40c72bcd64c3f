"""The network's confidence: the fraction of uncertain voxels in and around an organ."""

from __future__ import annotations

from typing import Dict, List, Optional, Tuple

import numpy as np
from scipy import ndimage

from ..boxes import Box, bounding_box
from ..postprocessing import largest_component
from ..recipe import Recipe

#: Probabilities between these are uncertain.
DOUBTFUL = (0.2, 0.8)
#: An organ's blurred border is a few mm wide; uncertain voxels farther away belong to something else.
NEAR_MM = 8.0
# Number of voxels that suffices for the fraction; larger scans are sampled at every second, third, ... voxel.
_MOST_VOXELS = 3_000_000


def likely_organs(scores: np.ndarray) -> np.ndarray:
    """The most likely class of every voxel, only the largest piece of each.

    Args:
        scores: (classes, z, y, x) float32 probabilities, background first.

    Returns:
        (z, y, x) uint8 channel of `scores`, 0 is background.
    """
    best = np.empty(scores.shape[1:], np.uint8)
    for z, plane in enumerate(best):
        plane[...] = scores[:, z].argmax(axis=0)
    return largest_component(best)


def around(box: Box, spacing: Tuple[float, float, float]) -> Tuple[Box, List[int]]:
    """A box grown by what may belong to an organ's border, and by how many voxels along z, y and x."""
    reach = [max(1, round(NEAR_MM / step)) for step in spacing]
    z, y, x = (slice(max(0, side.start - steps), side.stop + steps) for side, steps in zip(box, reach))
    return (z, y, x), reach


def low_confidence(
    scores: np.ndarray, spacing: Tuple[float, float, float], recipe: Recipe, best: Optional[np.ndarray] = None
) -> Dict[int, float]:
    """The fraction of uncertain voxels of every class, from the network's own output.

    On the network's grid this takes almost no time, and no map on the scan's grid is needed.
    Only the largest piece of a class counts.

    Args:
        scores: (classes, z, y, x) float32 probabilities, background first.
        spacing: (z, y, x) mm between the voxels of `scores`.
        recipe: its classes name the channels.
        best: from :func:`likely_organs`, if it is known already.

    Returns:
        By label value, without classes that were not found.
    """
    best = likely_organs(scores) if best is None else best
    shares = {}
    for channel, entry in enumerate(recipe.classes, 1):
        share = low_confidence_share(scores[channel], best, spacing, channel)
        if share is not None:
            shares[entry.value] = share
    return shares


def low_confidence_share(
    probability: np.ndarray, labels: np.ndarray, spacing: Tuple[float, float, float], value: int = 1
) -> Optional[float]:
    """Number of uncertain voxels divided by all that may be the organ, inside it and within 8 mm of it.

    Args:
        probability: (z, y, x) of the organ.
        labels: (z, y, x) uint8 label map on the same grid.
        spacing: (z, y, x) mm.
        value: of the organ in `labels`.

    Returns:
        Voxels with a probability from 0.2 to 0.8 divided by those of at least 0.2; None without the organ.
    """
    box = bounding_box(labels)
    if box is None:
        return None
    grown, steps = around(box, spacing)
    size = float(np.prod([min(side.stop, n) - side.start for side, n in zip(grown, labels.shape)]))
    stride = max(1, int(np.ceil((size / _MOST_VOXELS) ** (1 / 3))))
    sample = tuple(slice(side.start, side.stop, stride) for side in grown)
    near = labels[sample] == value
    if not near.any():
        return None
    near = ndimage.maximum_filter(near.view(np.uint8), size=[2 * (reach // stride) + 1 for reach in steps]) > 0
    values = probability[sample][near]
    possible = int(np.count_nonzero(values >= DOUBTFUL[0]))
    doubtful = int(np.count_nonzero((values >= DOUBTFUL[0]) & (values <= DOUBTFUL[1])))
    return doubtful / possible if possible else None
