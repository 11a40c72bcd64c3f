"""A Numba kernel for the depth-wise 5x5x5 convolution alone, channels-last, for training on a CPU.

The same computation as in an IRB block at inference (:mod:`.numba_irb`), without the other steps of the block.
"""

from __future__ import annotations

from typing import Any, Callable, Dict

from llvmlite import ir
from numba.core import types

from ..layout.winograd import OUTPUTS, POINTS, transform_output
from ..layout.workspace import RING, TOGETHER
from .numba_rows import input_row, way_ahead
from .numba_winograd import winograd_kernels
from .vector_code import Loop, VectorCode, intrinsic, put_word, stack_memory


def _signature(arguments: int) -> Any:
    return types.void(*[types.int64] * arguments)


def functions(lanes: int, activated: int, measured: int, pulled: int) -> Dict[str, Callable[..., None]]:
    """The kernel `tile` for vectors of `lanes` float32, uncompiled; see :func:`.catalogue.convolution_kernels`."""
    size = 4 * lanes
    measured = measured or pulled  # sums are computed in both cases
    transform_row = input_row(lanes, bool(activated))
    parts = winograd_kernels(lanes)
    fill, convolve, strides = parts.fill, parts.convolve, parts.strides

    @intrinsic
    def finish_row(typing: Any, sums: Any, point_stride: Any, tile_stride: Any, tiles: Any, out: Any, voxel: Any,
                   columns: Any, spare: Any, zeros: Any, beside: Any, ahead: Any, parameters: Any,
                   totals: Any) -> Any:  # fmt: skip
        """Output transform of a row's tiles in one slice; voxels from column `columns` on are written to `spare`."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = VectorCode(builder, lanes)
            sums, point_stride, tile_stride, tiles, out, voxel, columns, spare = arguments[:8]
            zeros, beside, ahead, parameters, totals = arguments[8:]
            scale, shift, mean = (code.load(parameters, i * size) for i in range(3)) if measured else [None] * 3
            zero = code.splat(0.0)
            loop = Loop(builder, tiles, [code.load(totals, i * size) for i in range(2)] if measured else [])
            base = code.offset(sums, builder.mul(loop.index, tile_stride))
            products = [code.load(code.offset(base, code.times(point_stride, p))) for p in range(POINTS)]
            results = list(loop.values)
            for j, value in enumerate(transform_output(code, products)):
                column = code.offset(code.times(loop.index, OUTPUTS), j)
                wanted, here = builder.icmp_signed("<", column, columns), builder.mul(column, voxel)
                target = builder.select(wanted, code.offset(out, here), spare)
                if pulled:
                    source = builder.select(wanted, code.offset(beside, here), zeros)
                    x = code.load(source)
                    code.prefetch(code.offset(source, ahead))
                    value = code.multiply(value, code.exp_below_zero(code.multiply_add(x, scale, shift)))
                # Past the caches only whole cache lines are written fast.
                (code.stream if lanes == 16 else code.store)(value, target)
                if measured:
                    value = builder.select(wanted, value, zero)
                    centred = code.subtract(x if pulled else value, mean)
                    first = value if pulled else builder.select(wanted, centred, zero)
                    results = [code.add(results[0], first), code.multiply_add(first, centred, results[1])]
            for i, value in enumerate(loop.close(results)):
                code.store(value, totals, i * size)
            return context.get_dummy_value()

        return _signature(13), generate

    @intrinsic
    def add_up(typing: Any, source: Any, target: Any, count: Any) -> Any:
        """Adds `count` float32 values to as many float64 sums."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = VectorCode(builder, lanes)
            source, target, count = arguments
            loop = Loop(builder, count, [])
            few = builder.inttoptr(code.offset(source, code.times(loop.index, 4)), ir.FloatType().as_pointer())
            place = builder.inttoptr(code.offset(target, code.times(loop.index, 8)), ir.DoubleType().as_pointer())
            builder.store(builder.fadd(builder.load(place), builder.fpext(builder.load(few), ir.DoubleType())), place)
            loop.close([])
            return context.get_dummy_value()

        return _signature(3), generate

    memory, few_sums = stack_memory(8 * RING), stack_memory(2 * size)

    def tile(x, out, beside, voxel, slices, height, width, groups, weights, parameters, top, rows, left, columns, work,
             totals):  # fmt: skip
        """Some groups of channels of rows top..top + rows - 1 and columns left..left + columns - 1 of every slice.

        x, out and beside are addresses of the first group's first channel of (slices, height, width) voxels,
        `voxel` bytes apart.  For each group, `weights` holds (point, ky, kz) vectors, `parameters` scale, shift and
        mean, and `totals` receives two sums per lane, float64, starting from zero.
        """
        tiles, point_bytes, row_bytes, sum_bytes, sum_row_bytes = strides(slices, columns)
        tile_bytes, sum_tile_bytes = slices * size, (slices + 2) * size
        group_bytes = RING * row_bytes
        sums = work + groups * group_bytes
        zeros = sums + 2 * sum_row_bytes
        spare = zeros + size
        fill(zeros, 1)
        table, few = memory(), few_sums()
        fill(few, 2)
        plane, line = height * width * voxel, width * voxel
        for pair in range((rows + 1) // 2 + 2):
            for r in range(2):
                y, slot = top - 2 + 2 * pair + r, work + (2 * pair + r) % RING * row_bytes
                if not 0 <= y < height:
                    for g in range(groups):
                        fill(slot + g * group_bytes, row_bytes // size)
                    continue
                # All groups of a row, which are neighbours in memory, before the next row.
                for z in range(slices):
                    for g in range(groups):
                        transform_row(x + z * plane + y * line + g * size, voxel, left - 2, width, tiles,
                                      slot + g * group_bytes + z * size, point_bytes, tile_bytes,
                                      way_ahead(z, slices, plane, line), parameters + 3 * g * size)  # fmt: skip
            if pair < 2:
                continue
            upper = 2 * (pair - 2)
            for g in range(groups):
                for point in range(POINTS):
                    for t in range(0, tiles, TOGETHER):
                        for r in range(RING):
                            row_at = work + g * group_bytes + (upper + r) % RING * row_bytes
                            put_word(table + 8 * r, row_at + point * point_bytes + t * tile_bytes)
                        target = sums + point * sum_bytes + t * sum_tile_bytes
                        convolve(table, weights + (g * POINTS + point) * 25 * size, zeros, slices, target,
                                 target + sum_row_bytes, tile_bytes, sum_tile_bytes, target, 0)  # fmt: skip
                for r in range(min(2, rows - upper)):
                    for z in range(slices):
                        place = z * plane + ((top + upper + r) * width + left) * voxel + g * size
                        finish_row(sums + r * sum_row_bytes + (z + 2) * size, sum_bytes, sum_tile_bytes,
                                   (columns + OUTPUTS - 1) // OUTPUTS, out + place, voxel, columns, spare, zeros,
                                   beside + place, way_ahead(z, slices, plane, line), parameters + 3 * g * size,
                                   few)  # fmt: skip
                if measured:
                    # Sums of two rows are float32; these are added up in float64.
                    add_up(few, totals + 16 * g * lanes, 2 * lanes)
                    fill(few, 2)

    return {"tile": tile}
