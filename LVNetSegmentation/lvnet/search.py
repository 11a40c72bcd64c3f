"""Where an organ can be: found by the network itself on a coarse grid, so that the rest is not computed.

A whole body has six times the voxels of an abdomen, and the liver lies in a tenth of it.  On the coarse grid that a
recipe names (`search_spacing`), with slabs that do not overlap, the network takes about a sixth of the time; it is too
rough for a border there, but says where there is nothing.  What lies near anything that it holds possible is then
computed as ever: the slabs are those that would be computed of the whole scan, so that the result is the same.

Whatever is doubtful makes the whole scan be computed: an organ that was not found on the coarse grid, or is small
there, one that turns out to reach the edge of what was computed, and one of which the network is unsure.
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

# A probability on the coarse grid from which on the organ is held possible.
_POSSIBLE = 0.1
# Around what is possible: what the coarse grid may have missed at the border.
_MARGIN_MM = 20.0
# The network sees so far into what lies beside, in the plane: voxels that are computed beyond the margin.
_CONTEXT = 8
# Less than this on the coarse grid may as well be something else, and the organ somewhere else.
_LEAST_ML = 150.0
# Share of doubtful voxels, of the organ on the network's grid, from which on there may be pieces that the coarse grid
# did not show: nearly all results with a DICE of 0.94 or more have less than 0.12, see
# lvnet.selfcheck.
_UNSURE = 0.15
# Of fewer slabs the pass saves less than it costs.
_FEWEST_SLABS = 6


@dataclass(frozen=True)
class Part:
    """What of a scan is computed, on the network's grid.

    Attributes:
        slices: from the first of the first slab to the last of the last.
        starts: first slices of the slabs that are computed, counted from the first of `slices`.
        plane: (y, x) that can hold the organ, with its margin.
    """

    slices: slice
    starts: Tuple[int, ...]
    plane: Tuple[slice, slice]

    def over(self, prepared: Prepared, divisor: int) -> Selection:
        """The same over `prepared.array`, with what the network sees around it, in steps that it can halve."""
        sides = []
        for side, box in zip(self.plane, prepared.box[1:]):
            size = box.stop - box.start
            seen = slice(side.start - _CONTEXT - box.start, side.stop + _CONTEXT - box.start)
            chosen = aligned(seen, divisor, size)
            # What lies beside the body of these slices is no organ, but all that there is to go by.
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
    """Looks for the organs of a recipe on its coarse grid.

    Args:
        scan: in HU, any orientation.
        model: the network.
        overlap: of the slabs that will be computed.
        progress: called with the share that is done.
        cancelled: asked before every slab.
        notes: gets what had to be done otherwise because memory ran short.

    Returns:
        What has to be computed; None: the whole scan, because that costs little, or to be safe.

    Raises:
        DeviceError: there is too little memory.
        Cancelled: `cancelled` answered True.
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
    """Whether something was found where the computed part ends and the scan goes on.

    Args:
        selection: what of `prepared.array` was computed.
        scores: (classes, z, y, x) probabilities over `prepared.array`.
    """
    found = bounding_box(scores[0] < 0.5)
    if found is None:
        return False
    z, shape = prepared.box[0], scores.shape[1:]
    computed = (slice(0, shape[0]), selection.rows, selection.columns)
    # Beyond the array's slices the scan may go on, beyond its rows and columns there is air.
    goes_on = [(z.start > 0, z.stop < prepared.axes[0].new_size)]
    goes_on += [(side.start > 0, side.stop < size) for side, size in zip(computed[1:], shape[1:])]
    return any(
        (before and side.start <= part.start) or (behind and side.stop >= part.stop)
        for side, part, (before, behind) in zip(found, computed, goes_on)
    )


def is_unsure(scores: np.ndarray, steps: Tuple[float, float, float], recipe: Recipe) -> bool:
    """Whether the network is unsure about much of an organ that it found.

    Args:
        scores: (classes, z, y, x) probabilities.
        steps: (z, y, x) mm between their voxels.
        recipe: its classes name the channels.
    """
    return any(share > _UNSURE for share in low_confidence(scores, steps, recipe).values())


def _thinned(volume: Volume, steps: Tuple[float, float, float]) -> Volume:
    """Every second, third, ... voxel of a canonical volume: two at least for each of the coarse grid."""
    strides = [max(1, int(step / (2 * here))) for step, here in zip(steps, volume.spacing)]
    spacing = tuple(stride * here for stride, here in zip(strides, volume.spacing))
    array = volume.array[tuple(slice(None, None, stride) for stride in strides)]
    return replace(volume, array=array, spacing=(spacing[0], spacing[1], spacing[2]))


def _possible(scores: np.ndarray, steps: Tuple[float, float, float]) -> Optional[Box]:
    """The box of all that may be an organ; None where an organ is missing or small."""
    least = _LEAST_ML * 1000.0 / float(np.prod(steps))
    for channel in range(1, len(scores)):
        if np.count_nonzero(largest_component((scores[channel] > 0.5).view(np.uint8))) < least:
            return None
    return bounding_box(scores[0] < 1 - _POSSIBLE)


def _on(axis: Axis, mm: float, rough: Tuple[Axis, float], side: slice) -> slice:
    """Voxels of the network's grid for voxels of the coarse grid, with the margin.

    Args:
        axis: from the scan to the network's grid.
        mm: between the scan's voxels.
        rough: from every few voxels of the scan to the coarse grid, and the mm between the former.
        side: on the coarse grid.
    """
    coarse, thin_mm = rough
    # Both resamplings keep the middle; that of every few voxels is a little before that of all.
    shift = 0.5 * ((coarse.size - 1) * thin_mm - (axis.size - 1) * mm)
    step = axis.ratio * mm

    def place(edge: float) -> float:
        return ((edge - 0.5 * coarse.new_size) * coarse.ratio * thin_mm + shift) / step + 0.5 * axis.new_size

    margin = _MARGIN_MM / step
    low, high = place(side.start) - margin, place(side.stop) + margin
    return slice(max(0, int(np.floor(low))), min(axis.new_size, int(np.ceil(high))))
