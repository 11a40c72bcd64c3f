"""The surface area at a corner between eight voxels (surface element, surfel).

A corner is surrounded by eight voxel centres, the corners of a cell.  Marching cubes draws the
surface between those inside the mask and those outside through the midpoints of the cell's edges.
The areas of all 256 patterns follow from these rules, without a table:

- every face of the cell is crossed by lines between the midpoints of edges whose ends differ;
- if a face has four such edges, the lines cut off the corners of the kind (inside or outside)
  that is less frequent in the cell;
- the lines form closed outlines, and each outline is split into a fan of triangles, from the
  vertex that gives the fan the largest area in a cubic cell.

A pattern and its complement thus have the same area.  It is the surface that the package
surface-distance (Nikolov et al.) tabulates.
"""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Dict, List, Sequence, Tuple

import numpy as np

Point = Tuple[float, ...]

#: (z, y, x) of the cell's corners, counted towards the image's origin; corner i is bit i of a code.
CORNERS = tuple(itertools.product((0, 1), repeat=3))


def areas_by_code(spacing: Sequence[float]) -> np.ndarray:
    """(256,) float64 surface area in mm2 in a cell, by the pattern of its corners.

    Args:
        spacing: (z, y, x) mm.
    """
    cell, first, second = _triangles()
    sides = np.asarray(spacing, np.float64)
    double = np.linalg.norm(np.cross(first * sides, second * sides), axis=1)
    return np.bincount(cell, weights=double / 2, minlength=256)


@lru_cache(maxsize=1)
def _triangles() -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For every triangle of every pattern: the code, and two sides (n, 3) in cells."""
    codes: List[int] = []
    triangles: List[np.ndarray] = []
    for code in range(1, 255):
        for outline in _outlines(code):
            fan = max(_fans(np.array(outline)), key=_rounded_area)
            codes.extend([code] * len(fan))
            triangles.extend(fan)
    vertices = np.array(triangles)
    return np.array(codes), vertices[:, 1] - vertices[:, 0], vertices[:, 2] - vertices[:, 0]


def _outlines(code: int) -> List[List[Point]]:
    inside = {corner: bool(code >> bit & 1) for bit, corner in enumerate(CORNERS)}
    rare = sum(inside.values()) <= 4
    joined: Dict[Point, List[Point]] = {}
    for axis, side in itertools.product(range(3), (0, 1)):
        for one, other in _lines_on_face([c[:axis] + (side,) + c[axis:] for c in _SQUARE], inside, rare):
            joined.setdefault(one, []).append(other)
            joined.setdefault(other, []).append(one)
    outlines = []
    while joined:
        outline = [next(iter(joined))]
        ahead = joined.pop(outline[0])[0]
        while ahead in joined:
            outline.append(ahead)
            one, other = joined.pop(ahead)
            ahead = one if one in joined else other
        outlines.append(outline)
    return outlines


_SQUARE = ((0, 0), (0, 1), (1, 1), (1, 0))


def _lines_on_face(
    square: Sequence[Tuple[int, ...]], inside: Dict[Tuple[int, ...], bool], rare: bool
) -> List[Tuple[Point, Point]]:
    """Lines across one face between the midpoints of its edges; edge i leads to corner i."""
    middles = [tuple((a + b) / 2 for a, b in zip(square[i - 1], square[i])) for i in range(4)]
    crossed = [i for i in range(4) if inside[square[i - 1]] != inside[square[i]]]
    if len(crossed) == 2:
        return [(middles[crossed[0]], middles[crossed[1]])]
    if len(crossed) == 4:
        return [(middles[i], middles[(i + 1) % 4]) for i in range(4) if inside[square[i]] == rare]
    return []


def _fans(outline: np.ndarray) -> List[List[np.ndarray]]:
    size = len(outline)
    turned = [np.roll(outline, -start, axis=0) for start in range(size)]
    return [[ring[[0, i, i + 1]] for i in range(1, size - 1)] for ring in turned]


def _rounded_area(triangles: List[np.ndarray]) -> float:
    # Rounded, so that equal fans stay equal and the first of them wins on every computer.
    return round(sum(float(np.linalg.norm(np.cross(b - a, c - a))) for a, b, c in triangles), 9)
