"""The surface-distance map: both surfaces from six sides, coloured by their distance to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Tuple

import numpy as np

from ..metrics import SurfaceDistances, surface_distances
from ..metrics.bits import Box, bounding_box, union
from ..volume import Volume
from .palette import diverging
from .panel import panel
from .png import data_address
from .solid import SIDES, Solid

_LIMITS_MM = (2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0)


@dataclass(frozen=True)
class DistanceMap:
    """Surface-distance maps of one case.

    Attributes:
        prediction: (side, SVG) of the prediction's surface.
        reference: the same for the reference's surface.
        limit_mm: the distance at the ends of the colour scale.
        largest_mm: the largest distance on both surfaces.
    """

    prediction: List[Tuple[str, str]]
    reference: List[Tuple[str, str]]
    limit_mm: float
    largest_mm: float


def distance_map(prediction: np.ndarray, reference: np.ndarray, grid: Volume, preset: str) -> DistanceMap:
    """Draws both surfaces.

    Args:
        prediction: (z, y, x) bool in LPS order, not empty.
        reference: the same.
        grid: their geometry.
        preset: the metrics preset that defines the surfaces.

    Raises:
        ConfigurationError: one of both has no surface.
    """
    box = union(bounding_box(prediction), bounding_box(reference))
    assert box is not None
    whole = surface_distances(prediction, reference, grid.spacing, preset=preset)
    start = np.array([side.start for side in box])
    masks = prediction[box], reference[box]
    signed = [_signed(found, other, start) for found, other in zip(whole, _others(masks))]
    every = np.concatenate([np.abs(values) for _, values in signed])
    typical = float(np.percentile(every, 90))
    limit = next((mm for mm in _LIMITS_MM if mm >= typical), _LIMITS_MM[-1])
    names = ("prediction", "reference")
    longest = _longest(box, grid)
    one, other = (
        _views(mask, grid, longest, points, values / limit, name)
        for mask, (points, values), name in zip(masks, signed, names)
    )
    return DistanceMap(one, other, limit, float(every.max()))


def colour_scale() -> str:
    """The colour scale from -limit to limit as a picture, one pixel high, in a `data:` address."""
    strip = diverging(np.linspace(-1, 1, 128)).astype(np.uint8)
    return data_address(strip[None])


def _others(masks: Tuple[np.ndarray, np.ndarray]) -> Tuple[Tuple[np.ndarray, bool], ...]:
    """For each surface, the other mask, and whether points inside it mean that the prediction is too large."""
    return (masks[1], False), (masks[0], True)


def _signed(found: SurfaceDistances, other: Tuple[np.ndarray, bool], start: np.ndarray) -> Tuple[np.ndarray, ...]:
    """Points in the box, and signed distances, positive where the prediction is too large."""
    mask, inside_is_extra = other
    points = found.points - start
    last = np.array(mask.shape) - 1
    z, y, x = np.clip(np.rint(points).astype(np.int64), 0, last).T
    inside = mask[z, y, x]
    return points, np.where(inside == inside_is_extra, found.distances, -found.distances)


def _longest(box: Box, grid: Volume) -> float:
    return max((side.stop - side.start) * step for side, step in zip(box, grid.spacing))


def _views(
    mask: np.ndarray, grid: Volume, longest: float, points: np.ndarray, values: np.ndarray, name: str
) -> List[Tuple[str, str]]:
    from scipy.spatial import cKDTree

    solid, spacing = Solid(mask, grid.spacing, longest), np.array(grid.spacing)
    tree = cKDTree(points * spacing, balanced_tree=False, compact_nodes=False)
    pictures = []
    for side in SIDES:
        hit, shade, seen = solid.seen_from(side)
        _, nearest = tree.query(seen * spacing)
        pixels = np.zeros((*hit.shape, 4), np.uint8)
        pixels[hit, :3] = diverging(values[nearest]) * shade[hit][:, None]
        pixels[hit, 3] = 255
        words = f"the {name}'s surface {side.name}, coloured by its distance"
        pictures.append((side.name, panel(pixels, (solid.step, solid.step), side.letters, words)))
    return pictures
