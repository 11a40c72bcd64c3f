"""Connected components (pieces) and holes of an organ in a label map, as defined in postprocessing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np
from scipy import ndimage

from ..boxes import Box
from ..postprocessing import components, gaps_of


@dataclass(frozen=True)
class Pieces:
    """The 6-connected components of one class.

    Attributes:
        count: of pieces.
        largest: voxels of the largest one.
        second: voxels of the next one, 0 if there is none.
        box: bounding box of the largest one; None if there is none.
    """

    count: int
    largest: int
    second: int
    box: Optional[Box]


def pieces_of(labels: np.ndarray, value: int, box: Optional[Box]) -> Pieces:
    """Counts and measures the pieces of a class.

    Args:
        labels: (z, y, x) uint8.
        value: of the class.
        box: bounding box of all its voxels; None if there are none.
    """
    if box is None:
        return Pieces(0, 0, 0, None)
    found, voxels = components(labels[box] == value)
    order = np.argsort(-voxels, kind="stable")
    largest = ndimage.find_objects(found)[order[0]]
    z, y, x = (slice(side.start + part.start, side.start + part.stop) for side, part in zip(box, largest))
    second = int(voxels[order[1]]) if len(voxels) > 1 else 0
    return Pieces(len(voxels), int(voxels[order[0]]), second, (z, y, x))


def holes_of(labels: np.ndarray, value: int, pieces: Pieces, *, alone: bool) -> int:
    """Background voxels that a class encloses, in the box of its largest piece.

    Enclosed voxels of other classes, such as a tumour in the liver, do not count as holes.

    Args:
        labels: (z, y, x) uint8.
        value: of the class.
        pieces: of the class.
        alone: whether no other class can occur, which saves a search.
    """
    if pieces.box is None:
        return 0
    crop = labels[pieces.box]
    gaps, enclosed = gaps_of(crop, value)
    if not enclosed.any():
        return 0
    inside = (enclosed[gap] if alone else enclosed[gap] & (plane == 0) for gap, plane in zip(gaps, crop))
    return sum(int(np.count_nonzero(part)) for part in inside)
