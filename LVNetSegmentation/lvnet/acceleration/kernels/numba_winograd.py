"""Numba kernels for the inner part of the depth-wise Winograd convolution: 5 x 5 sums along y and z for each point.

See :mod:`..layout.winograd` for the transforms along x before and after it.  Transformed rows are stored in the
order (point, tile of four voxels, slice), one vector of channels each.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Callable, Tuple

import numba
from numba.core import types

from ..layout.workspace import RING, TOGETHER, ring_strides
from .vector_code import Loop, VectorCode, intrinsic


@dataclass(frozen=True)
class WinogradKernels:
    """Parts of larger kernels, to be called from code that Numba compiles.

    Attributes:
        fill: zeros vectors.
        convolve: computes the sums of two output rows.
        prefetches: cache lines that `convolve` asks for per slice.
        strides: maps (slices, columns) to the number of tiles, and to the bytes between points and
            between rows for the transformed rows and for the sums.
    """

    fill: Callable[..., None]
    convolve: Callable[..., None]
    prefetches: int
    strides: Callable[[int, int], Tuple[int, int, int, int, int]]


def _signature(arguments: int) -> Any:
    return types.void(*[types.int64] * arguments)


@lru_cache(maxsize=2)
def winograd_kernels(lanes: int) -> WinogradKernels:
    """Builds the parts for vectors of `lanes` float32."""
    size, together = 4 * lanes, TOGETHER
    # Twenty sums fit in 32 registers, ten in 16.
    passes, prefetches = ([(0, 1)], 3) if lanes == 16 else ([(0,), (1,)], 2)

    @intrinsic
    def fill(typing: Any, address: Any, count: Any) -> Any:
        """Zeros `count` vectors."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = VectorCode(builder, lanes)
            address, count = arguments
            loop = Loop(builder, count, [])
            code.store(code.splat(0.0), code.offset(address, code.times(loop.index, size)))
            loop.close([])
            return context.get_dummy_value()

        return _signature(2), generate

    @intrinsic
    def convolve(typing: Any, rows: Any, weights: Any, start: Any, slices: Any, upper: Any, lower: Any,
                 tile_stride: Any, out_stride: Any, ahead: Any, step: Any) -> Any:  # fmt: skip
        """5 x 5 sums along y and z for one point, two output rows and `together` tiles.

        `rows` holds the addresses of six input rows, slice after slice; `start` is the initial value of
        the sums.  Output slice z is written to place z + 2; the first two places hold no valid slice.
        Meanwhile cache lines are asked for from `ahead` on, `step` bytes apart.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = VectorCode(builder, lanes)
            rows, weights, start, slices, upper, lower, tile_stride, out_stride, ahead, step = arguments
            places = [code.load_word(rows, 8 * r) for r in range(RING)]
            begin = code.load(start)
            targets = [
                [code.offset(out, code.times(out_stride, tile)) for tile in range(together)] for out in (upper, lower)
            ]
            end = code.times(slices, size)
            for order, chosen in enumerate(passes):
                across = [(row, tile) for row in chosen for tile in range(together)]
                # When input slice z is read, sum j of five belongs to output slice z - 2 + j.
                loop = Loop(builder, slices, [begin] * (5 * len(across)))
                sums = {key: loop.values[5 * i : 5 * i + 5] for i, key in enumerate(across)}
                here = code.times(loop.index, size)
                number = code.offset(code.times(loop.index, len(passes) * prefetches), order * prefetches)
                for i in range(prefetches):
                    code.prefetch(code.offset(ahead, builder.mul(code.offset(number, i), step)))
                for r in range(min(chosen), max(chosen) + 5):
                    seen = [
                        code.load(code.offset(places[r], here, *([code.times(tile_stride, t)] if t else [])))
                        for t in range(together)
                    ]
                    for row in chosen:
                        if not 0 <= r - row < 5:
                            continue
                        for kz in range(5):
                            weight = code.load(weights, (5 * (r - row) + kz) * size)
                            for tile in range(together):
                                taken = sums[row, tile]
                                taken[4 - kz] = code.multiply_add(seen[tile], weight, taken[4 - kz])
                for row, tile in across:
                    code.store(sums[row, tile][0], code.offset(targets[row][tile], here))
                last = loop.close([value for key in across for value in (*sums[key][1:], begin)])
                for i, (row, tile) in enumerate(across):
                    for j in range(2):
                        code.store(last[5 * i + j], code.offset(targets[row][tile], end), j * size)
            return context.get_dummy_value()

        return _signature(10), generate

    return WinogradKernels(fill, convolve, len(passes) * prefetches, numba.njit(ring_strides(lanes)))
