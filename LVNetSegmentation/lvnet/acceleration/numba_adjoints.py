"""Numba kernels for the gradients of halving and doubling, channels-last; see :mod:`.numba_stages`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Callable

import numba
import numpy as np
from llvmlite import ir
from numba.core import types

from .vector_code import Loop, VectorCode, intrinsic


@dataclass(frozen=True)
class AdjointKernels:
    """The kernels; each works on the rows `first` to `last` - 1 of what it writes, counted over all slices.

    Attributes:
        halve: of the mean over 2 x 2 x 2 voxels: an eighth to each of them.
        double: of trilinear up-sampling by two: a quarter and three quarters along each axis.
    """

    lanes: int
    halve: Callable[..., None]
    double: Callable[..., None]


@lru_cache(maxsize=2)
def adjoint_kernels(lanes: int) -> AdjointKernels:
    """Builds the kernels; they are compiled at their first call."""
    size = 4 * lanes

    @intrinsic
    def spread_row(typing: Any, gradient: Any, width: Any, voxel: Any, out: Any) -> Any:
        """One vector of channels of a row, an eighth of it twice."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = VectorCode(builder, lanes)
            gradient, width, voxel, out = arguments
            loop = Loop(builder, width, [])
            step = builder.mul(loop.index, voxel)
            value = code.multiply(code.load(code.offset(gradient, step)), code.splat(0.125))
            target = code.offset(out, step, step)
            code.store(value, target)
            code.store(value, code.offset(target, voxel))
            loop.close([])
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), generate

    @intrinsic
    def add_row(typing: Any, row: Any, width: Any, voxel: Any, weight: Any, total: Any) -> Any:
        """total += weight * row, one vector of channels; `total` has no gaps."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = VectorCode(builder, lanes)
            row, width, voxel, weight, total = arguments
            nothing = ir.Constant(code.vector, ir.Undefined)
            first = builder.insert_element(nothing, weight, ir.Constant(ir.IntType(32), 0))
            factor = builder.shuffle_vector(first, nothing, ir.Constant(code.integers, [0] * lanes))
            loop = Loop(builder, width, [])
            place = code.offset(total, code.times(loop.index, size))
            value = code.load(code.offset(row, builder.mul(loop.index, voxel)))
            code.store(code.multiply_add(value, factor, code.load(place)), place)
            loop.close([])
            return context.get_dummy_value()

        return types.void(*[types.int64] * 3, types.float32, types.int64), generate

    @intrinsic
    def gather_row(typing: Any, total: Any, width: Any, voxel: Any, out: Any) -> Any:
        """The same along the row: `total` has 2 `width` columns and a copy of its ends on either side."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = VectorCode(builder, lanes)
            total, width, voxel, out = arguments
            loop = Loop(builder, width, [])
            place = code.offset(total, code.times(loop.index, 2 * size))
            a, b, c, d = (code.load(place, i * size) for i in range(4))
            value = code.scaled(code.add(b, c), 0.75, code.multiply(code.add(a, d), code.splat(0.25)))
            code.store(value, code.offset(out, builder.mul(loop.index, voxel)))
            loop.close([])
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), generate

    @intrinsic
    def move(typing: Any, source: Any, target: Any) -> Any:
        """Copies one vector."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = VectorCode(builder, lanes)
            code.store(code.load(arguments[0]), arguments[1])
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), generate

    @numba.njit(nogil=True)
    def halve(gradient, height, width, channels, out, first, last):
        # height and width are the gradient's; rows are counted in it.
        voxel = channels * 4
        row_bytes = 2 * width * voxel
        for number in range(first, last):
            z, y = number // height, number % height
            for dz in range(2):
                for dy in range(2):
                    target = out + ((2 * z + dz) * 2 * height + 2 * y + dy) * row_bytes
                    for shift in range(0, voxel, size):
                        spread_row(gradient + number * width * voxel + shift, width, voxel, target + shift)

    @numba.njit(nogil=True)
    def double(gradient, slices, height, width, channels, out, first, last):
        # slices, height and width are those of what is written.
        voxel = channels * 4
        row_bytes = 2 * width * voxel
        room = np.empty((2 * width + 2) * lanes + 16, np.float32)
        # On a cache line's border, and one vector for the copy of the first column before it.
        total = (room.ctypes.data + 63) // 64 * 64
        weights = np.array([0.25, 0.75, 0.75, 0.25], np.float32)
        for number in range(first, last):
            z, y = number // height, number % height
            for shift in range(0, voxel, size):
                room[:] = 0
                for i in range(4):
                    # Beyond the ends the outermost output belongs to its input with its whole weight.
                    zz = min(max(2 * z - 1 + i, 0), 2 * slices - 1)
                    for j in range(4):
                        yy = min(max(2 * y - 1 + j, 0), 2 * height - 1)
                        add_row(gradient + (zz * 2 * height + yy) * row_bytes + shift, 2 * width, voxel,
                                weights[i] * weights[j], total + size)  # fmt: skip
                move(total + size, total)
                move(total + 2 * width * size, total + (2 * width + 1) * size)
                gather_row(total, width, voxel, out + number * width * voxel + shift)

    return AdjointKernels(lanes, halve, double)
