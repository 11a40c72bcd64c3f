"""Winograd convolution F(4, 5): four outputs of a 5-tap filter from eight products instead of twenty.

With the Toom-Cook points 0, 1, -1, 2, -2, 1/2, -1/2 and infinity, four neighbouring outputs are
A^T ((G w) * (B^T d)), where d are the eight inputs that they depend on and w the five taps.  Along one
axis of the depth-wise 5x5x5 convolution this reduces 125 products per voxel to 50, and costs about one
of the seven digits of float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, List, Sequence

import numpy as np

if TYPE_CHECKING:
    from ..kernels.vector_code import VectorCode

#: Outputs of one application, and the products that they need.
OUTPUTS, POINTS = 4, 8
_FINITE = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)
#: Index of the point 1: a constant added to its product is added to all four outputs.
POINT_OF_BIAS = 1


def input_matrix() -> np.ndarray:
    """B^T, (8, 8)."""
    return np.array(
        [
            [1, 0, -5.25, 0, 5.25, 0, -1, 0],
            [0, 1, 1, -4.25, -4.25, 1, 1, 0],
            [0, -1, 1, 4.25, -4.25, -1, 1, 0],
            [0, 0.5, 0.25, -2.5, -1.25, 2, 1, 0],
            [0, -0.5, 0.25, 2.5, -1.25, -2, 1, 0],
            [0, 2, 4, -2.5, -5, 0.5, 1, 0],
            [0, -2, 4, 2.5, -5, -0.5, 1, 0],
            [0, -1, 0, 5.25, 0, -5.25, 0, 1],
        ]
    )


def output_matrix() -> np.ndarray:
    """A^T, (4, 8)."""
    powers = np.array(_FINITE)[None, :] ** np.arange(OUTPUTS)[:, None]
    return np.hstack([powers, [[0.0], [0.0], [0.0], [1.0]]])


def weight_matrix() -> np.ndarray:
    """G, (8, 5): the powers of each point, divided by the value of B's polynomial there."""
    points = np.array(_FINITE)
    powers = points[:, None] ** np.arange(POINTS)[None, :]
    values = (input_matrix()[:-1] * powers).sum(axis=1)
    return np.vstack([powers[:, :5] / values[:, None], [0, 0, 0, 0, 1.0]])


def transform_weights(weights: np.ndarray) -> np.ndarray:
    """Applies G along the last axis.

    Args:
        weights: (..., 5) float64.

    Returns:
        (8, ...) float64.
    """
    return np.moveaxis(weights @ weight_matrix().T, -1, 0)


def transform_input(code: VectorCode, d: Sequence[Any]) -> List[Any]:
    """Emits B^T d: eight vectors from eight, in 26 instructions."""
    even, odd = code.add(d[2], d[6]), code.add(d[1], d[5])
    first = code.scaled(code.subtract(d[4], d[2]), 5.25, code.subtract(d[0], d[6]))
    last = code.scaled(code.subtract(d[3], d[5]), 5.25, code.subtract(d[7], d[1]))
    pairs = [
        (code.scaled(d[4], -4.25, even), code.scaled(d[3], -4.25, odd)),
        (
            code.scaled(d[4], -1.25, code.scaled(d[2], 0.25, d[6])),
            code.scaled(d[5], 2.0, code.scaled(d[3], -2.5, code.multiply(d[1], code.splat(0.5)))),
        ),
        (
            code.scaled(d[4], -5.0, code.scaled(d[2], 4.0, d[6])),
            code.scaled(d[5], 0.5, code.scaled(d[3], -2.5, code.multiply(d[1], code.splat(2.0)))),
        ),
    ]
    middle = [f(a, b) for a, b in pairs for f in (code.add, code.subtract)]
    return [first, *middle, last]


def transform_output(code: VectorCode, m: Sequence[Any]) -> List[Any]:
    """Emits A^T m: four vectors from eight, in 16 instructions."""
    sums = [code.add(m[i], m[i + 1]) for i in (1, 3, 5)]
    differences = [code.subtract(m[i], m[i + 1]) for i in (1, 3, 5)]
    return [
        code.add(code.add(m[0], sums[0]), code.add(sums[1], sums[2])),
        code.scaled(differences[2], 0.5, code.scaled(differences[1], 2.0, differences[0])),
        code.scaled(sums[2], 0.25, code.scaled(sums[1], 4.0, sums[0])),
        code.add(code.scaled(differences[2], 0.125, code.scaled(differences[1], 8.0, differences[0])), m[7]),
    ]


def transform_gradient(code: VectorCode, g: Sequence[Any]) -> List[Any]:
    """Emits A g: the gradients w.r.t. eight products from those w.r.t. four outputs."""
    pairs = []
    for point in (1.0, 2.0, 0.5):
        even = code.scaled(g[2], point**2, g[0])
        odd = code.multiply(code.scaled(g[3], point**2, g[1]), code.splat(point))
        pairs += [code.add(even, odd), code.subtract(even, odd)]
    return [g[0], *pairs, g[3]]


def weights_from_products(sums: np.ndarray) -> np.ndarray:
    """Applies G^T along the first axis: the gradient w.r.t. the taps, from sums over space of gradient * input.

    Args:
        sums: (8, ...) float64.

    Returns:
        (..., 5) float64.
    """
    return np.moveaxis(np.tensordot(weight_matrix().T, sums, axes=1), 0, -1)
