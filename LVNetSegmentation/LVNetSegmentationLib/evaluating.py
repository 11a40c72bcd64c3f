"""Comparing what lies in the scene: a segmentation with a reference."""

from __future__ import annotations

from itertools import product
from typing import Any, Dict, Optional, Union

import numpy as np
from lvnet.errors import ImageError
from lvnet.metrics.bits import bounding_box
from lvnet.metrics.presets import preset_named
from lvnet.volume import Volume

from .masks import Mask, maskOf

_MOST_VOXELS = 2_000_000_000


def evaluateNodes(
    segmentation: Any,
    reference: Any,
    segment: Optional[Union[str, int]] = None,
    referenceSegment: Optional[Union[str, int]] = None,
    preset: str = "lits",
    resample: bool = True,
) -> Dict[str, Any]:
    """The metrics of two masks where they lie in the world; the scene is not changed.

    Args:
        segmentation, reference, segment, referenceSegment, preset, resample: as the logic's
            method `evaluate` has them.

    Returns:
        What `lvnet.evaluate` gives for one label, and `segment` and `reference_segment`, the names.

    Raises:
        LVNetError: the two cannot be compared.
    """
    from lvnet.evaluation import evaluate

    preset_named(preset)
    one = maskOf(segmentation, segment, resample=resample)
    other = maskOf(reference, referenceSegment, like=one.name, resample=resample)
    return resultOf(one, other, evaluate(covering(one, other), other.volume, preset=preset, resample=resample))


def resultOf(one: Mask, other: Mask, metrics: Dict[str, Any]) -> Dict[str, Any]:
    """What :func:`evaluateNodes` gives, of what `lvnet.evaluate` gave."""
    metrics = dict(metrics)
    notes = [*one.notes, *other.notes, *metrics.pop("notes", [])]
    if notes:
        metrics["notes"] = notes
    return {"segment": one.name, "reference_segment": other.name, **metrics}


def covering(one: Mask, other: Mask) -> Volume:
    """The first mask on its own grid, made wider where the second one would stick out of it.

    What lies outside the grid of a segmentation would otherwise not count as missed.
    """
    volume, reference = one.volume, other.volume
    box = bounding_box(reference.array)
    if box is None or volume.same_grid(reference):
        return volume
    to_index = np.linalg.inv(_indexToWorld(volume)) @ _indexToWorld(reference)
    sides = [(side.start - 0.5, side.stop - 0.5) for side in reversed(box)]  # x, y, z
    corners = np.array([(*corner, 1.0) for corner in product(*sides)]).T
    places = (to_index @ corners)[:3]
    # A rim of one voxel, so that a surface at the border is none of the image.
    low = np.floor(places.min(axis=1)).astype(int) - 1
    high = np.ceil(places.max(axis=1)).astype(int) + 1
    size = np.array(volume.shape[::-1])
    inside = (places.min(axis=1) >= -0.51).all() and (places.max(axis=1) <= size - 0.49).all()
    if inside:
        return volume
    before, after = np.maximum(0, -low), np.maximum(0, high - size + 1)
    if float(np.prod((size + before + after).astype(float))) > _MOST_VOXELS:
        raise ImageError("the two masks lie too far apart to be compared; are they of one scan?")
    pad = [(int(before[axis]), int(after[axis])) for axis in (2, 1, 0)]
    moved = _indexToWorld(volume) @ np.array([*(-before.astype(float)), 1.0])
    origin = tuple(float(part) for part in moved[:3])
    return Volume(np.pad(volume.array, pad), volume.spacing, origin, volume.direction, volume.name, volume.notes)


def _indexToWorld(volume: Volume) -> np.ndarray:
    """(4, 4) from (x, y, z) indices to LPS."""
    matrix = np.eye(4)
    matrix[:3, :3] = volume.direction_matrix * np.asarray(volume.spacing[::-1])
    matrix[:3, 3] = volume.origin
    return matrix
