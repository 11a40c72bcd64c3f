"""Locates an organ with the network itself on a coarse grid, so that the rest of the scan need not be computed.

A whole-body scan has six times the voxels of an abdomen, and the liver takes up a tenth of it.  On the coarse grid of
the recipe (`search_spacing`), with slabs that do not overlap, the network takes about a sixth of the time; this is too
coarse for the organ's border, but shows where there is nothing.  Only slabs near possible organ voxels are then
computed as usual; they are the same slabs as for the whole scan, so that the result is the same.

In case of doubt the whole scan is computed: if an organ was not found on the coarse grid, or is small there, if it
turns out to reach the edge of the computed part, or if the network is unsure about it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Callable, List, Optional, Tuple

import numpy as np

from .boxes import Box, bounding_box
from .orientation import to_canonical
from .postprocessing import largest_component
from .preprocessing import Prepared, aligned, network_axes, prepare
from .progress import CancelCheck, never_cancelled
from .recipe import Recipe
from .resampling import Axis
from .selfcheck import low_confidence
from .slabs import Selection, predict, slab_starts
from .volume import Volume

if TYPE_CHECKING:
    from .inference import Model

# Probability on the coarse grid from which the organ is considered possible.
_POSSIBLE = 0.1
# Margin around possible voxels, since the coarse grid may miss parts of the border.
_MARGIN_MM = 20.0
# In-plane context of the network: voxels that are computed beyond the margin.
_CONTEXT = 8
# A smaller volume on the coarse grid may be something else, with the organ elsewhere.
_LEAST_ML = 150.0
# Fraction of the organ's voxels on the network's grid that are uncertain, from which there may be pieces that the
# coarse grid did not show: nearly all results with a DICE of 0.94 or more have less than 0.12, see lvnet.selfcheck.
_UNSURE = 0.15
# With fewer slabs the search costs more time than it saves.
_FEWEST_SLABS = 6


@dataclass(frozen=True)
class Part:
    """The part of a scan that is computed, on the network's grid.

    Attributes:
        slices: from the start of the first slab to the end of the last.
        starts: first slices of the slabs that are computed, relative to the start of `slices`.
        plane: (y, x) region that can contain the organ, including the margin.
    """

    slices: slice
    starts: Tuple[int, ...]
    plane: Tuple[slice, slice]

    def over(self, prepared: Prepared, divisor: int) -> Selection:
        """The part in indices of `prepared.array`, with the network's context, in multiples of its divisor."""
        sides = []
        for side, box in zip(self.plane, prepared.box[1:]):
            size = box.stop - box.start
            seen = slice(side.start - _CONTEXT - box.start, side.stop + _CONTEXT - box.start)
            chosen = aligned(seen, divisor, size)
            # If the region is entirely outside the body's box, the whole box is computed.
            sides.append(chosen if chosen.start < chosen.stop else slice(0, size))
        return Selection(self.starts, sides[0], sides[1])


def find_part(
    scan: Volume,
    model: Model,
    overlap: float,
    progress: Optional[Callable[[float], None]] = None,
    cancelled: CancelCheck = never_cancelled,
    notes: Optional[List[str]] = None,
) -> Optional[Part]:
    """Locates the organs of a recipe on its coarse grid.

    Args:
        scan: in HU, any orientation.
        model: the network.
        overlap: of the slabs that will be computed.
        progress: called with the fraction done.
        cancelled: called before every slab.
        notes: receives sentences about fallbacks if memory runs short.

    Returns:
        The part to compute; None for the whole scan, because it is small or to be safe.

    Raises:
        DeviceError: there is too little memory.
        Cancelled: `cancelled` returned True.
    """
    settings = model.recipe.preprocessing
    if settings.search_spacing is None:
        return None
    canonical, _ = to_canonical(scan)
    axes = network_axes(canonical, settings)
    starts = slab_starts(axes[0].new_size, settings.slab_depth, overlap)
    if len(starts) < _FEWEST_SLABS:
        return None
    steps = settings.search_spacing
    thin = _thinned(canonical, steps)
    coarse = replace(settings, slice_spacing=steps[0], in_plane_spacing=steps[1:], search_spacing=None)
    divisor = model.recipe.architecture.divisor
    prepared = prepare(thin, coarse, cancelled, multiple=divisor)
    rough = replace(model, recipe=replace(model.recipe, preprocessing=coarse))
    scores = predict(prepared.array, rough, 0.0, progress, cancelled, notes)
    found = _possible(scores, steps)
    if found is None:
        return None
    z, y, x = (
        _on(axis, here, rough, slice(side.start + box.start, side.stop + box.start))
        for axis, here, rough, side, box in zip(
            axes, canonical.spacing, zip(prepared.axes, thin.spacing), found, prepared.box
        )
    )
    needed = [start for start in starts if start < z.stop and start + settings.slab_depth > z.start]
    slices = slice(needed[0], min(needed[-1] + settings.slab_depth, axes[0].new_size))
    return Part(slices, tuple(start - needed[0] for start in needed), (y, x))


