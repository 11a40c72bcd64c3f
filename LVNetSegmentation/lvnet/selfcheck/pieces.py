"""Connected components (pieces) and holes of an organ in a label map, as defined in postprocessing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np

from ..metrics.bits import Box
from ..postprocessing import _at_faces, _components, _runs


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
    runs = _runs(labels[box], value, inside=True)
    component = _components(runs)
    sizes = np.bincount(component, weights=runs.ends - runs.starts)
    order = np.argsort(-sizes, kind="stable")
    mine = component == order[0]
    z, y = np.divmod(runs.rows[mine], runs.plane_rows)
    ends = (z.min(), z.max() + 1), (y.min(), y.max() + 1), (runs.starts[mine].min(), runs.ends[mine].max())
    sides = [slice(side.start + int(a), side.start + int(b)) for side, (a, b) in zip(box, ends)]
    second = int(sizes[order[1]]) if len(sizes) > 1 else 0
    return Pieces(len(sizes), int(sizes[order[0]]), second, (sides[0], sides[1], sides[2]))


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
    runs = _runs(crop, value, inside=False)
    if not runs.rows.size:
        return 0
    component = _components(runs)
    is_open = np.zeros(component.max() + 1, bool)
    is_open[component[_at_faces(runs, crop.shape)]] = True
    enclosed = ~is_open[component]
    if alone:
        return int((runs.ends - runs.starts)[enclosed].sum())
    holes = 0
    for row, start, end in zip(runs.rows[enclosed], runs.starts[enclosed], runs.ends[enclosed]):
        z, y = divmod(int(row), runs.plane_rows)
        holes += int(np.count_nonzero(crop[z, y, start:end] == 0))
    return holes
