"""Numba kernels for the gradients of halving and doubling, channels-last; see :mod:`.numba_stages`."""

from __future__ import annotations

from typing import Any, Callable, Dict

import numba
from llvmlite import ir
from numba.core import types

from .numba_winograd import winograd_kernels
from .vector_code import Loop, VectorCode, intrinsic


def functions(lanes: int) -> Dict[str, Callable[..., None]]:
    """The kernels `halve` and `double` for vectors of `lanes` float32, not yet compiled."""
    size = 4 * lanes
    fill = winograd_kernels(lanes).fill

    @intrinsic
    def spread_row(typing: Any, gradient: Any, width: Any, voxel: Any, out: Any) -> Any:
        """Writes an eighth of each column of a row to two output columns, for one vector of channels."""

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
        """total += weight * row for one vector of channels; `total` is contiguous."""

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
        """Gradient of the doubling along the row: `total` has 2 * `width` columns, plus a copy of each end."""

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

    def halve(gradient, height, width, channels, out, first, last):
        # height, width and the row numbers are those of the gradient.
        voxel = channels * 4
        row_bytes = 2 * width * voxel
        for number in range(first, last):
            z, y = number // height, number % height
            for dz in range(2):
                for dy in range(2):
                    target = out + ((2 * z + dz) * 2 * height + 2 * y + dy) * row_bytes
                    for shift in range(0, voxel, size):
                        spread_row(gradient + number * width * voxel + shift, width, voxel, target + shift)

    def double(gradient, slices, height, width, channels, out, room, first, last):
        # slices, height and width are those of the output; the first vector of `room` holds the copy of the first
        # column.
        voxel = channels * 4
        row_bytes = 2 * width * voxel
        quarter, most = numba.float32(0.25), numba.float32(0.75)
        for number in range(first, last):
            z, y = number // height, number % height
            for shift in range(0, voxel, size):
                fill(room, 2 * width + 2)
                for i in range(4):
                    # At the ends, the outermost output depends on one input alone, with the full weight.
                    zz = min(max(2 * z - 1 + i, 0), 2 * slices - 1)
                    for j in range(4):
                        yy = min(max(2 * y - 1 + j, 0), 2 * height - 1)
                        add_row(gradient + (zz * 2 * height + yy) * row_bytes + shift, 2 * width, voxel,
                                (most if 0 < i < 3 else quarter) * (most if 0 < j < 3 else quarter),
                                room + size)  # fmt: skip
                move(room + size, room)
                move(room + 2 * width * size, room + (2 * width + 1) * size)
                gather_row(room, width, voxel, out + number * width * voxel + shift)

    return {"halve": halve, "double": double}
