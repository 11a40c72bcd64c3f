"""Exact distances from the points of one surface to the nearest point of another.

Nearly all points of two similar livers are a few voxels apart.  Their nearest points are found by
searching neighbours in order of distance: the first that belongs to the other surface is the
nearest.  The remaining points (far islands, gross errors) are looked up in a k-d tree.
"""

from __future__ import annotations

from typing import Iterator, List, Sequence, Tuple

import numpy as np

from .bits import Lattice

#: Neighbours are searched up to about this many voxels away.
_REACH = 8
#: The search is abandoned when this many neighbours resolve less than a tenth of the remaining points:
#: the tree is then faster.
_PATIENCE = 64
#: Number of positions that are looked up at a time; bounds the memory.
_PIECE = 16_000_000


def reach_for(spacing: Sequence[float]) -> Tuple[int, int, int]:
    """(z, y, x) radius of the search in voxels, about equally far in mm."""
    radius = _REACH * float(np.prod(spacing)) ** (1 / 3)
    z, y, x = (int(min(2 * _REACH, radius // step)) for step in spacing)
    return z, y, x


def nearest_distances(
    places: np.ndarray, target: np.ndarray, target_places: np.ndarray, lattice: Lattice, spacing: Sequence[float]
) -> np.ndarray:
    """Distance in mm from each point to the nearest point of the target.

    Args:
        places: (n,) int64 points, ascending.
        target: the other surface as a row of bits.
        target_places: the same as positions; at least one.
        lattice: the positions of the voxels, with a reach of at least `reach_for(spacing)`.
        spacing: (z, y, x) mm.

    Returns:
        (n,) float64, exact up to rounding.
    """
    distances = np.empty(places.shape, np.float64)
    rings = _rings(lattice, spacing)
    far = [
        _search_near(places[start:stop], target, lattice, rings, distances[start:stop]) + start
        for start, stop in _pieces(places, lattice)
    ]
    left = np.concatenate(far) if far else np.empty(0, np.int64)
    if left.size:
        distances[left] = _search_tree(places[left], target_places, lattice, spacing)
    return distances


def _rings(lattice: Lattice, spacing: Sequence[float]) -> List[Tuple[float, np.ndarray]]:
    """Steps in the row of bits, grouped by their distance in mm, nearest first."""
    axes = [np.arange(-n, n + 1) for n in lattice.reach]
    z, y, x = (grid.ravel() for grid in np.meshgrid(*axes, indexing="ij"))
    distances = _lengths(np.stack([z, y, x], axis=1), spacing)
    # Beyond this a nearer neighbour might lie outside the reach.
    limit = min((n + 1) * step for n, step in zip(lattice.reach, spacing))
    order = np.argsort(distances, kind="stable")
    order = order[distances[order] < limit]
    steps, distances = lattice.step(z, y, x)[order], distances[order]
    starts = np.flatnonzero(np.diff(distances, prepend=-1.0) > 1e-9 * limit)
    return [(float(distances[start]), ring) for start, ring in zip(starts, np.split(steps, starts[1:]))]


def _pieces(places: np.ndarray, lattice: Lattice) -> Iterator[Tuple[int, int]]:
    """Ranges of points within a bounded section of the row."""
    start = 0
    while start < places.size:
        stop = int(np.searchsorted(places, places[start] + _PIECE))
        yield start, stop
        start = stop


def _search_near(
    places: np.ndarray,
    target: np.ndarray,
    lattice: Lattice,
    rings: List[Tuple[float, np.ndarray]],
    distances: np.ndarray,
) -> np.ndarray:
    """Fills in the distances that the rings resolve; returns the indices of the remaining points."""
    halo = (lattice.reach[0] + 1) * lattice.plane_words
    low = max(0, int(places[0]) // 64 - halo)
    stretch = np.unpackbits(target[low : int(places[-1]) // 64 + halo + 1].view(np.uint8), bitorder="little")
    occupied = stretch.view(np.bool_)
    here, index = places - low * 64, np.arange(places.size)
    looked, before = 0, index.size
    for distance, ring in rings:
        found = occupied[here + ring[0]]
        for step in ring[1:]:
            found |= occupied[here + step]
        if found.any():
            distances[index[found]] = distance
            missed = ~found
            here, index = here[missed], index[missed]
        looked += len(ring)
        if not index.size:
            break
        if looked >= _PATIENCE:
            if 10 * (before - index.size) < before:
                break
            looked, before = 0, index.size
    return index


def _search_tree(places: np.ndarray, target: np.ndarray, lattice: Lattice, spacing: Sequence[float]) -> np.ndarray:
    from scipy.spatial import cKDTree  # a slow import that most comparisons do without

    targets, points = lattice.coordinates(target), lattice.coordinates(places)
    scale = np.asarray(spacing, np.float64)
    tree = cKDTree(targets * scale, leafsize=32, balanced_tree=False, compact_nodes=False)
    _, closest = tree.query(points * scale, workers=-1)
    # From integer steps, so that a distance does not depend on the position in the box.
    return _lengths(points - targets[closest], spacing)


def _lengths(steps: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    return np.sqrt(((steps * np.asarray(spacing, np.float64)) ** 2).sum(axis=1))
