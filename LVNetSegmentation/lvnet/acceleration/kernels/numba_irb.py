"""Numba kernels for an IRB block at inference: expand, convolve, project, tile by tile within the caches.

A tile is a square of rows and columns through all slices.  Channels of the expanded tensor are
independent until the projection, so one register's worth of them (a group) passes through the whole
block at a time and the expanded tensor never exists in memory:

1. `expand_rows`: two rows at a time, input channels times weights, ELU, and the input transform of
   :mod:`..layout.winograd` along x.  Six transformed rows are kept in a ring.
2. `convolve`: 5 x 5 sums along y and z for one point of the transform, two tiles of four voxels and
   two rows at once: twenty sums in registers, shifted slice by slice.
3. `finish`: output transform, bias (folded into step 2), ELU.
4. `project`: the group's contribution, added to the block's output.

Batch norm is folded into the weights; see :mod:`..cpu_inference.fused_block` for their memory layout.
"""

from __future__ import annotations

from typing import Any, Callable, Dict

from llvmlite import ir
from numba.core import types

from ..layout.winograd import OUTPUTS, POINT_OF_BIAS, POINTS, transform_input, transform_output
from ..layout.workspace import GANG, RING
from .numba_projection import row_projection
from .numba_rows import way_ahead
from .numba_winograd import winograd_kernels
from .vector_code import Loop, VectorCode, intrinsic, put_word, stack_memory, vector_copy, word


def _signature(arguments: int) -> Any:
    return types.void(*[types.int64] * arguments)


