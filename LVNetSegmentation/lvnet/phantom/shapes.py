"""Signed distances (mm, negative inside) to the solids that organs are made of.

Coordinates are patient millimetres, LPS: x to the left, y to the back, z to the head.  Every shape
has `low` and `high`, the corners of its bounding box in (x, y, z) order, and `distance(x, y, z)`.
Away from the surface the distances are approximate; close to it they are good to a few percent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Sequence, Tuple

import numpy as np

Point = Tuple[float, float, float]


def smooth_max(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
    """The larger of two distances with the edge between them rounded over about `width` mm."""
    difference = a - b
    return 0.5 * (a + b + np.sqrt(difference * difference + width * width))


def smooth_min(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
    """The smaller of two distances with the crease between them filled over about `width` mm."""
    difference = a - b
    return 0.5 * (a + b - np.sqrt(difference * difference + width * width))


def rotation(about_x: float = 0.0, about_y: float = 0.0, about_z: float = 0.0) -> np.ndarray:
    """(3, 3) rotation matrix from three angles in degrees, applied about z, then y, then x."""
    matrix = np.eye(3)
    for axis, angle in ((2, about_z), (1, about_y), (0, about_x)):
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        turn = np.eye(3)
        i, j = [k for k in range(3) if k != axis]
        turn[i, i], turn[i, j], turn[j, i], turn[j, j] = c, -s, s, c
        matrix = turn @ matrix
    return matrix


@dataclass
class Ellipsoid:
    """An ellipsoid with half axes `semi` (mm) along the columns of `axes`."""

    centre: Point
    semi: Point
    axes: np.ndarray

    def __post_init__(self) -> None:
        half = np.sqrt(((self.axes * np.asarray(self.semi)) ** 2).sum(axis=1))
        self.low = np.asarray(self.centre) - half
        self.high = np.asarray(self.centre) + half

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        px, py, pz = x - self.centre[0], y - self.centre[1], z - self.centre[2]
        level: np.ndarray = np.zeros_like(px)
        gradient: np.ndarray = np.full_like(px, 1e-12)
        for k in range(3):
            a, b, c = (float(v) / self.semi[k] for v in self.axes[:, k])
            q = a * px + b * py + c * pz
            q *= q
            level += q
            gradient += q / self.semi[k] ** 2
        np.sqrt(level, out=level)
        return np.asarray(level * (level - 1.0) / np.sqrt(gradient))


class Tube:
    """A chain of round cones through `points` ((n, 3), mm) with a radius at each of them."""

    def __init__(self, points: Any, radii: Sequence[float]) -> None:
        self.points = np.asarray(points, dtype=np.float64)
        self.radii = np.asarray(radii, dtype=np.float64)
        self.low = (self.points - self.radii[:, None]).min(axis=0)
        self.high = (self.points + self.radii[:, None]).max(axis=0)

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        nearest: np.ndarray = np.full_like(x, 1e6)
        for start, end, r0, r1 in zip(self.points[:-1], self.points[1:], self.radii[:-1], self.radii[1:]):
            ux, uy, uz = (float(v) for v in end - start)
            px, py, pz = x - float(start[0]), y - float(start[1]), z - float(start[2])
            share = px * ux
            share += py * uy
            share += pz * uz
            share /= max(ux * ux + uy * uy + uz * uz, 1e-9)
            np.clip(share, 0.0, 1.0, out=share)
            px -= share * ux
            py -= share * uy
            pz -= share * uz
            length = np.sqrt(px * px + py * py + pz * pz)
            length -= float(r0) + share * float(r1 - r0)
            np.minimum(nearest, length, out=nearest)
        return nearest


class Union:
    """A smooth union of several shapes, with creases filled over about `width` mm."""

    def __init__(self, shapes: Sequence[Shape], width: float) -> None:
        self.shapes = tuple(shapes)
        self.width = width
        self.low = np.min([shape.low for shape in shapes], axis=0) - width / 2
        self.high = np.max([shape.high for shape in shapes], axis=0) + width / 2

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        result = self.shapes[0].distance(x, y, z)
        for shape in self.shapes[1:]:
            result = smooth_min(result, shape.distance(x, y, z), self.width)
        return result


class Shape(Protocol):
    """The interface of all shapes."""

    low: np.ndarray
    high: np.ndarray

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Signed distance in mm at the points (x, y, z), arrays of one shape."""
        ...
