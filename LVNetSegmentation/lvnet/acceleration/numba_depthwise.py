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

from typing import Any, List

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

#: Channels of one vector.
LANES = 16
_RADIUS = 2
_BYTES = 4 * LANES

_vector = ir.VectorType(ir.FloatType(), LANES)
_word = ir.IntType(64)


def _load(builder: Any, address: Any, offset: int = 0) -> Any:
    if offset:
        address = builder.add(address, ir.Constant(_word, offset))
    return builder.load(builder.inttoptr(address, _vector.as_pointer()), align=4)


def _store(builder: Any, value: Any, address: Any, offset: int = 0) -> None:
    if offset:
        address = builder.add(address, ir.Constant(_word, offset))
    builder.store(value, builder.inttoptr(address, _vector.as_pointer()), align=4)


def _multiply_add(builder: Any, a: Any, b: Any, total: Any) -> Any:
    # Marked for contraction rather than as a fused operation: fast with FMA and right without.
    return builder.fadd(total, builder.fmul(a, b, flags=("fast",)), flags=("fast",))


class _Loop:
    """A counted loop in LLVM whose vectors are carried from turn to turn in registers."""

    def __init__(self, builder: Any, turns: Any, carried: List[Any]) -> None:
        self.builder, self.turns = builder, turns
        entry = builder.block
        function = builder.function
        self.body, self.end = function.append_basic_block("body"), function.append_basic_block("end")
        # A loop of no turns is never asked for: every row has at least one voxel.
        builder.branch(self.body)
        builder.position_at_end(self.body)
        self.index = builder.phi(_word)
        self.index.add_incoming(ir.Constant(_word, 0), entry)
        self.values = [builder.phi(_vector) for _ in carried]
        for phi, value in zip(self.values, carried):
            phi.add_incoming(value, entry)

    def close(self, results: List[Any]) -> List[Any]:
        """Ends the body; the results are carried on, and given back after the last turn."""
        builder = self.builder
        following = builder.add(self.index, ir.Constant(_word, 1))
        self.index.add_incoming(following, builder.block)
        for phi, value in zip(self.values, results):
            phi.add_incoming(value, builder.block)
        builder.cbranch(builder.icmp_signed("<", following, self.turns), self.body, self.end)
        builder.position_at_end(self.end)
        return results


@intrinsic  # type: ignore[misc]
def _copy(typing: Any, target: Any, source: Any) -> Any:
    """Copies one vector from address to address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target, source = arguments
        _store(builder, _load(builder, source), target)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic  # type: ignore[misc]
def _row_products(typing: Any, table: Any, stride: Any, gradient: Any, width: Any, sums: Any) -> Any:
    """Adds sum over x of x[ky][x] * gradient[x + 2 - kx] to 5 x 5 sums of one channel group.

    `table` holds the addresses of five rows of the input, `stride` bytes lie between their columns;
    `gradient` is a row of vectors with two of zeros on either side; `sums` holds 25 vectors.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        table, stride, gradient, width, sums = arguments
        rows = []
        for ky in range(5):
            place = builder.inttoptr(builder.add(table, ir.Constant(_word, 8 * ky)), _word.as_pointer())
            rows.append(builder.load(place))
        carried = [_load(builder, sums, i * _BYTES) for i in range(25)]
        loop = _Loop(builder, width, carried)
        column = builder.mul(loop.index, stride)
        values = [_load(builder, builder.add(row, column)) for row in rows]
        around = builder.add(gradient, builder.mul(loop.index, ir.Constant(_word, _BYTES)))
        results = list(loop.values)
        for kx in range(5):
            pull = _load(builder, around, (4 - kx) * _BYTES)
            for ky in range(5):
                results[5 * ky + kx] = _multiply_add(builder, values[ky], pull, results[5 * ky + kx])
        for i, value in enumerate(loop.close(results)):
            _store(builder, value, sums, i * _BYTES)
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
                        _copy(padded_at + (column + _RADIUS) * _BYTES, source + column * stride)  # type: ignore[call-arg]
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
                        _row_products(table.ctypes.data, stride, padded_at, width, sums.ctypes.data + kz * 25 * _BYTES)  # type: ignore[call-arg]
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
