"""Numba kernels for an IRB block at inference: expand, convolve, project, tile by tile within the caches.

A tile is a square of rows and columns through all slices.  Channels of the expanded tensor are
independent until the projection, so some groups of a register's worth of them (a gang) pass through the
whole block at a time and the expanded tensor never exists in memory:

1. `expand_row`: input channels times weights, and ELU.
2. `transform_row`: the input transform of :mod:`..layout.winograd` along x.  Six transformed rows are kept
   in a ring.
3. `convolve`: 5 x 5 sums along y and z for one point of the transform.
4. `finish`: output transform, bias (folded into step 3), ELU.
5. `project_row`: the gang's contribution, added to the block's output.  The last block of the network, into
   which the output convolution is merged, has only a few outputs: `reduce_row`.

Batch norm is folded into the weights; see :mod:`..cpu_inference.fused_block` for their memory layout.
"""

from __future__ import annotations

from typing import Any, Callable, Dict

from llvmlite import ir
from numba.core import types

from ..layout.winograd import OUTPUTS, POINT_OF_BIAS, POINTS, transform_output
from ..layout.workspace import ABREAST, RING, TOGETHER, columns_together
from .numba_expansion import expansion_kernels
from .numba_projection import row_projection, row_reduction
from .numba_winograd import winograd_kernels
from .vector_code import Loop, VectorCode, intrinsic, put_word, stack_memory, vector_copy


def _signature(arguments: int) -> Any:
    return types.void(*[types.int64] * arguments)


