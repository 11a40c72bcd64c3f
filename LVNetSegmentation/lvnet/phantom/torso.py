"""The trunk that contains everything else: body wall, abdominal cavity, diaphragm, position of the skeleton."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Torso:
    """Dimensions of one trunk in mm; x = 0 is the midline, z = 0 is about at the level of T12.

    The cavity is an ellipse-like tube around the origin; muscle and fat are larger such tubes whose
    centres lie further back, because the back's muscles are thicker than the belly's.

    Attributes:
        half_width, half_depth: half axes of the cavity.
        wall_side, wall_front, wall_back: thickness of the muscle wall, with the ribs in it.
        fat_side, fat_front, fat_back: thickness of the subcutaneous fat.
        skin: thickness of the skin.
        roundness: exponent of the outline; 2 is an ellipse, more is squarer.
        dome_floor: where the diaphragm meets the wall (z).
        dome_right, dome_left: height of the domes over the floor.
        rib_pitch, rib_phase, rib_tilt: distance of the ribs, position of the first, slope towards the front.
        disc_phase: position of the vertebral discs.
    """

    half_width: float
    half_depth: float
    wall_side: float
    wall_front: float
    wall_back: float
    fat_side: float
    fat_front: float
    fat_back: float
    skin: float
    roundness: float
    dome_floor: float
    dome_right: float
    dome_left: float
    rib_pitch: float
    rib_phase: float
    rib_tilt: float
    disc_phase: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Torso:
        """A random trunk, from slim to stout."""
        stout = rng.uniform(0.0, 1.0)
        scale = rng.uniform(0.92, 1.08)
        dome = rng.uniform(105.0, 125.0)
        return cls(
            half_width=scale * (122.0 + 18.0 * stout),
            half_depth=scale * (84.0 + 20.0 * stout),
            wall_side=rng.uniform(22.0, 30.0),
            wall_front=rng.uniform(13.0, 18.0),
            wall_back=rng.uniform(40.0, 50.0),
            fat_side=6.0 + 30.0 * stout * rng.uniform(0.5, 1.0),
            fat_front=7.0 + 34.0 * stout * rng.uniform(0.4, 1.0),
            fat_back=6.0 + 20.0 * stout * rng.uniform(0.5, 1.0),
            skin=rng.uniform(1.6, 2.6),
            roundness=rng.uniform(2.15, 2.6),
            dome_floor=rng.uniform(-42.0, -22.0),
            dome_right=dome,
            dome_left=dome - rng.uniform(10.0, 30.0),
            rib_pitch=rng.uniform(25.0, 30.0),
            rib_phase=rng.uniform(0.0, 30.0),
            rib_tilt=rng.uniform(0.40, 0.62),
            disc_phase=rng.uniform(0.0, 33.0),
        )

    @property
    def spine_y(self) -> float:
        """y of the middle of the vertebral bodies."""
        return self.half_depth - 13.0

    @property
    def body_half_width(self) -> float:
        """Half the width of the body, skin included."""
        return self.half_width + self.wall_side + self.fat_side + self.skin

    @property
    def body_front(self) -> float:
        """y of the skin of the belly."""
        return -(self.half_depth + self.wall_front + self.fat_front + self.skin)

    @property
    def body_back(self) -> float:
        """y of the skin of the back."""
        return self.half_depth + self.wall_back + self.fat_back + self.skin

    @property
    def dome_top(self) -> float:
        """z of the highest point of the right dome."""
        return self.dome_floor + self.dome_right

    def taper(self, z: np.ndarray) -> np.ndarray:
        """Relative width of the trunk at each height: narrower towards the neck and at the waist."""
        chest = np.clip((z - 50.0) / 150.0, 0.0, 1.6)
        waist = np.exp(-(((z + 110.0) / 50.0) ** 2))
        return 1.0 - 0.10 * chest * chest - 0.05 * waist

    def cavity(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Signed distance to the inner face of the wall."""
        return self._outline(x, y, z, self.half_width, -self.half_depth, self.half_depth)

    def muscle(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Signed distance to the outer face of the muscle wall."""
        front, back = -self.half_depth - self.wall_front, self.half_depth + self.wall_back
        return self._outline(x, y, z, self.half_width + self.wall_side, front, back)

    def body(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Signed distance to the skin's surface."""
        return self._outline(x, y, z, self.body_half_width, self.body_front, self.body_back)

    def _outline(
        self, x: np.ndarray, y: np.ndarray, z: np.ndarray, half_width: float, front: float, back: float
    ) -> np.ndarray:
        half_depth, middle = 0.5 * (back - front), 0.5 * (back + front)
        taper = self.taper(z)
        u = np.abs(x / (taper * half_width))
        v = np.abs((y - middle) / (taper * half_depth))
        radius = (u**self.roundness + v**self.roundness) ** (1.0 / self.roundness)
        radius += 1e-6
        # Along the ray from the middle: the distance of the point times the fraction it must move.
        length = np.sqrt(x * x + (y - middle) * (y - middle))
        return np.asarray(length * (1.0 - 1.0 / radius) + (radius < 1e-3) * -half_depth)

    def diaphragm(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Height (z) of the diaphragm over each point: two domes, the right one higher."""
        a, b = self.half_width, self.half_depth
        right = self._dome(x + 0.46 * a, y - 0.02 * b, 0.58 * a, 0.99 * b) * self.dome_right
        left = self._dome(x - 0.47 * a, y - 0.02 * b, 0.57 * a, 0.99 * b) * self.dome_left
        saddle = self._dome(x, y + 0.25 * b, 0.62 * a, 0.72 * b) * (0.74 * self.dome_left)
        return np.asarray(self.dome_floor + np.maximum(np.maximum(right, left), saddle))

    @staticmethod
    def _dome(x: np.ndarray, y: np.ndarray, width: float, depth: float) -> np.ndarray:
        radius = np.minimum((x / width) ** 2 + (y / depth) ** 2, 1.0)
        return np.asarray((1.0 - radius * np.sqrt(radius)) ** 0.42)

    def above_diaphragm(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Signed distance to the diaphragm, positive in the chest (good close to it only)."""
        height = z - self.diaphragm(x, y)
        # Domes are steep at their rim: shorten the vertical distance there.
        rim = np.clip((z - self.dome_floor) / (0.75 * self.dome_right), 0.0, 1.0)
        return np.asarray(height * (0.45 + 0.4 * rim))
