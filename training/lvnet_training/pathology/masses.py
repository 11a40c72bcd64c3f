"""Masses beside the organ, labelled as background, and lesions within it, labelled as organ."""

from __future__ import annotations

from typing import Sequence, Tuple

import numpy as np

from .anatomy import DENSE_ABOVE, FAT_BELOW, Anatomy, coordinates, smooth_field

#: Appearances of a mass.
LOOKS = ("solid", "cystic", "necrotic", "septated")


def add_mass(rng: np.random.Generator, anatomy: Anatomy, diameter_mm: Tuple[float, float] = (20.0, 120.0)) -> bool:
    """Adds a mass in the abdomen beside the organ: smooth or lobulated, 5 to 70 HU, labelled as background.

    It replaces fat, bowel, stomach, kidney or muscle, mostly near the organ, which it may touch, indent by
    up to a centimetre, or be separated from by a thin layer of fat.

    Args:
        diameter_mm: smallest and largest.

    Returns:
        Whether there was room for it.
    """
    size = float(rng.uniform(*diameter_mm))
    depth, wall = anatomy.depth, rng.uniform(10.0, 25.0)
    # Well inside the body wall, whose thickness depends on the size of the body.
    free = (depth > max(wall + 10.0, 0.35 * float(depth.max()))) & (_room(anatomy) > 0)
    distance = anatomy.distance
    if anatomy.has_organ and rng.random() < 0.7:
        # The centre is so far away that the mass just reaches the organ.
        reach = 0.5 * size
        free &= (distance > 0.4 * reach) & (distance < reach + 10.0)
    else:
        free &= distance > 0.2 * size
    centre = _choice(rng, free)
    if centre is None:
        return False
    solid = _solid(rng, anatomy, centre, size, lobes=rng.uniform(0.0, 0.35))
    gap = rng.uniform(-10.0, 3.0)
    # Neither into the organ nor through the body wall.
    solid = np.maximum(np.maximum(solid, gap - distance), wall - depth)
    share = _share(solid, anatomy) * _room(anatomy)
    if float((share > 0.5).sum()) * np.prod(anatomy.spacing) < 1000.0:
        return False
    anatomy.paint(share, _appearance(rng, anatomy, solid, rng.uniform(5.0, 70.0), size), organ=False)
    return True


def add_lesions(rng: np.random.Generator, anatomy: Anatomy, diameter_mm: Tuple[float, float] = (8.0, 100.0)) -> bool:
    """Adds one to six lesions in the organ or at its edge: cysts, metastases, bright tumours; labelled as organ.

    A lesion at the edge bulges into the fat by up to 15 mm; the bulge belongs to the organ.

    Returns:
        Whether there is an organ.
    """
    if not anatomy.has_organ:
        return False
    for _ in range(int(rng.choice([1, 1, 2, 3, 6]))):
        size = float(np.exp(rng.uniform(*np.log(diameter_mm))))
        depth = rng.uniform(0.0, 8.0) if rng.random() < 0.4 else rng.uniform(0.0, 40.0)
        distance = anatomy.distance
        deepest = float(distance.min())
        centre = _choice(rng, (distance <= -depth) if -depth > deepest else (distance < 0))
        if centre is None:
            continue
        solid = _solid(rng, anatomy, centre, size, lobes=rng.uniform(0.0, 0.2))
        solid = np.maximum(solid, distance - rng.uniform(0.0, min(15.0, 0.3 * size)))
        # It bulges only into fat; next to soft tissue its border would not be visible.
        fat = _room(anatomy) * (anatomy.hu < FAT_BELOW)
        share = _share(solid, anatomy) * np.maximum(fat, anatomy.organ)
        inside = anatomy.hu[anatomy.organ > 0.5]
        base = float(np.median(inside)) if inside.size else 60.0
        hu = rng.uniform(0.0, 25.0) if rng.random() < 0.25 else base + rng.uniform(-70.0, 60.0)
        anatomy.paint(share, _appearance(rng, anatomy, solid, hu, size), organ=True)
    return True


def _choice(rng: np.random.Generator, where: np.ndarray) -> Tuple[int, int, int] | None:
    places = np.flatnonzero(where)
    if not len(places):
        return None
    z, y, x = np.unravel_index(int(places[rng.integers(len(places))]), where.shape)
    return int(z), int(y), int(x)


def _solid(rng: np.random.Generator, anatomy: Anatomy, centre: Sequence[int], size: float, lobes: float) -> np.ndarray:
    """(z, y, x) approximate mm to the surface of an irregular ellipsoid, negative inside."""
    semi = 0.5 * size * rng.uniform(0.75, 1.25, 3)
    z, y, x = coordinates(anatomy.hu.shape, anatomy.spacing, centre)
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    squares = np.zeros(anatomy.hu.shape, np.float32)
    for row, half in zip(turn.astype(np.float32), semi.astype(np.float32)):
        squares += ((row[0] * z + row[1] * y + row[2] * x) / half) ** 2
    distance = (np.sqrt(squares) - 1) * np.float32(semi.min())
    if lobes > 0.02:
        # The irregularities are bounded, or parts of the solid would become disconnected.
        bumps = np.clip(smooth_field(rng, anatomy.hu.shape, anatomy.spacing, max(12.0, 0.45 * size)), -1.5, 1.5)
        distance = distance + np.float32(lobes * semi.min()) * bumps
    return distance


def _share(solid: np.ndarray, anatomy: Anatomy) -> np.ndarray:
    """Converts a distance to the fraction of a voxel that is inside."""
    return np.clip(0.5 - solid / np.float32(max(1.5, *anatomy.spacing[1:])), 0.0, 1.0)


def _room(anatomy: Anatomy) -> np.ndarray:
    """Where soft tissue or fluid may be added: inside the body, not in air, bone or dense contrast agent."""
    return (anatomy.body & (anatomy.hu > anatomy.air_below) & (anatomy.hu < DENSE_ABOVE)).astype(np.float32)


def _appearance(rng: np.random.Generator, anatomy: Anatomy, solid: np.ndarray, hu: float, size: float) -> np.ndarray:
    """HU inside a mass, depending on the distance to its surface."""
    look = str(rng.choice(LOOKS))
    values = hu + anatomy.texture(rng, rng.uniform(1.0, 8.0), max(8.0, 0.25 * size))
    if look == "cystic":
        wall = rng.uniform(1.0, 4.0)
        values = values + np.where(solid > -wall, np.float32(rng.uniform(10.0, 45.0)), np.float32(0.0))
    elif look == "necrotic":
        rim = rng.uniform(0.08, 0.25) * size
        ragged = solid + 0.1 * size * smooth_field(rng, solid.shape, anatomy.spacing, max(8.0, 0.3 * size))
        values = values + np.where(ragged > -rim, np.float32(rng.uniform(15.0, 60.0)), np.float32(0.0))
    elif look == "septated":
        folds = smooth_field(rng, solid.shape, anatomy.spacing, max(10.0, 0.3 * size))
        values = values + np.where(np.abs(folds) < 0.12, np.float32(rng.uniform(15.0, 50.0)), np.float32(0.0))
    return values.astype(np.float32)
