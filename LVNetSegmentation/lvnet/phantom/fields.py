"""Smooth random fields, evaluated on any slab of a grid without computing the whole field."""

from __future__ import annotations

import numpy as np

#: Lattice points per axis before a field repeats itself: fixed, so that the random numbers drawn do
#: not depend on the size of the image.
_PERIOD = 16


class SmoothField:
    """A periodic tensor-product cubic B-spline with random coefficients.

    Separable, so that a slab takes three small matrix products; bounded, so that displaced shapes
    can be culled by their bounding box.

    Args:
        rng: source of the coefficients.
        pitch: distance of the lattice points in mm: about the size of the features.
        bound: largest absolute value; the standard deviation is 0.19 of it.
        channels: number of independent fields, such as the three components of a displacement.
    """

    def __init__(self, rng: np.random.Generator, pitch: float, bound: float, channels: int = 1) -> None:
        shape = (channels, _PERIOD, _PERIOD, _PERIOD)
        self.pitch = float(pitch)
        self.bound = float(bound)
        self._coefficients = (bound * rng.uniform(-1.0, 1.0, shape)).astype(np.float32)

    def on(self, z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Values on the grid spanned by three axes.

        Args:
            z, y, x: 1D coordinates in mm.

        Returns:
            (channels, len(z), len(y), len(x)) float32.
        """
        along_z = np.einsum("ka,cabd->ckbd", _spline_weights(z / self.pitch), self._coefficients)
        along_y = np.einsum("jb,ckbd->ckjd", _spline_weights(y / self.pitch), along_z)
        return np.asarray(along_y @ _spline_weights(x / self.pitch).T)


def _spline_weights(position: np.ndarray) -> np.ndarray:
    """(n, _PERIOD) float32: weight of each lattice point at each position, in lattice steps."""
    base = np.floor(position).astype(np.int64)
    t = position - base
    parts = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    weights = np.zeros((len(position), _PERIOD))
    rows = np.arange(len(position))
    for offset, part in enumerate(parts):
        weights[rows, (base + offset - 1) % _PERIOD] += part / 6.0
    return weights.astype(np.float32)