def reaches_out(selection: Selection, prepared: Prepared, scores: np.ndarray) -> bool:
    """Whether an organ touches an edge of the computed part beyond which the scan continues.

    Args:
        selection: the computed part of `prepared.array`.
        scores: (classes, z, y, x) probabilities over `prepared.array`.
    """
    found = bounding_box(scores[0] < 0.5)
    if found is None:
        return False
    z, shape = prepared.box[0], scores.shape[1:]
    computed = (slice(0, shape[0]), selection.rows, selection.columns)
    # The scan may continue beyond the array's slices; beyond its rows and columns there is only air.
    goes_on = [(z.start > 0, z.stop < prepared.axes[0].new_size)]
    goes_on += [(side.start > 0, side.stop < size) for side, size in zip(computed[1:], shape[1:])]
    return any(
        (before and side.start <= part.start) or (behind and side.stop >= part.stop)
        for side, part, (before, behind) in zip(found, computed, goes_on)
    )


def is_unsure(scores: np.ndarray, steps: Tuple[float, float, float], recipe: Recipe) -> bool:
    """Whether the network is unsure about a large fraction of an organ that it found.

    Args:
        scores: (classes, z, y, x) probabilities.
        steps: (z, y, x) mm between their voxels.
        recipe: its classes name the channels.
    """
    return any(share > _UNSURE for share in low_confidence(scores, steps, recipe).values())


def _thinned(volume: Volume, steps: Tuple[float, float, float]) -> Volume:
    """Every n-th voxel of a canonical volume, keeping at least two for each voxel of the coarse grid."""
    strides = [max(1, int(step / (2 * here))) for step, here in zip(steps, volume.spacing)]
    spacing = tuple(stride * here for stride, here in zip(strides, volume.spacing))
    array = volume.array[tuple(slice(None, None, stride) for stride in strides)]
    return replace(volume, array=array, spacing=(spacing[0], spacing[1], spacing[2]))


def _possible(scores: np.ndarray, steps: Tuple[float, float, float]) -> Optional[Box]:
    """Bounding box of all voxels that may be an organ; None if an organ is missing or small."""
    least = _LEAST_ML * 1000.0 / float(np.prod(steps))
    for channel in range(1, len(scores)):
        if np.count_nonzero(largest_component((scores[channel] > 0.5).view(np.uint8))) < least:
            return None
    return bounding_box(scores[0] < 1 - _POSSIBLE)


def _on(axis: Axis, mm: float, rough: Tuple[Axis, float], side: slice) -> slice:
    """Converts a range of the coarse grid to the network's grid and adds the margin.

    Args:
        axis: from the scan to the network's grid.
        mm: spacing of the scan's voxels.
        rough: from the thinned scan to the coarse grid, and the spacing of the thinned scan in mm.
        side: range on the coarse grid.
    """
    coarse, thin_mm = rough
    # Both resamplings keep the centre of their input; the thinned scan's centre lies a little before the scan's.
    shift = 0.5 * ((coarse.size - 1) * thin_mm - (axis.size - 1) * mm)
    step = axis.ratio * mm

    def place(edge: float) -> float:
        return ((edge - 0.5 * coarse.new_size) * coarse.ratio * thin_mm + shift) / step + 0.5 * axis.new_size

    margin = _MARGIN_MM / step
    low, high = place(side.start) - margin, place(side.stop) + margin
    return slice(max(0, int(np.floor(low))), min(axis.new_size, int(np.ceil(high))))
