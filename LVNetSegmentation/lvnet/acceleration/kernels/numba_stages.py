"""Numba kernels for the layers between the IRB blocks: the stem, halving, doubling, ELU.

Arrays are (D, H, W, C) float32 with contiguous channels; the stride between voxels may be larger than C,
so that a result can be written directly into one half of a wider tensor.
"""

from __future__ import annotations

from typing import Any, Callable, Dict

import numba
from llvmlite import ir
from numba.core import types

from .numba_projection import row_projection
from .numba_stem import stem_kernel
from .vector_code import Loop, VectorCode, intrinsic


def functions(lanes: int) -> Dict[str, Callable[..., None]]:
    """The kernels `stem`, `halve`, `double` and `pointwise` for vectors of `lanes` float32, not yet compiled."""
    size = 4 * lanes
    # Past the caches only whole cache lines are written fast.
    write = VectorCode.stream if lanes == 16 else VectorCode.store

    def signature(integers: int, floats: int = 0) -> Any:
        return types.void(*[types.int64] * integers, *[types.float32] * floats)

    @intrinsic
    def mean_of_eight(typing: Any, x: Any, voxel: Any, row: Any, plane: Any, out: Any, count: Any) -> Any:
        """The mean over 2 x 2 x 2 voxels, `count` vectors of channels."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = VectorCode(builder, lanes)
            x, voxel, row, plane, out, count = arguments
            loop = Loop(builder, count, [])
            here = code.times(loop.index, size)
            starts = [code.offset(x, here)]
            for distance in (voxel, row, plane):
                starts += [code.offset(start, distance) for start in starts]
            values = [code.load(start) for start in starts]
            while len(values) > 1:
                values = [code.add(a, b) for a, b in zip(values[::2], values[1::2])]
            code.store(code.multiply(values[0], code.splat(0.125)), code.offset(out, here))
            loop.close([])
            return context.get_dummy_value()

        return signature(6), generate

    @intrinsic
    def double_row(typing: Any, a: Any, b: Any, c: Any, d: Any, x_voxel: Any, width: Any, out: Any, voxel: Any,
                   wa: Any, wb: Any, wc: Any, wd: Any) -> Any:  # fmt: skip
        """An output row from four weighted input rows, for one vector of channels."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = VectorCode(builder, lanes)
            rows, (x_voxel, width, out, voxel), weights = arguments[:4], arguments[4:8], arguments[8:]
            nothing = ir.Constant(code.vector, ir.Undefined)
            first = ir.Constant(ir.IntType(32), 0)
            order = ir.Constant(code.integers, [0] * lanes)
            splats = [
                builder.shuffle_vector(builder.insert_element(nothing, w, first), nothing, order) for w in weights
            ]

            def mixed(step: Any) -> Any:
                total = code.multiply(code.load(code.offset(rows[0], step)), splats[0])
                for row, weight in zip(rows[1:], splats[1:]):
                    total = code.multiply_add(code.load(code.offset(row, step)), weight, total)
                return total

            def between(near: Any, far: Any) -> Any:
                return code.scaled(near, 0.75, code.multiply(far, code.splat(0.25)))

            # Column -1 is column 0 again; outputs 2x - 1 and 2x follow from columns x - 1 and x.
            begin = mixed(ir.Constant(ir.IntType(64), 0))
            write(code, begin, out)
            loop = Loop(builder, width, [begin])
            value = mixed(builder.mul(loop.index, x_voxel))
            right = code.offset(out, builder.mul(loop.index, code.times(voxel, 2)))
            before = code.offset(right, builder.sub(ir.Constant(ir.IntType(64), 0), voxel))
            # There is no output before the first column: this value is overwritten by the next store.
            at_start = builder.icmp_signed("==", loop.index, ir.Constant(ir.IntType(64), 0))
            write(code, between(loop.values[0], value), builder.select(at_start, right, before))
            write(code, between(value, loop.values[0]), right)
            last = loop.close([value])
            end = code.offset(out, builder.mul(width, code.times(voxel, 2)))
            write(code, last[0], code.offset(end, builder.sub(ir.Constant(ir.IntType(64), 0), voxel)))
            return context.get_dummy_value()

        return signature(8, 4), generate

    project = row_projection(lanes, activated=True)

    def halve(x, x_voxel, height, width, channels, out, voxel, first, last):
        # height and width are the output's.
        row_bytes = 2 * width * x_voxel
        plane_bytes = 2 * height * row_bytes
        for number in range(first, last):
            z, y = number // height, number % height
            source = x + 2 * z * plane_bytes + 2 * y * row_bytes
            for column in range(width):
                mean_of_eight(source + 2 * column * x_voxel, x_voxel, row_bytes, plane_bytes,
                              out + (number * width + column) * voxel, channels // lanes)  # fmt: skip

    def double(x, x_voxel, slices, height, width, channels, out, voxel, first, last):
        # slices, height and width are the input's.
        quarter, most = numba.float32(0.25), numba.float32(0.75)
        row_bytes = width * x_voxel
        for number in range(first, last):
            z, y = number // (2 * height), number % (2 * height)
            # An odd output lies a quarter voxel behind its input, an even one a quarter before it.
            near_z, near_y = z // 2, y // 2
            far_z = min(max(near_z + 2 * (z % 2) - 1, 0), slices - 1)
            far_y = min(max(near_y + 2 * (y % 2) - 1, 0), height - 1)
            for g in range(channels // lanes):
                shift = x + g * size
                near, far = shift + near_z * height * row_bytes, shift + far_z * height * row_bytes
                double_row(near + near_y * row_bytes, near + far_y * row_bytes,
                           far + near_y * row_bytes, far + far_y * row_bytes,
                           x_voxel, width, out + number * 2 * width * voxel + g * size, voxel,
                           most * most, most * quarter, quarter * most, quarter * quarter)  # fmt: skip

    def pointwise(x, width, channels, weights, bias, results, out, first, last):
        for number in range(first, last):
            source, target = x + number * width * channels * 4, out + number * width * results * 4
            project(source, channels * 4, width, channels, weights, results, bias, 0, target, results * 4, bias)

    return {"stem": stem_kernel(lanes), "halve": halve, "double": double, "pointwise": pointwise}
