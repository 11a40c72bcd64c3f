"""Numba kernels for the first half of an IRB block: the 1x1x1 convolution that widens it, ELU, and the input transform.

One row of voxels and two groups of channels at a time; see :mod:`.numba_irb`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Callable

from numba.core import types

from ..layout.winograd import transform_input
from ..layout.workspace import ABREAST, columns_together
from .vector_code import Loop, VectorCode, intrinsic


@dataclass(frozen=True)
class ExpansionKernels:
    """Parts of larger kernels, to be called from code that Numba compiles.

    Attributes:
        expand_row: widens the voxels of a row.
        transform_row: Winograd's input transform of a widened row.
    """

    expand_row: Callable[..., None]
    transform_row: Callable[..., None]


def _signature(arguments: int) -> Any:
    return types.void(*[types.int64] * arguments)


@lru_cache(maxsize=2)
def expansion_kernels(lanes: int) -> ExpansionKernels:
    """Builds the parts for vectors of `lanes` float32."""
    size, together = 4 * lanes, columns_together(lanes)

    @intrinsic
    def expand_row(typing: Any, x: Any, voxel: Any, blocks: Any, channels: Any, weights: Any, bias: Any,
                   out: Any) -> Any:  # fmt: skip
        """ELU of weights times voxels, for `blocks` times `together` voxels that are `voxel` bytes apart.

        `out` receives one vector per voxel and group.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = VectorCode(builder, lanes)
            x, voxel, blocks, channels, weights, bias, out = arguments
            start = [code.load(bias, g * size) for g in range(ABREAST)]
            block = Loop(builder, blocks, [])
            base = code.offset(x, builder.mul(block.index, code.times(voxel, together)))
            target = code.offset(out, code.times(block.index, together * ABREAST * size))
            loop = Loop(builder, channels, [start[g] for _ in range(together) for g in range(ABREAST)])
            line = code.offset(weights, code.times(loop.index, ABREAST * size))
            vectors = [code.load(line, g * size) for g in range(ABREAST)]
            sums = list(loop.values)
            for j in range(together):
                number = code.broadcast(code.offset(base, code.times(voxel, j), code.times(loop.index, 4)))
                for g in range(ABREAST):
                    sums[j * ABREAST + g] = code.multiply_add(number, vectors[g], sums[j * ABREAST + g])
            for i, total in enumerate(loop.close(sums)):
                code.store(code.scaled_elu(total), target, i * size)
            block.close([])
            return context.get_dummy_value()

        return _signature(7), generate

    @intrinsic
    def transform_row(typing: Any, row: Any, tiles: Any, target: Any, point_stride: Any, tile_stride: Any) -> Any:
        """The input transform of one group of a widened row."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = VectorCode(builder, lanes)
            row, tiles, target, point_stride, tile_stride = arguments
            voxel = ABREAST * size
            loop = Loop(builder, tiles, [code.load(row, j * voxel) for j in range(4)])
            here = code.offset(row, code.times(loop.index, 4 * voxel))
            new = [code.load(here, j * voxel) for j in range(4, 8)]
            base = code.offset(target, builder.mul(loop.index, tile_stride))
            for point, value in enumerate(transform_input(code, [*loop.values, *new])):
                code.store(value, code.offset(base, code.times(point_stride, point)))
            loop.close(new)
            return context.get_dummy_value()

        return _signature(5), generate

    return ExpansionKernels(expand_row, transform_row)
