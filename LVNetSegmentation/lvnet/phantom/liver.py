"""The liver: shape, vessels and lesions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Tuple

import numpy as np

from .shapes import Ellipsoid, Shape, Tube, Union, rotation, smooth_max, smooth_min
from .torso import Torso

#: Step of the grid on which a new liver's volume is estimated, in mm.
_STEP = 8.0
#: Thickness of the diaphragm's muscle in mm.
DIAPHRAGM = 3.0


@dataclass
class Liver:
    """A liver that fills the right upper abdomen under the diaphragm, with vessels and lesions.

    Attributes:
        lobes: right lobe, its tip, left lobe and caudate, before they are cut by the torso.
        gap: fat between liver and body wall in mm; less than 1 means contact.
        portal, hepatic: segments of the two vessel trees.
        lesions: (shape, HU difference from the liver, HU difference of its rim).
        hilum: entry point of the portal vein, (x, y, z).
        low, high: bounding box, (x, y, z).
    """

    lobes: Shape
    gap: float
    portal: List[Tube]
    hepatic: List[Tube]
    lesions: List[Tuple[Ellipsoid, float, float]]
    hilum: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, torso: Torso) -> Liver:
        """A random liver of 1.0 to 2.3 litres that fits the trunk."""
        target_ml = rng.uniform(1150.0, 1850.0) * (torso.half_width * torso.half_depth / (131.0 * 94.0)) ** 0.5
        target_ml = min(max(target_ml, 1150.0), 2000.0)
        form = rng.uniform(-1.0, 1.0, 8)
        gap = float(max(0.0, rng.uniform(-2.0, 1.2)))
        x, y, z = _sample_points(torso)
        walls = np.maximum(torso.cavity(x, y, z) + gap, torso.above_diaphragm(x, y, z) + DIAPHRAGM)
        walls = smooth_max(walls, -_behind(torso, x, y, z), 6.0)
        small, large = 0.45, 1.5
        for _ in range(9):
            size = 0.5 * (small + large)
            inside = np.maximum(_lobes(torso, form, size).distance(x, y, z), walls) < 0
            if inside.sum() * _STEP**3 / 1000.0 < target_ml:
                small = size
            else:
                large = size
        lobes = _lobes(torso, form, size)
        depth = np.maximum(lobes.distance(x, y, z), walls)
        points = np.stack([x[depth < 0], y[depth < 0], z[depth < 0]], axis=1)
        deep = np.stack([x[depth < -9], y[depth < -9], z[depth < -9]], axis=1)
        hilum = np.array([-0.17 * torso.half_width, 0.02 * torso.half_depth, np.median(points[:, 2]) - 12.0])
        hilum = deep[np.argmin(((deep - hilum) ** 2).sum(axis=1))]
        cava = np.array([-16.0, torso.spine_y - 48.0, torso.dome_top - 28.0])
        cava = deep[np.argmin(((deep - cava) ** 2).sum(axis=1))]
        return cls(
            lobes=lobes,
            gap=gap,
            portal=_grow_tree(rng, hilum, deep, 6.5, 30),
            hepatic=_grow_tree(rng, cava, deep, 6.0, 26),
            lesions=_draw_lesions(rng, deep),
            hilum=hilum,
            low=points.min(axis=0) - _STEP,
            high=points.max(axis=0) + _STEP,
        )

    def distances(
        self, x: np.ndarray, y: np.ndarray, z: np.ndarray, cavity: np.ndarray, diaphragm: np.ndarray, torso: Torso
    ) -> Tuple[np.ndarray, np.ndarray]:
        """Signed distances in mm to the liver's free surface, and to body wall and diaphragm with their gaps.

        The liver is where both are negative.

        Args:
            x, y, z: points.
            cavity, diaphragm: signed distances there to the body wall and to the diaphragm.
        """
        free = smooth_max(self.lobes.distance(x, y, z), -_behind(torso, x, y, z), 6.0)
        # No rounded edge between the two: the liver lies flat against wall and diaphragm.
        return free, np.maximum(cavity + self.gap, diaphragm + DIAPHRAGM)


def _lobes(torso: Torso, form: np.ndarray, size: float) -> Union:
    a, b, top = torso.half_width, torso.half_depth, torso.dome_top
    right = Ellipsoid(
        # Anchored beyond wall and dome, so that these shape its outer surface whatever its size.
        (-1.10 * a + size * 0.66 * a, 0.04 * b, top + 22.0 - size * (104.0 + 8.0 * form[0])),
        (size * 0.66 * a, size * 1.12 * b, size * (104.0 + 8.0 * form[1])),
        rotation(about_y=12.0 + 8.0 * form[2]),
    )
    tip = Ellipsoid(
        (-1.06 * a + size * 0.38 * a, 0.06 * b, top - 138.0 - 14.0 * form[3]),
        (size * 0.40 * a, size * 0.70 * b, size * (52.0 + 12.0 * form[3])),
        rotation(about_y=-8.0),
    )
    left = Ellipsoid(
        ((0.10 + 0.08 * form[4]) * a, (-1.06 + size * 0.54) * b, top - 66.0 + 8.0 * form[5]),
        (size * (0.66 + 0.10 * form[4]) * a, size * 0.56 * b, size * (42.0 + 6.0 * form[6])),
        rotation(about_y=10.0 + 8.0 * form[7], about_z=-12.0),
    )
    caudate = Ellipsoid((-0.10 * a, 0.22 * b, top - 74.0), (size * 24.0, size * 22.0, size * 32.0), np.eye(3))
    return Union((right, tip, left, caudate), 12.0)


def _behind(torso: Torso, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Signed distance to the structures behind the liver: spine, crura, great vessels, right kidney."""
    column = np.sqrt(x * x + (y - torso.spine_y) ** 2) - 40.0
    bed = Ellipsoid((-50.0, 0.72 * torso.half_depth, torso.dome_top - 165.0), (44.0, 46.0, 82.0), np.eye(3))
    return smooth_min(column, bed.distance(x, y, z), 10.0)


