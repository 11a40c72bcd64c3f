"""Selecting labels of a segmentation for a command."""

from __future__ import annotations

from typing import Optional

import numpy as np

from ..evaluation.pair import side_in
from ..image_io import read_segments
from ..volume import Volume


def chosen_mask(path: str, label: Optional[str], threshold: Optional[float]) -> Volume:
    """A segmentation, or some of its labels, as a binary uint8 mask.

    Args:
        path: the segmentation's file.
        label: values or names, joined by +; None takes all labels.
        threshold: for a probability map.
    """
    volume = read_segments(path, threshold=threshold)
    mask = volume.array != 0
    if label is not None:
        side = side_in(path, volume)
        chosen = [segment for term in label.split("+") for segment in side.found(term.strip())]
        mask = np.isin(volume.array, [value for segment in chosen for value in segment.voxels])
    return volume.with_array(mask.astype(np.uint8))
