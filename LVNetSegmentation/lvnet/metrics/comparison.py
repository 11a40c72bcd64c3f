"""Computing the metrics of two masks."""

from __future__ import annotations

import math
from typing import Dict, Optional, Sequence, Tuple

import numpy as np

from ..errors import ConfigurationError, GeometryError, ImageError
from .bits import Box, Lattice, bounding_box, count, pack, union
from .nearest import nearest_distances, reach_for
from .presets import Preset, preset_named
from .result import Metrics
from .surfaces import Surface, surface_of


def compare(
    prediction: np.ndarray,
    reference: np.ndarray,
    spacing: Sequence[float],
    *,
    preset: str = "lits",
    hd95: bool = False,
    surface_dice_tolerance_mm: Optional[float] = None,
) -> Metrics:
    """Compares two masks on one grid.

    Both empty: DICE 1, VOE 0, RVD 0, distances 0.  One empty: DICE 0, VOE 1, distances inf, RVD
    -1 or, with an empty reference, nan.

    Args:
        prediction: (z, y, x) bool or integer; non-zero voxels belong to the mask.
        reference: the same, of the same shape.
        spacing: (z, y, x) mm between voxel centres.
        preset: the set of definitions, a name from :data:`PRESETS`.
        hd95: also compute the 95th percentile of the surface distances: of both surfaces'
            distances pooled, as in MedPy; in the preset `surfel` the larger of both directions'
            percentiles, weighted by area.
        surface_dice_tolerance_mm: also compute the fraction of both surfaces within this distance of
            each other (by area in the preset `surfel`, else by voxels).

    Returns:
        The metrics, the volumes and, if requested, the optional metrics.

    Raises:
        GeometryError: the masks differ in shape, are not 3D, or the spacing is not three positive
            numbers.
        ImageError: a mask is neither bool nor integer.
        ConfigurationError: an unknown preset, or a negative tolerance.
    """
    definition = preset_named(preset)
    prediction, reference = checked_mask(prediction, "prediction"), checked_mask(reference, "reference")
    if prediction.shape != reference.shape:
        raise GeometryError(
            f"the prediction has {_size(prediction)} voxels and the reference {_size(reference)}; "
            "bring both to one grid first"
        )
    steps = checked_spacing(spacing)
    tolerance = _checked_tolerance(surface_dice_tolerance_mm)

    box = union(bounding_box(prediction), bounding_box(reference))
    if box is None:
        at_tolerance = None if tolerance is None else 1.0
        return Metrics(1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, preset, 0.0 if hd95 else None, at_tolerance)

    z, y, x = (side.stop - side.start for side in box)
    lattice = Lattice((z, y, x), reach_for(steps))
    predicted, referred = pack(prediction[box], lattice), pack(reference[box], lattice)
    predicted_voxels, reference_voxels = count(predicted), count(referred)
    common = count(predicted & referred)
    either = predicted_voxels + reference_voxels - common
    rvd = (predicted_voxels - reference_voxels) / reference_voxels if reference_voxels else math.nan
    reasons: Dict[str, str] = {}
    if not reference_voxels:
        reasons["rvd"] = reasons["absolute_rvd"] = "the reference is empty"

    cut = at_border(box, prediction.shape)
    # One after the other, and each mask is released once its surface is known: scans may be large.
    surface = surface_of(predicted, lattice, definition, steps, cut)
    del predicted
    surfaces = (surface, surface_of(referred, lattice, definition, steps, cut))
    del referred
    distances = _Distances(surfaces, lattice, steps, definition)
    if not distances.defined:
        reason = _why_undefined(predicted_voxels, reference_voxels, surfaces)
        reasons.update(dict.fromkeys(("assd_mm", "mssd_mm", "hd95_mm"), reason))
    millilitres = float(np.prod(steps)) / 1000.0
    return Metrics(
        dice=2 * common / (predicted_voxels + reference_voxels),
        voe=1 - common / either,
        rvd=100 * abs(rvd) if definition.rvd_as_percentage else rvd,
        absolute_rvd=abs(rvd),
        assd_mm=distances.mean(),
        mssd_mm=distances.largest(),
        prediction_ml=predicted_voxels * millilitres,
        reference_ml=reference_voxels * millilitres,
        preset=preset,
        hd95_mm=distances.percentile(95.0) if hd95 else None,
        surface_dice=None if tolerance is None else distances.share_within(tolerance),
        reasons=reasons,
    )


