"""Vector code that transforms rows of voxels to the Winograd domain, channels-last; see :mod:`..layout.winograd`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numba
from numba.core import types

from ..layout.winograd import transform_gradient, transform_input
from .vector_code import Loop, VectorCode, intrinsic, word

#: How many slices ahead a row is prefetched: far enough for the data to arrive in time, near enough for it to
#: be still in the cache.
AHEAD = 2


@numba.njit
def way_ahead(z: Any, slices: Any, plane: Any, line: Any) -> Any:
    """Bytes from slice z of a row to the data that is read :data:`AHEAD` slices later."""
    return AHEAD * plane if z + AHEAD < slices else line - (slices - AHEAD) * plane


@lru_cache(maxsize=4)
def input_row(lanes: int, activated: bool = False) -> Any:
    """An intrinsic for kernels: the input transform of a row, for one vector of channels.

    Arguments are (row, voxel, first, width, tiles, target, point_stride, tile_stride, ahead, parameters),
    addresses and strides in bytes.  Columns outside 0..width - 1 are zero.  With `activated`, ELU(scale * x
    + shift) is transformed; `parameters` is the address of these two vectors.
    """

    @intrinsic
    def transform(typing: Any, row: Any, voxel: Any, first: Any, width: Any, tiles: Any, target: Any,
                  point_stride: Any, tile_stride: Any, ahead: Any, parameters: Any) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = VectorCode(builder, lanes)
            row, voxel, first, width, tiles, target, point_stride, tile_stride, ahead, parameters = arguments
            zero = code.splat(0.0)
            scale_shift = [code.load(parameters, i * 4 * lanes) for i in range(2)] if activated else []

            def four(column: Any) -> Any:
                values = []
                for j in range(4):
                    place = code.offset(column, j)
                    inside = builder.icmp_unsigned("<", place, width)
                    address = code.offset(row, builder.mul(builder.select(inside, place, word(0)), voxel))
                    value = code.load(address)
                    code.prefetch(code.offset(address, ahead))
                    if activated:
                        value = code.elu(code.multiply_add(value, *scale_shift))
                    values.append(builder.select(inside, value, zero))
                return values

            loop = Loop(builder, tiles, four(first))
            new = four(code.offset(first, 4, code.times(loop.index, 4)))
            base = code.offset(target, builder.mul(loop.index, tile_stride))
            for point, value in enumerate(transform_input(code, [*loop.values, *new])):
                code.store(value, code.offset(base, code.times(point_stride, point)))
            loop.close(new)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 10), generate

    return transform


@lru_cache(maxsize=2)
def gradient_row(lanes: int) -> Any:
    """An intrinsic for kernels: in each tile of a row, turns gradients w.r.t. 4 outputs into those w.r.t. 8 products.

    Arguments are (row, voxel, first, width, tiles, target, point_stride, tile_stride, ahead); columns from
    `width` on are zero.
    """

    @intrinsic
    def transform(typing: Any, row: Any, voxel: Any, first: Any, width: Any, tiles: Any, target: Any,
                  point_stride: Any, tile_stride: Any, ahead: Any) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = VectorCode(builder, lanes)
            row, voxel, first, width, tiles, target, point_stride, tile_stride, ahead = arguments
            loop = Loop(builder, tiles, [])
            values = []
            for j in range(4):
                place = code.offset(first, j, code.times(loop.index, 4))
                inside = builder.icmp_unsigned("<", place, width)
                address = code.offset(row, builder.mul(builder.select(inside, place, word(0)), voxel))
                value = code.load(address)
                code.prefetch(code.offset(address, ahead))
                values.append(builder.select(inside, value, code.splat(0.0)))
            base = code.offset(target, builder.mul(loop.index, tile_stride))
            for point, value in enumerate(transform_gradient(code, values)):
                code.store(value, code.offset(base, code.times(point_stride, point)))
            loop.close([])
            return context.get_dummy_value()

        return types.void(*[types.int64] * 9), generate

    return transform