def _sample_points(torso: Torso) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    a, b, top = torso.half_width, torso.half_depth, torso.dome_top
    axes = (
        np.arange(top - 250.0, top + _STEP, _STEP, dtype=np.float32),
        np.arange(-b, b + _STEP, _STEP, dtype=np.float32),
        np.arange(-a, 0.9 * a, _STEP, dtype=np.float32),
    )
    z, y, x = np.meshgrid(*axes, indexing="ij")
    keep = torso.cavity(x, y, z) < 0
    return x[keep], y[keep], z[keep]


def _grow_tree(rng: np.random.Generator, root: np.ndarray, inside: np.ndarray, radius: float, twigs: int) -> List[Tube]:
    """A tree of tapering tubes from `root` to random points, each joined to the nearest existing branch."""
    targets = inside[rng.choice(len(inside), size=min(twigs, len(inside)), replace=False)]
    targets = targets + rng.uniform(-0.5 * _STEP, 0.5 * _STEP, targets.shape)
    targets = targets[np.argsort(((targets - root) ** 2).sum(axis=1), kind="stable")]
    nodes, widths, tubes = [root], [radius], []
    for target in targets:
        parent = int(np.argmin([((node - target) ** 2).sum() for node in nodes]))
        width = max(1.1, widths[parent] * rng.uniform(0.62, 0.82))
        middle = 0.5 * (nodes[parent] + target) + rng.uniform(-4.0, 4.0, 3)
        start = min(widths[parent], 1.25 * width)
        tubes.append(Tube([nodes[parent], middle, target], [start, 0.5 * (start + width), width]))
        nodes += [middle, target]
        widths += [0.5 * (start + width), width]
    return tubes


def _draw_lesions(rng: np.random.Generator, inside: np.ndarray) -> List[Tuple[Ellipsoid, float, float]]:
    lesions = []
    for _ in range(int(rng.choice(5, p=(0.4, 0.2, 0.18, 0.12, 0.1)))):
        centre = inside[rng.integers(len(inside))]
        radius = rng.uniform(4.0, 13.0) if rng.random() < 0.7 else rng.uniform(13.0, 30.0)
        semi = radius * rng.uniform(0.8, 1.25, 3)
        turn = rotation(*rng.uniform(-60.0, 60.0, 3))
        shape = Ellipsoid((centre[0], centre[1], centre[2]), (semi[0], semi[1], semi[2]), turn)
        core = rng.uniform(-55.0, -18.0) if rng.random() < 0.8 else rng.uniform(12.0, 40.0)
        rim = core if rng.random() < 0.6 else rng.uniform(-10.0, 30.0)
        lesions.append((shape, float(core), float(rim)))
    return lesions
