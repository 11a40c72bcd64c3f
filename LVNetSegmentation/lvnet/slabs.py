"""Runs the network on a scan, slab by slab."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, List, Optional, Tuple

import numpy as np

from .blending import handed_over
from .memory import Computing
from .pipeline.options import SegmentOptions, check_setting
from .progress import CancelCheck, never_cancelled, raise_if_cancelled

if TYPE_CHECKING:
    from .inference import Model


@dataclass(frozen=True)
class Selection:
    """The part of an array that is computed.

    Attributes:
        starts: first slices of the slabs.
        rows, columns: the computed range of each slice.
    """

    starts: Tuple[int, ...]
    rows: slice
    columns: slice


def slab_starts(length: int, depth: int, overlap: float) -> List[int]:
    """First slices of slabs that cover `length` slices evenly with at least `overlap`.

    Raises:
        ConfigurationError: the overlap is not between 0 and 0.9.
    """
    check_setting("overlap", overlap)
    if length <= depth:
        return [0]
    step = max(1, int(depth * (1 - overlap)))
    count = int(np.ceil((length - depth) / step)) + 1
    return [round(i * (length - depth) / (count - 1)) for i in range(count)]


def slab_weights(depth: int) -> np.ndarray:
    """(depth,) float32 weights of a slab's slices: a smooth bump, so that no seams are visible.

    Slices in the middle of a slab have context on both sides; those at its ends get a small weight,
    but not zero, since the first and last slices of a scan belong to one slab only.
    """
    places = (np.arange(depth) + 0.5) / depth
    return (0.02 + 0.98 * np.sin(np.pi * places) ** 2).astype(np.float32)


def predict(
    array: np.ndarray,
    model: Model,
    overlap: float = SegmentOptions.overlap,
    progress: Optional[Callable[[float], None]] = None,
    cancelled: CancelCheck = never_cancelled,
    notes: Optional[List[str]] = None,
    spread: Optional[np.ndarray] = None,
    selection: Optional[Selection] = None,
) -> np.ndarray:
    """Class probabilities of normalised voxels.

    Args:
        array: (z, y, x) float32 on the network's grid; rows and columns are padded at their ends to a multiple of
            the network's divisor.
        model: the network.
        overlap: of neighbouring slabs.
        progress: called with the fraction done.
        cancelled: called before every slab.
        notes: receives sentences about fallbacks if memory runs short.
        spread: (classes - 1, z, y, x) float32 zeros; receives the standard deviation, between the slabs that cover
            a voxel, of the probability of every class but background.
        selection: the part to compute; None computes everything.

    Returns:
        (classes, z, y, x) float32 that sums to one over the classes; voxels that are not computed are background.

    Raises:
        DeviceError: there is too little memory, see :mod:`lvnet.memory`.
    """
    import torch

    depth, divisor = model.recipe.preprocessing.slab_depth, model.recipe.architecture.divisor
    if selection is None:
        starts = slab_starts(max(len(array), depth), depth, overlap)
        selection = Selection(tuple(starts), slice(0, array.shape[1]), slice(0, array.shape[2]))
    rows, columns = selection.rows, selection.columns
    seen = array[:, rows, columns]
    length, height, width = seen.shape
    # Padding repeats the border: the body usually continues beyond the end of a scan.
    pad = (max(0, depth - length), -height % divisor, -width % divisor)
    above = pad[0] // 2
    padded = np.pad(seen, [(above, pad[0] - above), (0, pad[1]), (0, pad[2])], mode="edge")
    result = np.zeros((model.recipe.architecture.classes, *array.shape), np.float32)
    squares = None if spread is None else spread[:, :, rows, columns]
    compute = Computing(model)
    with torch.inference_mode():
        voxels, blend = handed_over(padded, result[:, :, rows, columns], squares, slab_weights(depth), model.device)
        for number, start in enumerate(selection.starts):
            raise_if_cancelled(cancelled)
            found = compute.tensor(voxels[start : start + depth])
            # Slices added by padding are dropped.
            first, last = max(0, start - above), min(length, start - above + depth)
            blend = blend.add(found, slice(first, last), slice(first - start + above, last - start + above))
            if progress is not None:
                progress((number + 1) / len(selection.starts))
        computed = blend.finish()
    if spread is not None:
        np.sqrt(np.maximum(spread, 0, out=spread), out=spread)
    background = np.ones(array.shape, bool)
    background[computed, rows, columns] = False
    result[0][background] = 1.0
    if notes is not None:
        notes += [note for note in compute.notes if note not in notes]
    return result
