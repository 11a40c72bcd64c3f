"""Fluid around the organ (ascites) and above the diaphragm (pleural effusion), labelled as background."""

from __future__ import annotations

from typing import Tuple

import numpy as np
from scipy import ndimage

from .anatomy import DENSE_ABOVE, FAT_BELOW, Anatomy, coordinates, smooth_field


def add_ascites(rng: np.random.Generator, anatomy: Anatomy, thickness_mm: Tuple[float, float] = (4.0, 30.0)) -> bool:
    """Adds fluid of -5 to 30 HU around the organ, thicker towards the back, and into the fat near it.

    The fluid replaces fat outside and the organ's outer layer, which becomes background.

    Args:
        thickness_mm: smallest and largest mean thickness of the layer.

    Returns:
        Whether there is an organ.
    """
    if not anatomy.has_organ:
        return False
    thickness = rng.uniform(*thickness_mm)
    shape = anatomy.hu.shape
    height = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :, None]
    uneven = smooth_field(rng, shape, anatomy.spacing, rng.uniform(50.0, 120.0))
    local = thickness * np.clip(0.6 + 0.35 * height + 0.6 * uneven, 0.0, 1.6)
    distance = anatomy.distance
    width = np.float32(max(1.5, *anatomy.spacing[1:]))
    # At most half of the layer is taken from the organ.
    inner = np.clip(0.5 + (distance + rng.uniform(0.2, 0.5) * local) / width, 0, 1)
    outer = np.clip(0.5 - (distance - local) / width, 0, 1)
    soft = anatomy.body & ((anatomy.hu < DENSE_ABOVE) | (anatomy.organ > 0.5)) & ~anatomy.enclosed_air
    # Skin and subcutaneous fat are unchanged.
    deep = anatomy.depth > rng.uniform(12.0, 25.0)
    fat_or_organ = np.maximum(np.clip((FAT_BELOW - anatomy.hu) / 20.0 + 0.5, 0, 1), anatomy.organ)
    share = (inner * outer * fat_or_organ * (soft & deep)).astype(np.float32)
    if rng.random() < 0.4:
        # Bowel and mesentery are inside the fluid too.
        share = np.maximum(share, np.clip((FAT_BELOW - anatomy.hu) / 20, 0, 1) * (soft & deep) * (uneven > 0.2))
    anatomy.paint(share.astype(np.float32), _fluid(rng, anatomy), organ=False)
    return bool((share > 0.5).any())


def add_effusion(rng: np.random.Generator, anatomy: Anatomy, share: Tuple[float, float] = (0.2, 1.0)) -> bool:
    """Fills enclosed air from the back up to a level, like layering fluid in a supine patient.

    The fluid may contain a band of collapsed lung, which is brighter than the fluid.

    Args:
        share: smallest and largest fraction of the lung's depth that is filled.

    Returns:
        Whether there is lung; if not, nothing changes.
    """
    air = anatomy.enclosed_air
    pieces, count = ndimage.label(air)
    voxel = float(np.prod(anatomy.spacing)) / 1000.0
    sizes = np.bincount(pieces.ravel())[1:] * voxel if count else np.zeros(0)
    large = np.flatnonzero(sizes > 50.0) + 1
    if not len(large):
        return False
    # One lung, or both.
    chosen = large if rng.random() < 0.3 else rng.choice(large, 1)
    lung = np.isin(pieces, chosen)
    rows = np.flatnonzero(lung.any(axis=(0, 2)))
    first, last = int(rows[0]), int(rows[-1])
    level = last + 1 - rng.uniform(*share) * (last + 1 - first)
    z, y, x = coordinates(anatomy.hu.shape, anatomy.spacing, (0, level, anatomy.hu.shape[2] / 2))
    tilt_z, tilt_x = rng.uniform(-0.35, 0.35), rng.uniform(-0.25, 0.25)
    # A meniscus: the surface is not exactly flat.
    surface = y + tilt_x * x + tilt_z * z + 6.0 * smooth_field(rng, anatomy.hu.shape, anatomy.spacing, 60.0)
    filled = lung & (surface > 0)
    # Include the partial volume voxels between lung and wall, or a dark line would remain around the fluid.
    near = ndimage.binary_dilation(filled, iterations=2) & (anatomy.hu < 0) & (anatomy.organ < 0.5)
    region = ndimage.gaussian_filter((filled | near).astype(np.float32), (0, 0.5, 0.5))
    region = np.maximum(region * (anatomy.hu < 10), (filled | near).astype(np.float32))
    values = _fluid(rng, anatomy)
    if rng.random() < 0.5:
        band = np.abs(surface - rng.uniform(5.0, 40.0) + 8.0 * smooth_field(rng, surface.shape, anatomy.spacing, 40.0))
        collapsed = np.clip(0.5 + (rng.uniform(5.0, 18.0) - band) / 4.0, 0, 1)
        values = values + collapsed * np.float32(rng.uniform(15.0, 80.0))
    anatomy.paint(region.astype(np.float32), values.astype(np.float32), organ=False)
    return bool(filled.any())


def _fluid(rng: np.random.Generator, anatomy: Anatomy) -> np.ndarray:
    return (rng.uniform(-5.0, 30.0) + anatomy.texture(rng, rng.uniform(0.5, 3.0), 60.0)).astype(np.float32)