def functions(lanes: int) -> Dict[str, Callable[..., None]]:
    """The kernel `tile` for vectors of `lanes` float32, not yet compiled."""
    size = 4 * lanes
    parts, copy = winograd_kernels(lanes), vector_copy(lanes)
    fill, convolve, strides, together = parts.fill, parts.convolve, parts.strides, parts.together
    # Rows that are expanded at once: for all groups of the gang, 16 sums fit in 32 registers, 8 in 16.
    at_once = 2 if lanes == 16 else 1

    @intrinsic
    def copy_number(typing: Any, source: Any, target: Any) -> Any:
        """Copies one float32."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            source, target = (builder.inttoptr(a, ir.FloatType().as_pointer()) for a in arguments)
            builder.store(builder.load(source, align=4), target, align=4)
            return context.get_dummy_value()

        return _signature(2), generate

    @intrinsic
    def add_bias(typing: Any, x: Any, bias: Any, out: Any) -> Any:
        """out = x + bias, one vector."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = VectorCode(builder, lanes)
            x, bias, out = arguments
            code.store(code.add(code.load(x), code.load(bias)), out)
            return context.get_dummy_value()

        return _signature(3), generate

    @intrinsic
    def transpose(typing: Any, sources: Any, offset: Any, ahead: Any, target: Any) -> Any:
        """Transposes one vector of channels of eight voxels to eight voxels per channel.

        `sources` holds the addresses of the voxels.  Interleaving vector i with vector i + 4 three
        times changes the order from (voxel, channel) to (channel, voxel).  What lies `ahead` bytes
        further on is asked for from memory.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = VectorCode(builder, lanes)
            sources, offset, ahead, target = arguments
            places = [code.offset(code.load_word(sources, 8 * i), offset) for i in range(8)]
            vectors = [code.load(place) for place in places]
            for place in places:
                code.prefetch(code.offset(place, ahead))
            for _ in range(3):
                vectors = [half for a, b in zip(vectors[:4], vectors[4:]) for half in code.interleave(a, b)]
            for i, vector in enumerate(vectors):
                code.store(vector, target, i * size)
            return context.get_dummy_value()

        return _signature(4), generate

    @intrinsic
    def expand_rows(typing: Any, packed: Any, first: Any, width: Any, channels: Any, weights: Any, bias: Any,
                    tiles: Any, upper: Any, lower: Any, group_stride: Any, point_stride: Any,
                    tile_stride: Any) -> Any:  # fmt: skip
        """Two transformed rows of a gang of groups in one slice.

        `packed` holds, for each block of four columns and each channel, the four values of the upper
        row and those of the lower; `first` is the first column.  Columns outside 0..width - 1 become zero.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = VectorCode(builder, lanes)
            packed, first, width, channels, weights, bias, tiles = arguments[:7]
            upper, lower, group_stride, point_stride, tile_stride = arguments[7:]
            start = [code.load(bias, g * size) for g in range(GANG)]
            block_size = code.times(channels, 32)

            def expanded(block: Any, upmost: int) -> Any:
                """Four columns of `at_once` rows from row `upmost` on, for every group."""
                base = code.offset(packed, builder.mul(block, block_size), 16 * upmost)
                count = 4 * at_once
                loop = Loop(builder, channels, [start[g] for g in range(GANG) for _ in range(count)])
                line = code.offset(weights, code.times(loop.index, GANG * size))
                vectors = [code.load(line, g * size) for g in range(GANG)]
                numbers = code.offset(base, code.times(loop.index, 32))
                x = [code.broadcast(numbers, 4 * i) for i in range(count)]
                sums = loop.close(
                    [code.multiply_add(x[i % count], vectors[i // count], total) for i, total in enumerate(loop.values)]
                )
                column = code.offset(first, code.times(block, 4))
                inside = [builder.icmp_unsigned("<", code.offset(column, j), width) for j in range(4)]
                zero = code.splat(0.0)
                return [builder.select(inside[i % 4], code.elu(total), zero) for i, total in enumerate(sums)]

            for upmost in range(0, 2, at_once):
                loop = Loop(builder, tiles, expanded(word(0), upmost))
                new = expanded(code.offset(loop.index, 1), upmost)
                for part in range(at_once * GANG):
                    group, row = divmod(part, at_once)
                    seen = loop.values[4 * part : 4 * part + 4] + new[4 * part : 4 * part + 4]
                    base = code.offset((upper, lower)[upmost + row], builder.mul(loop.index, tile_stride))
                    base = code.offset(base, code.times(group_stride, group))
                    for point, value in enumerate(transform_input(code, seen)):
                        code.store(value, code.offset(base, code.times(point_stride, point)))
                loop.close(new)
            return context.get_dummy_value()

        return _signature(12), generate

    @intrinsic
    def finish(typing: Any, sums: Any, point_stride: Any, slices: Any, out: Any, slice_stride: Any) -> Any:
        """Output transform and ELU of one tile of four voxels in all slices."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = VectorCode(builder, lanes)
            sums, point_stride, slices, out, slice_stride = arguments
            loop = Loop(builder, slices, [])
            base = code.offset(sums, code.times(loop.index, size))
            products = [code.load(code.offset(base, code.times(point_stride, p))) for p in range(POINTS)]
            target = code.offset(out, builder.mul(loop.index, slice_stride))
            for j, value in enumerate(transform_output(code, products)):
                code.store(code.elu(value), target, j * GANG * size)
            loop.close([])
            return context.get_dummy_value()

        return _signature(5), generate

    project_gang, project_input = row_projection(lanes, GANG * lanes), row_projection(lanes, lanes)

    memory = stack_memory(8 * 8)

    def tile(x, x_voxel, out, out_voxel, slices, height, width, channels, results, kept, groups, expand, expand_bias,
             depthwise, depthwise_bias, zeros, project, project_bias, residual, top, rows, left, columns,
             work):  # fmt: skip
        """One tile: rows top..top + rows - 1 and columns left..left + columns - 1 of every slice.

        x and out are addresses of (slices, height, width) voxels, x_voxel and out_voxel bytes apart,
        with `channels` and `kept` values; `results` is `kept` rounded up to whole vectors.  If
        `residual` is 0 the input itself is added, else the input times that matrix.
        """
        tiles, point_bytes, row_bytes, sum_bytes, sum_row_bytes = strides(slices, columns)
        tile_bytes, sum_tile_bytes = slices * size, (slices + 2) * size
        group_bytes = RING * row_bytes
        ring, sums = work, work + GANG * group_bytes
        group_slice = tiles * OUTPUTS * GANG * size
        convolved = sums + 2 * sum_row_bytes
        packed = convolved + 2 * slices * group_slice
        block_bytes = channels * 32
        packed_slice = (tiles + 1) * block_bytes
        pairs = (rows + 1) // 2 + 2
        # Results are accumulated here, in contiguous rows, and written to `out` once at the end.
        total, total_row = packed + pairs * slices * packed_slice, columns * results * 4
        table, plane = memory(), height * width * x_voxel
        for pair in range(pairs):
            for z in range(slices):
                ahead = way_ahead(z, slices, plane, 2 * width * x_voxel)
                for block in range(tiles + 1):
                    for q in range(8):
                        # For rows and columns outside the image the border is read; they are zeroed later.
                        y = min(max(top - 2 + 2 * pair + q // 4, 0), height - 1)
                        column = min(max(left - 2 + 4 * block + q % 4, 0), width - 1)
                        put_word(table + 8 * q, x + ((z * height + y) * width + column) * x_voxel)
                    place = packed + (pair * slices + z) * packed_slice + block * block_bytes
                    for c in range(channels // lanes):
                        transpose(table, c * size, ahead, place + c * 8 * size)
                for y in range(max(2 * pair - 2, 0), min(2 * pair, rows)):
                    source = x + ((z * height + top + y) * width + left) * x_voxel
                    target = total + (y * slices + z) * total_row
                    for v in range(columns):
                        begin = zeros if residual else source + v * x_voxel
                        for c in range(0, results * 4, size):
                            add_bias(begin if residual else begin + c, project_bias + c, target + v * results * 4 + c)
                    if residual:
                        for c in range(0, channels, lanes):
                            project_input(source + 4 * c, x_voxel, columns, residual + c * results * 4, results, target)
        for first in range(0, groups, GANG):
            for pair in range(pairs):
                slot = ring + 2 * pair % RING * row_bytes
                for z in range(slices):
                    expand_rows(packed + (pair * slices + z) * packed_slice, left - 2, width, channels,
                                expand + first * channels * size, expand_bias + first * size, tiles,
                                slot + z * size, slot + row_bytes + z * size, group_bytes, point_bytes,
                                tile_bytes)  # fmt: skip
                for r in range(2):
                    if not 0 <= top - 2 + 2 * pair + r < height:
                        for g in range(GANG):
                            fill(slot + r * row_bytes + g * group_bytes, row_bytes // size)
                if pair < 2:
                    continue
                upper = 2 * (pair - 2)
                for g in range(GANG):
                    for point in range(POINTS):
                        start = depthwise_bias + (first + g) * size if point == POINT_OF_BIAS else zeros
                        weights = depthwise + ((first + g) * POINTS + point) * 25 * size
                        for t in range(0, tiles, together):
                            place = ring + g * group_bytes + point * point_bytes + t * tile_bytes
                            for r in range(RING):
                                put_word(table + 8 * r, place + (upper + r) % RING * row_bytes)
                            target = sums + point * sum_bytes + t * sum_tile_bytes
                            convolve(table, weights, start, slices, target, target + sum_row_bytes,
                                     tile_bytes, sum_tile_bytes)  # fmt: skip
                    for r in range(min(2, rows - upper)):
                        for t in range(tiles):
                            finish(sums + r * sum_row_bytes + t * sum_tile_bytes + 2 * size, sum_bytes, slices,
                                   convolved + (r * slices * tiles + t) * OUTPUTS * GANG * size + g * size,
                                   group_slice)  # fmt: skip
                for r in range(min(2, rows - upper)):
                    for z in range(slices):
                        project_gang(convolved + (r * slices + z) * group_slice, GANG * size, columns,
                                     project + first * lanes * results * 4, results,
                                     total + ((upper + r) * slices + z) * total_row)  # fmt: skip
        for y in range(rows):
            for z in range(slices):
                target = out + ((z * height + top + y) * width + left) * out_voxel
                source = total + (y * slices + z) * total_row
                for v in range(columns):
                    if kept == results:
                        copy(source + v * results * 4, target + v * out_voxel, results // lanes)
                    else:
                        for c in range(kept):
                            copy_number(source + (v * results + c) * 4, target + v * out_voxel + c * 4)

    return {"tile": tile}