class _Distances:
    """Distances from each surface to the other, and the reasons for undefined values."""

    def __init__(
        self, surfaces: Tuple[Surface, Surface], lattice: Lattice, spacing: Sequence[float], preset: Preset
    ) -> None:
        one, other = surfaces
        self._directed = preset.surface == "surfels"
        # If the image border is not a surface, two masks that both fill the whole image have none: they are equal.
        self._same = not one.places.size and not other.places.size
        self.defined = self._same or bool(one.places.size and other.places.size)
        self._parts = []
        if self.defined and not self._same:
            for here, there in ((one, other), (other, one)):
                found = nearest_distances(here.places, there.bits, there.places, lattice, spacing)
                self._parts.append((found, np.ones(found.shape) if here.areas is None else here.areas))

    def mean(self) -> float:
        if not self._parts:
            return self._without_surface()
        return float(sum((d * w).sum() for d, w in self._parts) / sum(w.sum() for _, w in self._parts))

    def largest(self) -> float:
        return max(float(d.max()) for d, _ in self._parts) if self._parts else self._without_surface()

    def percentile(self, share: float) -> float:
        if not self._parts:
            return self._without_surface()
        if not self._directed:
            return float(np.percentile(np.concatenate([d for d, _ in self._parts]), share))
        return max(_percentile_by_weight(d, w, share) for d, w in self._parts)

    def share_within(self, tolerance: float) -> float:
        if not self._parts:
            return 1.0 if self._same else 0.0
        # A small tolerance for rounding errors: three steps of 0.8 mm must be within 2.4 mm.
        limit = tolerance * (1 + 1e-9)
        return float(sum(w[d <= limit].sum() for d, w in self._parts) / sum(w.sum() for _, w in self._parts))

    def _without_surface(self) -> float:
        return 0.0 if self._same else math.inf


def _percentile_by_weight(distances: np.ndarray, weights: np.ndarray, share: float) -> float:
    """The weighted percentile: the smallest distance that `share` percent of the weight do not exceed."""
    order = np.argsort(distances, kind="stable")
    climbing = np.cumsum(weights[order])
    place = np.searchsorted(climbing, share / 100 * climbing[-1])
    return float(distances[order[min(int(place), distances.size - 1)]])


def _why_undefined(prediction: int, reference: int, surfaces: Tuple[Surface, Surface]) -> str:
    if not prediction or not reference:
        return f"the {'reference' if prediction else 'prediction'} is empty"
    missing = "reference" if surfaces[0].places.size else "prediction"
    return f"the {missing} fills the whole image and has no surface inside it"


def at_border(box: Box, shape: Sequence[int]) -> Tuple[Tuple[bool, bool], ...]:
    """For each axis, whether the box's low and high side touch the image border."""
    return tuple((side.start == 0, side.stop == size) for side, size in zip(box, shape))


def _size(mask: np.ndarray) -> str:
    return " x ".join(str(n) for n in mask.shape)


def checked_mask(mask: np.ndarray, name: str) -> np.ndarray:
    """The mask as an array, if it is a 3D array of bool or integers."""
    mask = np.asarray(mask)
    if mask.dtype != np.bool_ and not np.issubdtype(mask.dtype, np.integer):
        raise ImageError(f"the {name} contains {mask.dtype} values; give a mask of bool or integers")
    if mask.ndim != 3:
        raise GeometryError(f"the {name} has {mask.ndim} dimensions; give a mask with three (z, y, x)")
    return mask


def checked_spacing(spacing: Sequence[float]) -> Tuple[float, float, float]:
    """(z, y, x) mm, if they are three positive numbers."""
    steps = tuple(float(step) for step in spacing)
    if len(steps) != 3 or not all(math.isfinite(step) and step > 0 for step in steps):
        raise GeometryError(f"the spacing must be three positive numbers (z, y, x) in mm, not {list(steps)}")
    return steps[0], steps[1], steps[2]


def _checked_tolerance(tolerance: Optional[float]) -> Optional[float]:
    if tolerance is not None and not (math.isfinite(tolerance) and tolerance >= 0):
        raise ConfigurationError(f"the tolerance of the surface DICE must be 0 mm or more, not {tolerance}")
    return tolerance
