"""Distances between two surfaces, point by point, for pictures of distances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence, Tuple

import numpy as np

from ..errors import ConfigurationError
from .bits import Lattice, bounding_box, pack, union
from .comparison import at_border, checked_mask, checked_spacing
from .nearest import nearest_distances, reach_for
from .presets import preset_named
from .surfaces import surface_of


@dataclass(frozen=True)
class SurfaceDistances:
    """The points of one surface and their distances to the other surface.

    Attributes:
        points: (n, 3) float64 voxel coordinates (z, y, x) in the masks' arrays.
        distances: (n,) float64 mm to the nearest point of the other surface.
    """

    points: np.ndarray
    distances: np.ndarray


def surface_distances(
    prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float], *, preset: str = "lits"
) -> Tuple[SurfaceDistances, SurfaceDistances]:
    """The distances whose mean is ASSD and whose maximum is MSSD, with their positions.

    Args:
        prediction: (z, y, x) bool or integer; non-zero voxels belong to the mask.
        reference: the same, of the same shape.
        spacing: (z, y, x) mm between voxel centres.
        preset: the definition of a surface.

    Returns:
        Those of the prediction's surface, and those of the reference's surface.

    Raises:
        GeometryError: the masks are not 3D or differ in shape, or the spacing is not three positive numbers.
        ImageError: a mask is neither bool nor integer.
        ConfigurationError: an unknown preset, or one of both has no surface.
    """
    definition = preset_named(preset)
    prediction, reference = checked_mask(prediction, "prediction"), checked_mask(reference, "reference")
    steps = checked_spacing(spacing)
    box = union(bounding_box(prediction), bounding_box(reference))
    if box is None:
        raise ConfigurationError("there is no surface: both masks are empty")
    z, y, x = (side.stop - side.start for side in box)
    lattice, cut = Lattice((z, y, x), reach_for(steps)), at_border(box, prediction.shape)
    one, other = (
        surface_of(pack(mask[box], lattice), lattice, definition, steps, cut) for mask in (prediction, reference)
    )
    if not one.places.size or not other.places.size:
        raise ConfigurationError("there is no distance: one of both masks has no surface")
    # In the preset `surfel`, a point is the voxel's corner towards the image's origin.
    start = np.array([side.start for side in box]) - (0.5 if definition.surface == "surfels" else 0.0)
    found = [
        SurfaceDistances(
            lattice.coordinates(here.places) + start,
            nearest_distances(here.places, there.bits, there.places, lattice, steps),
        )
        for here, there in ((one, other), (other, one))
    ]
    return found[0], found[1]
