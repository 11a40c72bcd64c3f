"""Artefacts: low-dose noise, thick slices, metal streaks, arms beside the body."""

from __future__ import annotations

from typing import Tuple

import numpy as np
from scipy import ndimage

from .anatomy import Anatomy, coordinates


def add_low_dose(rng: np.random.Generator, anatomy: Anatomy, level: Tuple[float, float] = (10.0, 45.0)) -> bool:
    """Noise, partly as horizontal streaks as from photon starvation, in slices that may be thick.

    Args:
        level: smallest and largest standard deviation in HU.

    Returns:
        True.
    """
    shape = anatomy.hu.shape
    if rng.random() < 0.4:
        slices = rng.uniform(6.0, 12.0) / anatomy.spacing[0]
        anatomy.hu = ndimage.gaussian_filter1d(anatomy.hu, 0.3 * slices, axis=0, mode="nearest")
    chosen = rng.uniform(*level)
    fine = rng.standard_normal(shape, dtype=np.float32)
    grain = rng.uniform(0.0, 0.9)
    fine = ndimage.gaussian_filter(fine, (0, grain, grain))
    streaks = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), (0, 0.5, rng.uniform(4.0, 15.0)))
    mix = rng.uniform(0.0, 0.7)
    noise = (1 - mix) * fine / max(1e-6, float(fine.std())) + mix * streaks / max(1e-6, float(streaks.std()))
    anatomy.hu += np.float32(chosen) * noise
    return True


def add_metal(rng: np.random.Generator, anatomy: Anatomy) -> bool:
    """Bright and dark rays from a piece of metal, in a few neighbouring slices.

    Returns:
        Whether there is a body.
    """
    places = np.flatnonzero(anatomy.body)
    if not len(places):
        return False
    centre = np.unravel_index(int(places[rng.integers(len(places))]), anatomy.hu.shape)
    z, y, x = coordinates(anatomy.hu.shape, anatomy.spacing, [float(c) for c in centre])
    radius = np.sqrt(y**2 + x**2) + 1e-3
    angle = np.arctan2(y, x)
    rays = np.zeros_like(angle)
    for _ in range(3):
        rays = rays + np.cos(int(rng.integers(2, 14)) * angle + rng.uniform(0, 2 * np.pi))
    decay = 1.0 / (1.0 + radius / rng.uniform(20.0, 60.0))
    along = np.exp(-0.5 * (z / rng.uniform(4.0, 15.0)) ** 2)
    anatomy.hu += np.float32(rng.uniform(40.0, 150.0)) * (rays / 3 * decay * along).astype(np.float32)
    metal = (
        (radius < rng.uniform(2.0, 6.0)) & (np.abs(z) < rng.uniform(3.0, 10.0)) & (anatomy.organ < 0.5) & anatomy.body
    )
    anatomy.hu[metal] = 2000.0
    return True


def add_arms(rng: np.random.Generator, anatomy: Anatomy) -> bool:
    """Arms in the air beside the body, and beam-hardening bands between them.

    Returns:
        Whether there is a body; an arm that does not fit into the field of view is omitted.
    """
    body = anatomy.body
    if not body.any():
        return False
    columns, rows = np.flatnonzero(body.any(axis=(0, 1))), np.flatnonzero(body.any(axis=(0, 2)))
    middle = rng.uniform(rows[0], rows[-1])
    for edge, side in ((columns[0], -1.0), (columns[-1], 1.0)):
        radius = rng.uniform(30.0, 50.0)
        centre = (rng.uniform(0, anatomy.hu.shape[0]), middle, edge + side * (radius + 2) / anatomy.spacing[2])
        z, y, x = coordinates(anatomy.hu.shape, anatomy.spacing, centre)
        lean = rng.uniform(-0.3, 0.3)
        distance = np.sqrt((y + lean * z) ** 2 + x**2)
        free = ~body
        for part, hu in ((radius, -100.0), (0.8 * radius, 55.0), (0.3 * radius, 600.0), (0.18 * radius, 100.0)):
            anatomy.hu[free & (distance < part)] = hu
    bands = ndimage.gaussian_filter1d(rng.standard_normal(anatomy.hu.shape[:2]).astype(np.float32), 2.0, axis=0)
    bands = ndimage.gaussian_filter1d(bands, rng.uniform(1.0, 4.0), axis=1)
    bands /= max(1e-6, float(np.abs(bands).max()))
    height = (np.arange(anatomy.hu.shape[1]) - middle) * anatomy.spacing[1]
    bands = bands * np.exp(-0.5 * (height / 50.0) ** 2).astype(np.float32)
    anatomy.hu += np.float32(rng.uniform(15.0, 60.0)) * bands[:, :, None] * body
    anatomy._body = None
    return True
