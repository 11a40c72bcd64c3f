"""A Numba kernel for the weight gradient of the depth-wise 5x5x5 convolution, on a CPU.

Stock PyTorch spends about ten times its forward time in the backward pass of a depth-wise 3D
convolution on a CPU, nearly all of it in the gradient to the weights.  Arrays are channels-last,
(N, D, H, W, C), float32, C-contiguous; zero padding of 2, stride 1; C is a multiple of
:data:`LANES`.

A group of 16 channels is one vector (one register with AVX-512, two with AVX2) and passes through
all rows before the next group, so that the rows around a voxel stay in the second-level cache.
Compilers do not keep 25 sums in registers for loops over channels; the innermost kernel is
therefore written as vector code (LLVM, by Numba's own means): `_row_products` sums the 5 x 5
products of a row of gradients with five rows of the input, 25 multiply-adds for 10 loads.

Groups are shared out among threads; every sum is made by one thread in one order, so that results
do not depend on the number of threads.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba.core import types

from .vector_code import Loop, VectorCode, intrinsic

#: Channels of one vector.
LANES = 16
_RADIUS = 2
_BYTES = 4 * LANES


@intrinsic
def _copy(typing: Any, target: Any, source: Any) -> Any:
    """Copies one vector from address to address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code = VectorCode(builder, LANES)
        target, source = arguments
        code.store(code.load(source), target)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def _row_products(typing: Any, table: Any, stride: Any, gradient: Any, width: Any, sums: Any) -> Any:
    """Adds sum over x of x[ky][x] * gradient[x + 2 - kx] to 5 x 5 sums of one channel group.

    `table` holds the addresses of five rows of the input, `stride` bytes lie between their columns;
    `gradient` is a row of vectors with two of zeros on either side; `sums` holds 25 vectors.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code = VectorCode(builder, LANES)
        table, stride, gradient, width, sums = arguments
        rows = [code.load_word(table, 8 * ky) for ky in range(5)]
        loop = Loop(builder, width, [code.load(sums, i * _BYTES) for i in range(25)])
        column = builder.mul(loop.index, stride)
        values = [code.load(code.offset(row, column)) for row in rows]
        around = code.offset(gradient, code.times(loop.index, _BYTES))
        results = list(loop.values)
        for kx in range(5):
            pull = code.load(around, (4 - kx) * _BYTES)
            for ky in range(5):
                results[5 * ky + kx] = code.multiply_add(values[ky], pull, results[5 * ky + kx])
        for i, value in enumerate(loop.close(results)):
            code.store(value, sums, i * _BYTES)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), generate


@numba.njit(parallel=True, nogil=True)
def _weight_gradient(x: Any, gradient: Any, out: Any) -> None:
    batch, depth, height, width, channels = x.shape
    stride = channels * 4
    row_bytes, x_at, gradient_at = width * stride, x.ctypes.data, gradient.ctypes.data
    for group in numba.prange(channels // LANES):
        shift = group * _BYTES
        zero_row = np.zeros(width * channels, np.float32)
        table = np.empty(5, np.int64)
        padded = np.zeros((width + 4, LANES), np.float32)
        padded_at = padded.ctypes.data
        sums = np.zeros((5, 25, LANES), np.float32)
        for n in range(batch):
            # y before z: five rows of every slice stay in the cache and are read from memory once.
            for y in range(height):
                for z in range(depth):
                    source = gradient_at + ((n * depth + z) * height + y) * row_bytes + shift
                    for column in range(width):
                        _copy(padded_at + (column + _RADIUS) * _BYTES, source + column * stride)
                    for kz in range(5):
                        zz = z + kz - _RADIUS
                        if zz < 0 or zz >= depth:
                            continue
                        for ky in range(5):
                            yy = y + ky - _RADIUS
                            if 0 <= yy < height:
                                table[ky] = x_at + ((n * depth + zz) * height + yy) * row_bytes + shift
                            else:
                                table[ky] = zero_row.ctypes.data
                        _row_products(table.ctypes.data, stride, padded_at, width, sums.ctypes.data + kz * 25 * _BYTES)
        for tap in range(125):
            for lane in range(LANES):
                out[tap, group * LANES + lane] = sums[tap // 25, tap % 25, lane]


def weight_gradient(x: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Gradient to the weights, summed over batch and space.

    Args:
        x: input of the convolution, (N, D, H, W, C) float32, C-contiguous.
        gradient: to its output, of the same shape.

    Returns:
        (5, 5, 5, C) float32.
    """
    out = np.empty((125, x.shape[-1]), np.float32)
    _weight_gradient(x, gradient, out)
    return out.reshape(5, 5, 5, -1)
