"""Rendering a mask as a solid body, seen along the patient's axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

import numpy as np

#: Number of steps along the longest side of the rendered body, and the finest step in mm.
_LONGEST, _FINEST_MM = 260, 0.8
#: Margin as a fraction of the longest side.
_MARGIN = 0.07
#: Slices thicker than this many pixel widths would show as terraces.
_THICK = 1.5
_LIGHT = np.array(
    [-0.35, -0.45, -0.82]
)  # direction of the light (right, down, into the picture): it comes from the top left


@dataclass(frozen=True)
class Side:
    """One viewing direction.

    Attributes:
        name: the viewer's position.
        axis: array axis (z, y, x) that the viewer looks along.
        forward: whether the viewer looks towards higher indices.
        flip_rows, flip_columns: how the remaining axes are flipped for the picture.
        letters: orientation letters at the picture's left, right, top and bottom.
    """

    name: str
    axis: int
    forward: bool
    flip_rows: bool
    flip_columns: bool
    letters: Tuple[str, str, str, str]


#: Index axes run to the left, to posterior and to superior.
SIDES = (
    Side("from the front", 1, True, True, False, ("R", "L", "S", "I")),
    Side("from the right", 2, True, True, True, ("P", "A", "S", "I")),
    Side("from above", 0, False, True, False, ("R", "L", "P", "A")),
    Side("from behind", 1, False, True, True, ("L", "R", "S", "I")),
    Side("from the left", 2, False, True, False, ("A", "P", "S", "I")),
    Side("from below", 0, True, False, False, ("R", "L", "A", "P")),
)


class Solid:
    """A mask on a fine isotropic grid, with smoothed edges.

    Args:
        mask: (z, y, x) bool in LPS order, cropped to the visible part.
        spacing: (z, y, x) mm.
        longest_mm: longest side of the view, so that several bodies have the same step.
    """

    def __init__(self, mask: np.ndarray, spacing: Tuple[float, float, float], longest_mm: float) -> None:
        from scipy import ndimage

        self.step = max(_FINEST_MM, longest_mm / _LONGEST)
        self._spacing = np.array(spacing)
        # A margin for the letters, which also closes a body that is cut off.
        self._margin = np.array([1 + int(_MARGIN * longest_mm // mm) for mm in spacing])
        padded = np.pad(mask, [(n, n) for n in self._margin])
        size = [max(2, int(np.ceil(n * mm / self.step))) for n, mm in zip(padded.shape, spacing)]
        places = [np.arange(n) * self.step / mm for n, mm in zip(size, spacing)]
        # The smoothing is at least one voxel wide, or the voxel steps would show as facets.
        widths = [max(0.9, 0.8 * self.step / mm) for mm in spacing]
        coarse = int(np.argmax(spacing))
        if spacing[coarse] > _THICK * min(spacing):
            widths[coarse] = 0.0
        # Positive inside and negative outside.
        field = _distance_in_slices(padded, spacing, coarse) if not widths[coarse] else padded.astype(np.float32) - 0.5
        self._field = ndimage.gaussian_filter(_interpolated(ndimage.gaussian_filter(field, widths), places), 0.7)

    def seen_from(self, side: Side) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Renders one view.

        Returns:
            hit: (rows, columns) bool, pixels that show the body.
            shade: (rows, columns) float, brightness, 0 to 1.
            points: (n, 3) float, voxel coordinates (z, y, x) in the mask of the hits, row by row.
        """
        from scipy import ndimage

        field = np.moveaxis(self._field, side.axis, 0)
        field = field if side.forward else field[::-1]
        field = field[:, ::-1] if side.flip_rows else field
        field = field[:, :, ::-1] if side.flip_columns else field
        inside = field > 0
        hit = np.asarray(inside.any(axis=0))
        depth = inside.argmax(axis=0)
        rows, columns = np.nonzero(hit)
        first = depth[rows, columns]
        before = np.maximum(first - 1, 0)
        low, high = field[before, rows, columns], field[first, rows, columns]
        exact = np.where(first > before, before - low / np.maximum(high - low, 1e-6), first)
        places = np.stack([exact, rows, columns]).astype(np.float64)
        slope = np.stack(
            [
                ndimage.map_coordinates(field, places + d[:, None], order=1, mode="nearest")
                - ndimage.map_coordinates(field, places - d[:, None], order=1, mode="nearest")
                for d in np.eye(3) * 1.5
            ]
        )
        normal = -slope / np.maximum(np.linalg.norm(slope, axis=0), 1e-6)
        # (depth, row, column) to (column, row, depth), as in the light's direction.
        light = np.clip((normal[::-1] * _LIGHT[:, None]).sum(axis=0), 0, 1)
        shade = np.zeros(hit.shape)
        shade[rows, columns] = 0.42 + 0.58 * light
        return hit, shade, self._voxels(places, side, field.shape)

    def _voxels(self, places: np.ndarray, side: Side, shape: Tuple[int, ...]) -> np.ndarray:
        turned = [not side.forward, side.flip_rows, side.flip_columns]
        back = [n - 1 - part if flip else part for part, flip, n in zip(places, turned, shape)]
        order = [side.axis, *(axis for axis in range(3) if axis != side.axis)]
        points = np.empty((places.shape[1], 3))
        for axis, part in zip(order, back):
            points[:, axis] = part * self.step / self._spacing[axis] - self._margin[axis]
        return points


def _distance_in_slices(mask: np.ndarray, spacing: Tuple[float, float, float], axis: int) -> np.ndarray:
    """(z, y, x) float32 in-plane distance in mm to the mask's edge in each slice along an axis, positive inside.

    It is interpolated linearly between slices, and with it the outline, which avoids terraces.
    """
    from scipy import ndimage

    # Slices without the mask close the body half-way to the next slice.
    most = 3.0 * spacing[axis]
    in_plane = [mm for other, mm in enumerate(spacing) if other != axis]
    field = np.full(mask.shape, -most, np.float32)
    for plane, target in zip(np.moveaxis(mask, axis, 0), np.moveaxis(field, axis, 0)):
        if plane.any():
            inside = ndimage.distance_transform_edt(plane, sampling=in_plane)
            outside = ndimage.distance_transform_edt(~plane, sampling=in_plane)
            target[...] = np.clip(inside - outside, -most, most)
    return field


def _interpolated(array: np.ndarray, places: list) -> np.ndarray:
    """Linear interpolation, one axis after the other; empty beyond the end."""
    for axis, where in enumerate(places):
        lower = np.minimum(np.floor(where).astype(np.int64), array.shape[axis] - 1)
        upper = np.minimum(lower + 1, array.shape[axis] - 1)
        shape = [-1 if i == axis else 1 for i in range(3)]
        share = (where - lower).astype(np.float32).reshape(shape)
        share = np.clip(share, 0, 1)
        array = np.take(array, lower, axis) * (1 - share) + np.take(array, upper, axis) * share
    return array
