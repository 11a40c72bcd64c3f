"""The slices with the largest disagreement of prediction and reference, and their pictures."""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Tuple

import numpy as np

from ..metrics.bits import Box, bounding_box, union
from ..volume import Volume
from .palette import COMMON, EXTRA, MISSED, PREDICTION, REFERENCE, rgb
from .panel import Outline, outline, panel
from .scan import Backdrop

#: Number of slices per case, and their minimum distance if the organ is large enough.
SLICES, APART_MM = 3, 10.0
_MARGIN_MM = 20.0


class Slice(NamedTuple):
    """One axial slice.

    Attributes:
        z: its index in LPS order, 0 at the patient's feet.
        missed_mm2: area in the reference only.
        extra_mm2: area in the prediction only.
    """

    z: int
    missed_mm2: float
    extra_mm2: float

    @property
    def wrong_mm2(self) -> float:
        """Area of disagreement: in one of both only."""
        return self.missed_mm2 + self.extra_mm2


def worst_slices(prediction: np.ndarray, reference: np.ndarray, spacing: Tuple[float, float, float]) -> List[Slice]:
    """The three axial slices with the largest disagreement, at least 10 mm apart, largest first.

    If all slices agree completely, the middle one is shown.  If there are no three slices that far apart,
    the distance is halved until there are.

    Args:
        prediction: (z, y, x) bool in LPS order.
        reference: the same.
        spacing: (z, y, x) mm.
    """
    pixel = spacing[1] * spacing[2]
    found = []
    occupied = []
    for z, (one, other) in enumerate(zip(prediction, reference)):
        common = int(np.count_nonzero(one & other))
        extra, missed = int(np.count_nonzero(one)) - common, int(np.count_nonzero(other)) - common
        if common + extra + missed:
            occupied.append(z)
        if extra + missed:
            found.append(Slice(z, missed * pixel, extra * pixel))
    if not found:
        return [Slice(occupied[len(occupied) // 2], 0.0, 0.0)] if occupied else []
    found.sort(key=lambda entry: (-entry.wrong_mm2, entry.z))
    apart = APART_MM
    while True:
        chosen: List[Slice] = []
        for entry in found:
            if len(chosen) < SLICES and all(abs(entry.z - other.z) * spacing[0] >= apart for other in chosen):
                chosen.append(entry)
        if len(chosen) == min(SLICES, len(found)):
            return chosen
        apart = apart / 2 if apart > spacing[0] else 0.0


def slice_figures(
    prediction: np.ndarray, reference: np.ndarray, grid: Volume, backdrop: Optional[Backdrop]
) -> List[Tuple[str, str]]:
    """Pictures of the worst slices and their captions (HTML).

    Args:
        prediction: (z, y, x) bool in LPS order.
        reference: the same.
        grid: their geometry.
        backdrop: the scan, if there is one.
    """
    box = union(bounding_box(prediction), bounding_box(reference))
    if box is None:
        return []
    rows, columns = _view(box, grid)
    return [
        (_picture(entry, prediction, reference, grid, rows, columns, backdrop), _caption(entry, grid))
        for entry in worst_slices(prediction, reference, grid.spacing)
    ]


def _picture(
    entry: Slice,
    prediction: np.ndarray,
    reference: np.ndarray,
    grid: Volume,
    rows: slice,
    columns: slice,
    backdrop: Optional[Backdrop],
) -> str:
    one, other = prediction[entry.z, rows, columns], reference[entry.z, rows, columns]
    grey = backdrop.plane(entry.z, rows, columns) if backdrop is not None else None
    words = f"axial slice {entry.z + 1}, reference and prediction"
    size, letters = (grid.spacing[1], grid.spacing[2]), ("R", "L", "A", "P")
    if grey is not None:
        # The wider line is drawn first, so that both are visible where they agree.
        lines = [Outline(outline(other), REFERENCE, 2.8), Outline(outline(one), PREDICTION, 1.5)]
        return panel(grey, size, letters, words, outlines=lines, dark=True)
    pixels = np.full((*one.shape, 3), 255, np.uint8)
    for mask, colour in ((one & other, COMMON), (other & ~one, MISSED), (one & ~other, EXTRA)):
        pixels[mask] = rgb(colour)
    return panel(pixels, size, letters, words, smooth=False, framed=True)


def _caption(entry: Slice, grid: Volume) -> str:
    height = grid.origin[2] + grid.direction_matrix[2, 2] * grid.spacing[0] * entry.z
    place = f"{'S' if height >= 0 else 'I'} {abs(height):.1f} mm"
    wrong = f"missed {entry.missed_mm2 / 100:.1f} cm², too much {entry.extra_mm2 / 100:.1f} cm²"
    return f"<b>{place}</b>, slice {entry.z + 1} of {grid.shape[0]} from the feet<br>{wrong}"


def _view(box: Box, grid: Volume) -> Tuple[slice, slice]:
    """Rows and columns of the bounding box of both masks, with a margin."""
    sides = []
    for side, step, size in zip(box[1:], grid.spacing[1:], grid.shape[1:]):
        margin = int(np.ceil(_MARGIN_MM / step))
        sides.append(slice(max(0, side.start - margin), min(size, side.stop + margin)))
    return sides[0], sides[1]
