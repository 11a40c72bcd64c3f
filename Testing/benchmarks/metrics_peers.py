"""Adapters that compute DICE, ASSD and MSSD of one pair with other tools, through their usual API."""

from __future__ import annotations

import warnings
from typing import Callable, Dict, Tuple

import numpy as np

#: Takes prediction, reference (bool) and spacing (z, y, x); returns DICE, ASSD in mm, MSSD in mm.
Scorer = Callable[[np.ndarray, np.ndarray, Tuple[float, float, float]], Tuple[float, float, float]]


def lvnet_scorer() -> Scorer:
    from lvnet.metrics import compare

    def score(prediction, reference, spacing):
        result = compare(prediction, reference, spacing, preset="lits")
        return result.dice, result.assd_mm, result.mssd_mm

    return score


def lits_method_scorer() -> Scorer:
    """The method of the LiTS challenge's scorer: crop, erode with 18 neighbours, query a k-d tree."""
    from scipy import ndimage
    from scipy.spatial import cKDTree

    neighbours = ndimage.generate_binary_structure(3, 2)

    def points(mask, spacing):
        border = mask & ~ndimage.binary_erosion(mask, neighbours)
        return np.argwhere(border) * np.asarray(spacing)

    def score(prediction, reference, spacing):
        (box,) = ndimage.find_objects((prediction | reference).view(np.uint8))
        one, other = prediction[box], reference[box]
        dice = 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))
        here, there = points(one, spacing), points(other, spacing)
        forth, _ = cKDTree(there).query(here)
        back, _ = cKDTree(here).query(there)
        both = np.concatenate([forth, back])
        return dice, both.mean(), both.max()

    return score


def surface_distance_scorer() -> Scorer:
    import surface_distance
    from scipy import ndimage

    # The package uses names that newer versions of NumPy and SciPy have removed.
    if not hasattr(np, "Inf"):
        np.inf = np.inf
    for name in ("filters", "morphology"):
        if not hasattr(getattr(ndimage, name, None), "distance_transform_edt"):
            setattr(ndimage, name, ndimage)

    def score(prediction, reference, spacing):
        dice = surface_distance.compute_dice_coefficient(reference, prediction)
        found = surface_distance.compute_surface_distances(reference, prediction, spacing)
        forth, back = surface_distance.compute_average_surface_distance(found)
        areas = found["surfel_areas_gt"].sum(), found["surfel_areas_pred"].sum()
        assd = (forth * areas[0] + back * areas[1]) / sum(areas)
        return dice, assd, surface_distance.compute_robust_hausdorff(found, 100)

    return score


def monai_scorer() -> Scorer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        from monai import metrics

    def score(prediction, reference, spacing):
        one, other = (torch.from_numpy(mask)[None, None] for mask in (prediction, reference))
        options = {"include_background": True, "spacing": spacing}
        dice = metrics.compute_dice(one, other, include_background=True)
        assd = metrics.compute_average_surface_distance(one, other, symmetric=True, **options)
        mssd = metrics.compute_hausdorff_distance(one, other, **options)
        return float(dice), float(assd), float(mssd)

    return score


def medpy_scorer() -> Scorer:
    from medpy.metric import binary

    def score(prediction, reference, spacing):
        return (
            binary.dc(prediction, reference),
            binary.assd(prediction, reference, spacing),
            binary.hd(prediction, reference, spacing),
        )

    return score


#: The name in the table, how to make the scorer, and how often it is timed (the best time counts).
SCORERS: Dict[str, Tuple[Callable[[], Scorer], int]] = {
    "lvnet": (lvnet_scorer, 7),
    "LiTS scorer's method": (lits_method_scorer, 5),
    "surface-distance": (surface_distance_scorer, 3),
    "MONAI": (monai_scorer, 2),
    "MedPy": (medpy_scorer, 1),
}
