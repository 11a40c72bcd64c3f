"""Tidying a label map: one piece a class, without holes.

Pieces are joined through voxel faces (6-connectivity).  Through edges and corners, a speck of noise
or a strip along the neighbouring organ hangs on to the liver by a single voxel's corner; no real
part of an organ does at CT resolution.  Holes are judged by the same rule, so that a wall of voxels
that touch by their edges is closed.

A class is handled as runs of voxels along x inside its bounding box.  There are far fewer runs than
voxels, so the largest scans take little time and hardly any memory beside the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Tuple

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .boxes import Box, bounding_box, union


def postprocess(labels: np.ndarray) -> np.ndarray:
    """Keeps the largest component of every class, then fills the holes in it.

    Args:
        labels: (z, y, x) uint8 label map, 0 is background.

    Returns:
        A new label map of the same shape and type.

    Raises:
        ValueError: not three axes, or not uint8.
    """
    tidy = _copied(labels)
    _keep_largest(tidy)
    _fill(tidy)
    return tidy


def largest_component(labels: np.ndarray) -> np.ndarray:
    """Keeps the largest 6-connected component of every class and sets the others to background.

    Of components of equal size the first in the order of voxels stays.

    Args:
        labels: (z, y, x) uint8 label map, 0 is background.

    Returns:
        A new label map of the same shape and type.

    Raises:
        ValueError: not three axes, or not uint8.
    """
    tidy = _copied(labels)
    _keep_largest(tidy)
    return tidy


def fill_holes(labels: np.ndarray) -> np.ndarray:
    """Gives background that a class fully encloses in 3D to that class.

    Other classes inside the hole stay as they are.  What reaches the edge of the scan is no hole.

    Args:
        labels: (z, y, x) uint8 label map, 0 is background.

    Returns:
        A new label map of the same shape and type.

    Raises:
        ValueError: not three axes, or not uint8.
    """
    tidy = _copied(labels)
    _fill(tidy)
    return tidy


def _copied(labels: np.ndarray) -> np.ndarray:
    if labels.ndim != 3 or labels.dtype != np.uint8:
        raise ValueError(f"a label map is (z, y, x) uint8, not {labels.dtype} with {labels.ndim} axes")
    return labels.copy()


def _keep_largest(labels: np.ndarray) -> None:
    for value, box in _classes(labels):
        crop = labels[box]
        runs = _runs(crop, value, inside=True)
        component = _components(runs)
        sizes = np.bincount(component, weights=runs.ends - runs.starts)
        if sizes.size > 1:
            _paint(crop, runs, component != np.argmax(sizes), value, 0)


def _fill(labels: np.ndarray) -> None:
    for value, box in _classes(labels):
        crop = labels[box]
        runs = _runs(crop, value, inside=False)
        if runs.rows.size:
            component = _components(runs)
            # The box fits the class tightly, so what reaches its faces reaches the outside.
            is_open = np.zeros(component.max() + 1, bool)
            is_open[component[_at_faces(runs, crop.shape)]] = True
            enclosed = ~is_open[component]
            if enclosed.any():
                _paint(crop, runs, enclosed, 0, value)


def _classes(labels: np.ndarray) -> List[Tuple[int, Box]]:
    """Every class that occurs and its bounding box."""
    whole = bounding_box(labels)
    if whole is None:
        return []
    crop = labels[whole]
    boxes: List[Tuple[int, Box]] = []
    present = np.zeros(256, bool)
    for plane in crop:
        present |= np.bincount(plane.ravel(), minlength=256) > 0
    values = [int(value) for value in np.flatnonzero(present) if value]
    if len(values) == 1:
        return [(values[0], whole)]
    for value in values:
        found = None
        for z, plane in enumerate(crop):
            here = bounding_box((plane == value)[None])
            found = union(found, here and (slice(z, z + 1), here[1], here[2]))
        assert found is not None
        z_side, y_side, x_side = (
            slice(part.start + side.start, part.stop + side.start) for part, side in zip(found, whole)
        )
        boxes.append((value, (z_side, y_side, x_side)))
    return boxes


@dataclass(frozen=True)
class _Runs:
    """Stretches of voxels along x, in the order of voxels.

    Attributes:
        rows: (n,) index of the row, z times the rows of a plane plus y.
        starts: (n,) first x.
        ends: (n,) x behind the last.
        plane_rows: rows of a plane.
        width: voxels of a row.
    """

    rows: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    plane_rows: int
    width: int


def _runs(crop: np.ndarray, value: int, *, inside: bool) -> _Runs:
    _, height, width = crop.shape
    # One column of nothing behind every row ends its last run there.
    stride = width + 1
    padded = np.zeros(height * stride + 1, bool)
    cells = padded[1:].reshape(height, stride)[:, :width]
    rows, starts, ends = [], [], []
    for z, plane in enumerate(crop):
        np.equal(plane, value, out=cells) if inside else np.not_equal(plane, value, out=cells)
        changes = np.flatnonzero(padded[1:] != padded[:-1])
        row, start = np.divmod(changes[::2], stride)
        rows.append(row + z * height)
        starts.append(start)
        ends.append(changes[1::2] - row * stride)
    return _Runs(np.concatenate(rows), np.concatenate(starts), np.concatenate(ends), height, width)


def _components(runs: _Runs) -> np.ndarray:
    """(n,) number of the 6-connected component of each run."""
    one, other = [], []
    stride = runs.width + 1
    start_keys, end_keys = runs.rows * stride + runs.starts, runs.rows * stride + runs.ends
    in_plane = runs.rows % runs.plane_rows < runs.plane_rows - 1
    for step, has_next in ((1, in_plane), (runs.plane_rows, np.ones(runs.rows.shape, bool))):
        here = np.flatnonzero(has_next)
        # In the row that lies `step` ahead: the runs that end behind our start and start before our end.
        first = np.searchsorted(end_keys, start_keys[here] + step * stride, side="right")
        last = np.searchsorted(start_keys, end_keys[here] + step * stride, side="left")
        touching = np.maximum(last - first, 0)
        one.append(np.repeat(here, touching))
        before = np.cumsum(touching) - touching
        other.append(np.arange(touching.sum()) - np.repeat(before - first, touching))
    sources, targets = np.concatenate(one), np.concatenate(other)
    links = coo_matrix((np.ones(sources.size, bool), (sources, targets)), shape=(runs.rows.size,) * 2)
    return np.asarray(connected_components(links, directed=False)[1])


def _at_faces(runs: _Runs, shape: Tuple[int, ...]) -> np.ndarray:
    depth, height, width = shape
    z, y = np.divmod(runs.rows, height)
    faces = (runs.starts == 0) | (runs.ends == width) | (z == 0) | (z == depth - 1) | (y == 0) | (y == height - 1)
    return np.asarray(faces)


def _paint(crop: np.ndarray, runs: _Runs, chosen: np.ndarray, old: int, new: int) -> None:
    """Gives the voxels of the chosen runs that have the old value the new one, in place."""
    _, height, width = crop.shape
    stride = width + 1
    rows, starts, ends = runs.rows[chosen], runs.starts[chosen], runs.ends[chosen]
    planes = rows // height
    for z in np.unique(planes):
        here = slice(*np.searchsorted(planes, [z, z + 1]))
        turns = np.zeros(height * stride, np.int8)
        turns[(rows[here] - z * height) * stride + starts[here]] = 1
        turns[(rows[here] - z * height) * stride + ends[here]] = -1
        covered = np.cumsum(turns, dtype=np.int8).view(np.bool_).reshape(height, stride)[:, :width]
        crop[z][covered & (crop[z] == old)] = new
