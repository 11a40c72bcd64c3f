"""The organs around the liver: each consists of parts that are painted one over the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Optional

import numpy as np

from .shapes import Ellipsoid, Shape, Tube, Union, rotation
from .tissue import Tissues
from .torso import Torso


@dataclass
class Part:
    """One solid, optionally with a wall and a core.

    Attributes:
        shape: its shape and position.
        hu: brightness of the wall, or of the whole solid if it has no core.
        wall: thickness of the wall in mm; None for a solid without a core.
        core: brightness inside the wall.
        gas_above: gas in the core in front of this y (the patient lies on the back), if any.
        region: "abdomen" or "chest" cut the shape at wall and diaphragm, "any" does not.
        bumps: factor for the common surface roughness.
        mottle: amplitude of the fine texture in the core in HU (food, stool).
        film: thickness of fat painted around it first, in mm.
    """

    shape: Shape
    hu: float
    wall: Optional[float] = None
    core: float = 0.0
    gas_above: Optional[float] = None
    region: str = "abdomen"
    bumps: float = 0.4
    mottle: float = 0.0
    film: float = 0.0


def draw_heart(rng: np.random.Generator, torso: Torso, tissues: Tissues) -> List[Part]:
    """Heart with its blood, oesophagus and thoracic aorta: painted before the organs below the diaphragm."""
    a, b, top = torso.half_width, torso.half_depth, torso.dome_top
    heart = Ellipsoid(
        (rng.uniform(0.10, 0.20) * a, -0.32 * b, top + rng.uniform(4.0, 16.0)),
        (rng.uniform(50.0, 60.0), rng.uniform(40.0, 48.0), rng.uniform(44.0, 52.0)),
        rotation(about_y=-25.0, about_z=30.0),
    )
    blood = tissues.aorta * 0.85 if tissues.phase != "arterial" else 0.7 * tissues.aorta
    oesophagus = Tube([(4.0, torso.spine_y - 32.0, top - 40.0), (2.0, torso.spine_y - 34.0, top + 220.0)], [9.0, 9.0])
    return [
        Part(
            heart,
            tissues.myocardium,
            wall=rng.uniform(9.0, 16.0),
            core=blood,
            region="chest",
            film=rng.uniform(0.0, 3.0),
        ),
        Part(oesophagus, tissues.muscle, region="any"),
    ]


def draw_abdomen(rng: np.random.Generator, torso: Torso, tissues: Tissues) -> List[Part]:
    """Organs around the liver that the liver overwrites: bowel, spleen, stomach, pancreas."""
    return [
        *_small_bowel(rng, torso, tissues),
        *_colon(rng, torso, tissues),
        *_spleen(rng, torso, tissues),
        *_pancreas(rng, torso, tissues),
        *_stomach(rng, torso, tissues),
    ]


def draw_retroperitoneum(rng: np.random.Generator, torso: Torso, tissues: Tissues, hilum: np.ndarray) -> List[Part]:
    """Organs that indent the liver or lie behind it: gallbladder, kidneys, psoas, great vessels."""
    return [
        *_gallbladder(rng, torso, tissues, hilum),
        *_kidneys(rng, torso, tissues),
        *_psoas_and_crura(rng, torso, tissues),
        *_great_vessels(rng, torso, tissues, hilum),
    ]


def _small_bowel(rng: np.random.Generator, torso: Torso, tissues: Tissues) -> List[Part]:
    a, b, top = torso.half_width, torso.half_depth, torso.dome_top
    parts = []
    for _ in range(int(rng.integers(44, 64))):
        point = np.array([rng.uniform(-0.62, 0.66) * a, rng.uniform(-0.75, 0.12) * b, top - rng.uniform(165.0, 370.0)])
        heading = rng.normal(size=3)
        chain, radius = [point], rng.uniform(10.0, 16.0)
        for _ in range(int(rng.integers(2, 5))):
            heading = heading + 0.9 * rng.normal(size=3)
            heading *= rng.uniform(20.0, 36.0) / np.linalg.norm(heading)
            chain.append(chain[-1] + heading)
        gas = chain[0][1] + rng.uniform(-6.0, 6.0) if rng.random() < 0.2 else None
        radii = radius * rng.uniform(0.85, 1.1, len(chain))
        core = tissues.contents(rng)
        parts.append(
            Part(Tube(chain, list(radii)), tissues.bowel_wall, rng.uniform(2.0, 4.0), core, gas, bumps=0.7, mottle=8.0)
        )
    return parts


def _colon(rng: np.random.Generator, torso: Torso, tissues: Tissues) -> List[Part]:
    a, b, top = torso.half_width, torso.half_depth, torso.dome_top
    sag = rng.uniform(0.0, 55.0)
    flexure = top - rng.uniform(165.0, 190.0)
    splenic = top - rng.uniform(80.0, 115.0)
    courses = (
        [(-0.72, 0.15, top - 370.0), (-0.78, 0.25, top - 290.0), (-0.74, 0.20, flexure - 45.0), (-0.66, 0.0, flexure)],
        [
            (-0.66, -0.05, flexure),
            (-0.45, -0.50, flexure - 12.0 - 0.5 * sag),
            (-0.05, -0.68, flexure + 5.0 - sag),
            (0.40, -0.58, flexure + 25.0 - 0.5 * sag),
            (0.68, -0.20, splenic - 15.0),
            (0.74, 0.12, splenic),
        ],
        [(0.74, 0.12, splenic), (0.80, 0.35, splenic - 60.0), (0.78, 0.32, top - 290.0), (0.62, 0.15, top - 380.0)],
    )
    parts = []
    for course in courses:
        corners = np.array([(u * a, v * b, w) for u, v, w in course])
        # Haustra: the radius varies along the colon.
        length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
        along = np.arange(0.0, length[-1], 15.0)
        points = np.stack([np.interp(along, length, corners[:, k]) for k in range(3)], axis=1)
        points += rng.uniform(-3.5, 3.5, points.shape)
        radii = rng.uniform(16.0, 23.0) + 3.5 * np.cos(along * (2 * np.pi / 34.0)) + rng.uniform(-1.5, 1.5, len(along))
        # A few segments with different contents, each with a small bounding box.
        for first in range(0, len(points) - 1, 5):
            piece = slice(first, min(first + 6, len(points)))
            gas = float(points[piece, 1].mean() + rng.uniform(-14.0, 6.0)) if rng.random() < 0.6 else None
            core = rng.uniform(tissues.liver - 55.0, tissues.liver + 10.0)
            parts.append(
                Part(Tube(points[piece], list(radii[piece])), tissues.bowel_wall, 2.6, float(core), gas, mottle=45.0)
            )
    return parts


def _spleen(rng: np.random.Generator, torso: Torso, tissues: Tissues) -> List[Part]:
    a, b = torso.half_width, torso.half_depth
    size = rng.uniform(0.85, 1.3)
    shape = Ellipsoid(
        (0.70 * a, 0.34 * b, torso.dome_top - rng.uniform(68.0, 88.0)),
        (size * 27.0, size * 46.0, size * 50.0),
        rotation(about_x=rng.uniform(10.0, 30.0), about_z=rng.uniform(10.0, 35.0)),
    )
    return [Part(shape, tissues.spleen, bumps=1.0)]


def _stomach(rng: np.random.Generator, torso: Torso, tissues: Tissues) -> List[Part]:
    a, b, top = torso.half_width, torso.half_depth, torso.dome_top
    size = rng.uniform(0.78, 1.12)
    fundus = Ellipsoid(
        (0.40 * a, -0.02 * b, top - 58.0), (size * 50.0, size * 54.0, size * 56.0), rotation(about_y=rng.uniform(0, 25))
    )
    bend = top - rng.uniform(125.0, 165.0)
    body = Tube(
        [
            (0.42 * a, -0.18 * b, top - 70.0),
            (0.34 * a, -0.40 * b, bend + 20.0),
            (0.12 * a, -0.46 * b, bend),
            (-0.12 * a, -0.36 * b, bend + 8.0),
            (-0.26 * a, -0.14 * b, bend + 14.0),
        ],
        [size * 38.0, size * 30.0, size * 24.0, 17.0, 13.0],
    )
    gas = rng.uniform(-0.62, -0.15) * b if rng.random() < 0.8 else None
    food = bool(rng.random() < 0.6)
    core = float(rng.uniform(tissues.liver - 12.0, tissues.liver + 12.0)) if food else tissues.contents(rng)
    mottle = rng.uniform(15.0, 45.0) if food else 4.0
    return [Part(Union((fundus, body), 15.0), tissues.bowel_wall, rng.uniform(3.5, 8.0), core, gas, mottle=mottle)]


def _pancreas(rng: np.random.Generator, torso: Torso, tissues: Tissues) -> List[Part]:
    a, b = torso.half_width, torso.half_depth
    level = torso.dome_top - rng.uniform(115.0, 135.0)
    gland = Tube(
        [
            (-0.22 * a, 0.10 * b, level - 18.0),
            (-0.10 * a, 0.0, level),
            (0.15 * a, -0.02 * b, level + 14.0),
            (0.40 * a, 0.16 * b, level + 22.0),
            (0.58 * a, 0.30 * b, level + 30.0),
        ],
        list(rng.uniform(0.85, 1.15) * np.array([15.0, 12.0, 11.0, 11.0, 8.0])),
    )
    ring = [(-0.30, -0.05, 12.0), (-0.36, 0.20, -14.0), (-0.30, 0.28, -42.0), (-0.05, 0.22, -52.0), (0.16, 0.15, -40.0)]
    duodenum = Tube([(u * a, v * b, level + w) for u, v, w in ring], [13.0, 13.0, 13.0, 12.0, 12.0])
    return [
        Part(duodenum, tissues.bowel_wall, 3.0, tissues.contents(rng)),
        Part(gland, tissues.pancreas, bumps=1.2),
    ]


def _gallbladder(rng: np.random.Generator, torso: Torso, tissues: Tissues, hilum: np.ndarray) -> List[Part]:
    if rng.random() < 0.12:  # no gallbladder (cholecystectomy): common enough that a network should not rely on it
        return []
    a, b = torso.half_width, torso.half_depth
    size = rng.uniform(0.7, 1.2)
    centre = (-0.34 * a, -0.36 * b, float(hilum[2]) - rng.uniform(24.0, 38.0))
    shape = Ellipsoid(centre, (size * 14.0, size * 17.0, size * 27.0), rotation(about_x=25.0, about_y=15.0))
    return [Part(shape, tissues.bowel_wall, rng.uniform(1.0, 2.5), tissues.bile)]


def _kidneys(rng: np.random.Generator, torso: Torso, tissues: Tissues) -> List[Part]:
    b = torso.half_depth
    size = rng.uniform(0.88, 1.12)
    parts = []
    for side in (-1.0, 1.0):
        level = torso.dome_top - rng.uniform(135.0, 155.0) - (12.0 if side < 0 else 0.0)
        middle = (side * rng.uniform(59.0, 66.0), 0.50 * b, level)
        turn = rotation(about_x=8.0, about_y=side * 10.0, about_z=-side * 35.0)
        kidney = Ellipsoid(middle, (size * 29.0, size * 25.0, size * 54.0), turn)
        sinus = Ellipsoid((middle[0] - side * 13.0, middle[1] - 6.0, level), (size * 15.0, 9.0, size * 24.0), turn)
        parts += [
            Part(kidney, tissues.cortex, rng.uniform(7.0, 10.0), tissues.medulla, film=rng.uniform(0.5, 4.0)),
            Part(sinus, tissues.fat + 20.0, bumps=1.0),
        ]
    return parts


def _psoas_and_crura(rng: np.random.Generator, torso: Torso, tissues: Tissues) -> List[Part]:
    top, y = torso.dome_top, torso.spine_y
    size = rng.uniform(0.85, 1.2)
    parts = []
    for side in (-1.0, 1.0):
        psoas = Tube(
            [
                (side * 26.0, y + 2.0, top - 135.0),
                (side * 40.0, y - 6.0, top - 230.0),
                (side * 56.0, y - 32.0, top - 370.0),
            ],
            [size * 9.0, size * 21.0, size * 24.0],
        )
        crus = Tube(
            [
                (side * 17.0, y - 26.0, top - 40.0),
                (side * 19.0, y - 21.0, top - 90.0),
                (side * 20.0, y - 12.0, top - 160.0),
            ],
            [5.0, size * 7.0, 6.0],
        )
        parts += [Part(psoas, tissues.muscle, region="any", bumps=1.0), Part(crus, tissues.muscle, region="any")]
    return parts


def _great_vessels(rng: np.random.Generator, torso: Torso, tissues: Tissues, hilum: np.ndarray) -> List[Part]:
    top, y = torso.dome_top, torso.spine_y
    wide, cava_width = rng.uniform(9.0, 13.0), rng.uniform(10.0, 13.0)
    aorta = Tube(
        [(16.0, y - 22.0, top + 220.0), (12.0, y - 30.0, top - 60.0), (8.0, y - 30.0, top - 300.0)],
        [wide + 1.0, wide, wide - 2.0],
    )
    cava = Tube(
        [
            (-17.0, y - 27.0, top - 330.0),
            (-18.0, y - 31.0, top - 120.0),
            (-18.0, y - 44.0, top - 60.0),
            (-14.0, y - 54.0, top - 12.0),
            (-10.0, y - 60.0, top + 12.0),
        ],
        [cava_width, cava_width, cava_width, cava_width + 1.0, cava_width + 2.0],
    )
    confluence = (-6.0, y - 60.0, float(hilum[2]) - 40.0)
    portal = Tube([confluence, tuple(float(v) for v in hilum)], [7.0, 6.5])
    splenic = Tube(
        [confluence, (30.0, y - 62.0, confluence[2] + 12.0), (75.0, y - 40.0, confluence[2] + 28.0)], [5.0, 4.5, 4.0]
    )
    mesenteric = Tube([confluence, (-4.0, y - 66.0, confluence[2] - 120.0)], [5.5, 4.0])
    return [
        Part(aorta, tissues.aorta, region="any", bumps=0.0),
        Part(cava, tissues.cava, region="any", bumps=0.0),
        *(Part(vein, tissues.portal_vein, bumps=0.0) for vein in (portal, splenic, mesenteric)),
    ]
