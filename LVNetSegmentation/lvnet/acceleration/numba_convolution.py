"""A Numba kernel for the depth-wise 5x5x5 convolution by itself, channels-last, for training on a CPU.

The same work as in an IRB block at inference (:mod:`.numba_irb`), without what surrounds it there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Callable

import numba
import numpy as np
from numba.core import types

from .numba_winograd import RING, winograd_kernels
from .vector_code import Loop, VectorCode, intrinsic, word
from .winograd import OUTPUTS, POINTS, transform_input, transform_output


@dataclass(frozen=True)
class ConvolutionKernels:
    """The kernel for one width of register.

    Attributes:
        lanes: channels of a group.
        tile: computes one group of channels of one tile.
        workspace: (slices, columns) to the number of float32 that `tile` works in.
    """

    lanes: int
    tile: Callable[..., None]
    workspace: Callable[[int, int], int]


def _signature(arguments: int) -> Any:
    return types.void(*[types.int64] * arguments)


@lru_cache(maxsize=2)
def convolution_kernels(lanes: int) -> ConvolutionKernels:
    """Builds the kernel; it is compiled at its first call."""
    size = 4 * lanes
    parts = winograd_kernels(lanes)
    fill, convolve, strides, together = parts.fill, parts.convolve, parts.strides, parts.together

    @intrinsic
    def transform_row(typing: Any, row: Any, voxel: Any, first: Any, width: Any, tiles: Any, target: Any,
                      point_stride: Any, tile_stride: Any) -> Any:  # fmt: skip
        """The input transform of one row; columns outside 0..width - 1 are zero."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = VectorCode(builder, lanes)
            row, voxel, first, width, tiles, target, point_stride, tile_stride = arguments
            zero = code.splat(0.0)

            def four(column: Any) -> Any:
                values = []
                for j in range(4):
                    place = code.offset(column, j)
                    inside = builder.icmp_unsigned("<", place, width)
                    address = code.offset(row, builder.mul(builder.select(inside, place, word(0)), voxel))
                    values.append(builder.select(inside, code.load(address), zero))
                return values

            loop = Loop(builder, tiles, four(first))
            new = four(code.offset(first, 4, code.times(loop.index, 4)))
            base = code.offset(target, builder.mul(loop.index, tile_stride))
            for point, value in enumerate(transform_input(code, [*loop.values, *new])):
                code.store(value, code.offset(base, code.times(point_stride, point)))
            loop.close(new)
            return context.get_dummy_value()

        return _signature(8), generate

    @intrinsic
    def finish_tile(typing: Any, sums: Any, point_stride: Any, slices: Any, out: Any, slice_stride: Any, voxel: Any,
                    count: Any, spare: Any) -> Any:  # fmt: skip
        """The output transform of one tile in all slices; voxels from `count` on go to `spare`."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = VectorCode(builder, lanes)
            sums, point_stride, slices, out, slice_stride, voxel, count, spare = arguments
            wanted = [builder.icmp_signed("<", word(j), count) for j in range(OUTPUTS)]
            loop = Loop(builder, slices, [])
            base = code.offset(sums, code.times(loop.index, size))
            products = [code.load(code.offset(base, code.times(point_stride, p))) for p in range(POINTS)]
            target = code.offset(out, builder.mul(loop.index, slice_stride))
            for j, value in enumerate(transform_output(code, products)):
                place = code.offset(target, code.times(voxel, j))
                code.store(value, builder.select(wanted[j], place, spare))
            loop.close([])
            return context.get_dummy_value()

        return _signature(8), generate

    @numba.njit(nogil=True)
    def tile(x, out, voxel, slices, height, width, weights, top, rows, left, columns, work):
        """One group of channels of rows top..top + rows - 1 and columns left..left + columns - 1 of every slice.

        x and out are addresses of the group's first channel of (slices, height, width) voxels,
        `voxel` bytes apart; `weights` is (point, ky, kz) vectors.
        """
        tiles, point_bytes, row_bytes, sum_bytes, sum_row_bytes = strides(slices, columns)
        tile_bytes, sum_tile_bytes = slices * size, (slices + 2) * size
        sums = work + RING * row_bytes
        zeros = sums + 2 * sum_row_bytes
        spare = zeros + size
        fill(zeros, 1)
        table = np.empty(RING, np.int64)
        table_at = table.ctypes.data
        plane = height * width * voxel
        for pair in range((rows + 1) // 2 + 2):
            slot = work + 2 * pair % RING * row_bytes
            for r in range(2):
                y = top - 2 + 2 * pair + r
                if 0 <= y < height:
                    for z in range(slices):
                        transform_row(x + z * plane + y * width * voxel, voxel, left - 2, width, tiles,
                                      slot + r * row_bytes + z * size, point_bytes, tile_bytes)  # fmt: skip
                else:
                    fill(slot + r * row_bytes, row_bytes // size)
            if pair < 2:
                continue
            upper = 2 * (pair - 2)
            for point in range(POINTS):
                for t in range(0, tiles, together):
                    for r in range(RING):
                        table[r] = work + (upper + r) % RING * row_bytes + point * point_bytes + t * tile_bytes
                    target = sums + point * sum_bytes + t * sum_tile_bytes
                    convolve(table_at, weights + point * 25 * size, zeros, slices, target, target + sum_row_bytes,
                             tile_bytes, sum_tile_bytes)  # fmt: skip
            for r in range(min(2, rows - upper)):
                for t in range((columns + OUTPUTS - 1) // OUTPUTS):
                    place = ((top + upper + r) * width + left + t * OUTPUTS) * voxel
                    finish_tile(sums + r * sum_row_bytes + t * sum_tile_bytes + 2 * size, sum_bytes, slices,
                                out + place, plane, voxel, columns - t * OUTPUTS, spare)  # fmt: skip

    def workspace(slices: int, columns: int) -> int:
        _, _, row_bytes, _, sum_row_bytes = strides(slices, columns)
        return (RING * row_bytes + 2 * sum_row_bytes) // 4 + 2 * lanes

    return ConvolutionKernels(lanes, tile, workspace)
