"""Features of a segmentation that are measured without a reference, to estimate its DICE."""

from __future__ import annotations

from typing import Dict, Optional, Tuple

import numpy as np
from scipy import ndimage

from ..boxes import bounding_box
from ..postprocessing import largest_component
from .confidence import around, low_confidence_share

# HU difference from the organ's median, at the network's voxel size, that means another tissue or a lesion.
_TAIL_HU = 35.0
#: HU above the window's floor from which a voxel counts as body.
_BODY_ABOVE_FLOOR = 15.0


def measure(
    probability: np.ndarray, spread: Optional[np.ndarray], image: np.ndarray, spacing: Tuple[float, float, float]
) -> Dict[str, float]:
    """Features of one organ on the network's grid; see :data:`lvnet.quality.FEATURES`.

    Args:
        probability: (z, y, x) of the organ.
        spread: (z, y, x) standard deviation of that probability between overlapping slabs; None if not known.
        image: (z, y, x) windowed HU.
        spacing: (z, y, x) mm.

    Returns:
        By name; empty if the organ was not found.

        - doubtful: fraction of voxels with a probability from 0.2 to 0.8, as :func:`low_confidence_share`.
        - soft_loss: 1 - DICE between the probability and its own thresholded mask.
        - disagreement: sum of `spread` divided by twice the organ's voxels.
        - dark_tail, bright_tail: fraction of the organ's inner voxels 35 HU darker or brighter than its median.
        - spread: interquartile range of HU.
        - roughness: area of the voxels' outer faces divided by the volume to the power of 2/3.
        - size: logarithm of the volume divided by the body's cross-section at its level to the power of 3/2.
        - crumbs: volume of all pieces except the largest, divided by that of the largest.
    """
    raw = (probability > 0.5).view(np.uint8)
    whole = int(np.count_nonzero(raw))
    organ = largest_component(raw)
    box = bounding_box(organ)
    if box is None:
        return {}
    near, _ = around(box, spacing)
    p, mask, hu = probability[near], organ[near] > 0, image[near]
    count = int(np.count_nonzero(mask))
    result = {
        "doubtful": low_confidence_share(probability, organ, spacing) or 0.0,
        "soft_loss": 1.0 - 2.0 * float(p[mask].sum()) / (float(p.sum()) + count),
        "crumbs": whole / count - 1.0,
        "roughness": _faces_mm2(mask, spacing) / (count * float(np.prod(spacing))) ** (2 / 3),
        "size": _size(organ, box, image, spacing),
    }
    if spread is not None:
        result["disagreement"] = float(spread[near].sum()) / (2.0 * count)
    inner = ndimage.binary_erosion(mask)
    values = hu[inner if inner.any() else mask]
    low, middle, high = np.percentile(values, (25, 50, 75))
    result["spread"] = float(high - low)
    result["dark_tail"] = float(np.mean(values < middle - _TAIL_HU))
    result["bright_tail"] = float(np.mean(values > middle + _TAIL_HU))
    return result


def _faces_mm2(mask: np.ndarray, spacing: Tuple[float, float, float]) -> float:
    """Area of the faces between organ and background voxels."""
    area = 0.0
    for axis, step in enumerate(spacing):
        face = float(np.prod(spacing)) / step
        area += face * float(np.count_nonzero(np.diff(mask.view(np.int8), axis=axis)))
    return area


def _size(
    organ: np.ndarray, box: Tuple[slice, slice, slice], image: np.ndarray, spacing: Tuple[float, float, float]
) -> float:
    levels = image[box[0]]
    body = np.count_nonzero(levels > image.min() + _BODY_ABOVE_FLOOR) / len(levels) * spacing[1] * spacing[2]
    volume = np.count_nonzero(organ) * float(np.prod(spacing))
    return float(np.log(volume / max(body, 1.0) ** 1.5))