def functions(lanes: int) -> Dict[str, Callable[..., None]]:
    """The kernel `tile` for vectors of `lanes` float32, not yet compiled."""
    size, block = 4 * lanes, columns_together(lanes)
    parts, copy, expansion = winograd_kernels(lanes), vector_copy(lanes), expansion_kernels(lanes)
    fill, convolve, strides, prefetches = parts.fill, parts.convolve, parts.strides, parts.prefetches
    expand_row, transform_row = expansion.expand_row, expansion.transform_row

    @intrinsic
    def add_numbers(typing: Any, a: Any, b: Any, out: Any) -> Any:
        """out = a + b, one float32."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            a, b, out = (builder.inttoptr(place, ir.FloatType().as_pointer()) for place in arguments)
            builder.store(builder.fadd(builder.load(a, align=4), builder.load(b, align=4)), out, align=4)
            return context.get_dummy_value()

        return _signature(3), generate

    @intrinsic
    def finish(typing: Any, sums: Any, point_stride: Any, slices: Any, out: Any, slice_stride: Any, voxel: Any) -> Any:
        """Output transform and ELU of one tile of four voxels in all slices."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = VectorCode(builder, lanes)
            sums, point_stride, slices, out, slice_stride, voxel = arguments
            loop = Loop(builder, slices, [])
            base = code.offset(sums, code.times(loop.index, size))
            products = [code.load(code.offset(base, code.times(point_stride, p))) for p in range(POINTS)]
            target = code.offset(out, builder.mul(loop.index, slice_stride))
            for j, value in enumerate(transform_output(code, products)):
                code.store(code.scaled_elu(value), code.offset(target, code.times(voxel, j)))
            loop.close([])
            return context.get_dummy_value()

        return _signature(6), generate

    project_first, project_more = row_projection(lanes, True), row_projection(lanes)
    reduce_row = row_reduction(lanes)
    memory = stack_memory(8 * 8)

    def tile(x, x_voxel, out, out_voxel, slices, height, width, channels, results, groups, gang, expand, expand_bias,
             depthwise, depthwise_bias, zeros, project, project_bias, residual, top, rows, left, columns,
             work):  # fmt: skip
        """One tile: rows top..top + rows - 1 and columns left..left + columns - 1 of every slice.

        x and out are addresses of (slices, height, width) voxels, x_voxel and out_voxel bytes apart,
        with `channels` and `results` values.  If `residual` is 0 the input itself is added, else the
        input times that matrix.
        """
        tiles, point_bytes, row_bytes, sum_bytes, sum_row_bytes = strides(slices, columns)
        tile_bytes, sum_tile_bytes = slices * size, (slices + 2) * size
        group_bytes = RING * row_bytes
        ring, sums = work, work + gang * group_bytes
        voxel_bytes = gang * size
        group_slice = tiles * OUTPUTS * voxel_bytes
        convolved = sums + 2 * sum_row_bytes
        blocks = (OUTPUTS * (tiles + 1) + block - 1) // block
        row = convolved + 2 * slices * group_slice
        spare = row + blocks * block * ABREAST * size
        # Results are accumulated here: rows of voxels or, with `residual`, a row of numbers per result.
        total = spare + blocks * block * channels * 4
        padded = (columns + lanes - 1) // lanes * size
        total_row = results * (padded if residual else columns * 4)
        end = x + (slices * height * width - 1) * x_voxel
        table, plane, line = memory(), height * width * x_voxel, width * x_voxel
        pairs = (rows + 1) // 2 + 2
        if residual:
            fill(total, rows * slices * total_row // size)
        for first in range(0, groups, gang):
            count = min(gang, groups - first)
            for pair in range(pairs):
                for r in range(2):
                    y = top - 2 + 2 * pair + r
                    slot = ring + (2 * pair + r) % RING * row_bytes
                    if not 0 <= y < height:
                        for g in range(count):
                            fill(slot + g * group_bytes, row_bytes // size)
                        continue
                    for z in range(slices):
                        source, voxel = x + z * plane + y * line + (left - 2) * x_voxel, x_voxel
                        if source < x or source + (blocks * block - 1) * x_voxel > end:
                            # Beyond the first or the last row of the image nothing may be read.
                            for v in range(columns + 4):
                                column = min(max(left - 2 + v, 0), width - 1)
                                copy(x + z * plane + y * line + column * x_voxel, spare + v * channels * 4,
                                     channels // lanes)  # fmt: skip
                            source, voxel = spare, channels * 4
                        for g in range(0, count, ABREAST):
                            expand_row(source, voxel, blocks, channels, expand + (first + g) * channels * size,
                                       expand_bias + (first + g) * size, row)  # fmt: skip
                            # The convolution is padded with zeros.
                            if left < 2:
                                fill(row, (2 - left) * ABREAST)
                            right = width - left + 2
                            if right < OUTPUTS * (tiles + 1):
                                fill(row + right * ABREAST * size, (OUTPUTS * (tiles + 1) - right) * ABREAST)
                            for i in range(ABREAST):
                                transform_row(row + i * size, tiles, slot + (g + i) * group_bytes + z * size,
                                              point_bytes, tile_bytes)  # fmt: skip
                if pair < 2:
                    continue
                upper = 2 * (pair - 2)
                # While rows are convolved, the input of the next pair is fetched, a part of a row per call.
                call, parts = 0, max(1, count * (tiles // TOGETHER) * POINTS // (2 * slices))
                part_bytes = (columns + 4) * x_voxel // parts
                next_top = top - 2 + 2 * (pair + 1) % (2 * pairs)
                for g in range(count):
                    for t in range(0, tiles, TOGETHER):
                        for point in range(POINTS):
                            start = depthwise_bias + (first + g) * size if point == POINT_OF_BIAS else zeros
                            weights = depthwise + ((first + g) * POINTS + point) * 25 * size
                            place = ring + g * group_bytes + point * point_bytes + t * tile_bytes
                            for r in range(RING):
                                put_word(table + 8 * r, place + (upper + r) % RING * row_bytes)
                            target = sums + point * sum_bytes
                            z, y = call // parts // 2 % slices, next_top + call // parts % 2
                            ahead = x + z * plane + min(max(y, 0), height - 1) * line + (left - 2) * x_voxel
                            convolve(table, weights, start, slices, target, target + sum_row_bytes,
                                     tile_bytes, sum_tile_bytes, ahead + call % parts * part_bytes,
                                     part_bytes // (slices * prefetches))  # fmt: skip
                            call += 1
                        for r in range(min(2, rows - upper)):
                            for i in range(TOGETHER):
                                finish(sums + r * sum_row_bytes + i * sum_tile_bytes + 2 * size, sum_bytes, slices,
                                       convolved + (r * slices * tiles + t + i) * OUTPUTS * voxel_bytes + g * size,
                                       group_slice, voxel_bytes)  # fmt: skip
                for r in range(min(2, rows - upper)):
                    for z in range(slices):
                        source = convolved + (r * slices + z) * group_slice
                        begin = target = total + ((upper + r) * slices + z) * total_row
                        if residual:
                            # In steps that do not depend on the gang, so that neither does rounding.
                            for g in range(0, count, ABREAST):
                                reduce_row(source + g * size, voxel_bytes, columns, ABREAST,
                                           project + (first + g) * size, groups * size, results, target)  # fmt: skip
                            continue
                        weights, voxel = project + first * size * results, results * 4
                        place = (z * height + top + upper + r) * width + left
                        if first + count == groups:
                            target, voxel = out + place * out_voxel, out_voxel
                        if first == 0:
                            project_first(source, voxel_bytes, columns, count * lanes, weights, results,
                                          x + place * x_voxel, x_voxel, target, voxel, project_bias)  # fmt: skip
                        else:
                            project_more(source, voxel_bytes, columns, count * lanes, weights, results,
                                         begin, results * 4, target, voxel, project_bias)  # fmt: skip
        if residual:
            for y in range(rows):
                for z in range(slices):
                    place = (z * height + top + y) * width + left
                    source = total + (y * slices + z) * total_row
                    reduce_row(x + place * x_voxel, x_voxel, columns, channels // lanes, residual, channels * 4,
                               results, source)  # fmt: skip
                    for k in range(results):
                        for v in range(columns):
                            add_numbers(source + k * padded + v * 4, project_bias + k * 4,
                                        out + (place + v) * out_voxel + k * 4)  # fmt: skip

    return {"tile": tile}
