"""Numba kernels that multiply voxels by a small matrix: 1x1x1 convolutions, channels-last."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numba
from numba.core import types

from .vector_code import Loop, VectorCode, intrinsic, word


@lru_cache(maxsize=8)
def row_projection(lanes: int, biased: bool = False, activated: bool = False) -> Any:
    """The kernel for vectors of `lanes` values: to what is at `begin` it adds the products.

    It also adds a bias, if `biased`, and applies ELU, if `activated`.
    """
    size = 4 * lanes
    # Sums that are computed at once: 16 fit in 32 registers, 8 in 16.
    together = 16 if lanes == 16 else 8

    def projection(count: int, vectors: int) -> Any:
        @intrinsic
        def project(typing: Any, group: Any, apart: Any, depth: Any, weights: Any, row: Any, begin: Any,
                    begin_voxel: Any, out: Any, voxel: Any, bias: Any) -> Any:  # fmt: skip
            """Multiplies `depth` channels of `count` voxels by weights, adding to `vectors` output vectors each.

            The voxels are `apart` bytes from each other, what their outputs begin with `begin_voxel`, and their
            outputs `voxel` bytes.
            """

            def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                code = VectorCode(builder, lanes)
                group, apart, depth, weights, row, begin, begin_voxel, out, voxel, bias = arguments
                sources = [code.offset(group, code.times(apart, v)) for v in range(count)]
                begins = [code.offset(begin, code.times(begin_voxel, v)) for v in range(count)]
                targets = [code.offset(out, code.times(voxel, v)) for v in range(count)]
                start = [code.load(place, c * size) for place in begins for c in range(vectors)]
                if biased:
                    added = [code.load(bias, c * size) for c in range(vectors)]
                    start = [code.add(value, added[i % vectors]) for i, value in enumerate(start)]
                loop = Loop(builder, depth, start)
                line = code.offset(weights, builder.mul(row, loop.index))
                columns = [code.load(line, c * size) for c in range(vectors)]
                here = code.times(loop.index, 4)
                numbers = [code.broadcast(code.offset(source, here)) for source in sources]
                sums = loop.close(
                    [
                        code.multiply_add(numbers[i // vectors], columns[i % vectors], total)
                        for i, total in enumerate(loop.values)
                    ]
                )
                for i, total in enumerate(sums):
                    total = code.elu(total) if activated else total
                    code.store(total, targets[i // vectors], i % vectors * size)
                return context.get_dummy_value()

            return types.void(*[types.int64] * 10), generate

        return project

    half = together // 2
    two, one, single = projection(half, 2), projection(half, 1), projection(1, 1)

    @numba.njit
    def project_row(x, apart, count, depth, weights, results, begin, begin_voxel, out, voxel, bias):
        """Multiplies `depth` channels of `count` voxels by weights; `results` is the number of output channels."""
        row = results * 4
        for v in range(0, count - count % half, half):
            source, start, target = x + v * apart, begin + v * begin_voxel, out + v * voxel
            for c in range(0, row - row % (2 * size), 2 * size):
                two(source, apart, depth, weights + c, row, start + c, begin_voxel, target + c, voxel, bias + c)
            if row % (2 * size):
                c = row - size
                one(source, apart, depth, weights + c, row, start + c, begin_voxel, target + c, voxel, bias + c)
        for v in range(count - count % half, count):
            source, start, target = x + v * apart, begin + v * begin_voxel, out + v * voxel
            for c in range(0, row, size):
                single(source, apart, depth, weights + c, row, start + c, begin_voxel, target + c, voxel, bias + c)

    return project_row


@lru_cache(maxsize=2)
def row_reduction(lanes: int) -> Any:
    """The kernel for a matrix with a few rows: sums over the lanes instead of one vector per output."""
    size = 4 * lanes

    @intrinsic
    def reduce(typing: Any, source: Any, apart: Any, last: Any, weights: Any, depth: Any, out: Any) -> Any:
        """Adds one row of a matrix times each of `lanes` voxels to as many numbers at `out`.

        A voxel has `depth` vectors; `last` is the last voxel that may be read.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = VectorCode(builder, lanes)
            source, apart, last, weights, depth, out = arguments
            zero = code.splat(0.0)
            places = []
            for v in range(lanes):
                near = builder.select(builder.icmp_signed("<", word(v), last), word(v), last)
                places.append(code.offset(source, builder.mul(near, apart)))
            loop = Loop(builder, depth, [zero] * lanes)
            here = code.times(loop.index, size)
            weight = code.load(code.offset(weights, here))
            sums = loop.close(
                [
                    code.multiply_add(code.load(code.offset(place, here)), weight, total)
                    for place, total in zip(places, loop.values)
                ]
            )
            code.store(code.add(code.load(out), code.lane_sums(sums)), out)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), generate

    @numba.njit
    def reduce_row(source, apart, count, depth, weights, row, results, target):
        """Adds a matrix times `count` voxels of `depth` vectors to one row of numbers per result."""
        padded = (count + lanes - 1) // lanes * size
        for k in range(results):
            for v in range(0, count, lanes):
                reduce(source + v * apart, apart, count - 1 - v, weights + k * row, depth,
                       target + k * padded + 4 * v)  # fmt: skip

    return reduce_row
