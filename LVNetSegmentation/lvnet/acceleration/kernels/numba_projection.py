"""A Numba kernel that multiplies voxels by a small matrix: 1x1x1 convolutions, channels-last."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numba
from numba.core import types

from .vector_code import Loop, VectorCode, intrinsic, word


@lru_cache(maxsize=8)
def row_projection(lanes: int, depth: int) -> Any:
    """The kernel for vectors of `lanes` values that takes `depth` input channels at once."""
    size = 4 * lanes
    # Voxels processed at once, with two result vectors each: 16 sums fit in 32 registers, 8 in 16.
    voxels = 8 if lanes == 16 else 4

    def projection(count: int, vectors: int) -> Any:
        @intrinsic
        def project(typing: Any, group: Any, apart: Any, weights: Any, row: Any, out: Any, voxel: Any) -> Any:
            """Multiplies `depth` channels of `count` voxels by weights, adding to `vectors` output vectors each.

            The voxels are `apart` bytes from each other, their outputs `voxel` bytes.
            """

            def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                code = VectorCode(builder, lanes)
                group, apart, weights, row, out, voxel = arguments
                sources = [code.offset(group, code.times(apart, v)) for v in range(count)]
                targets = [code.offset(out, code.times(voxel, v)) for v in range(count)]
                start = [code.load(target, c * size) for target in targets for c in range(vectors)]
                loop = Loop(builder, word(depth), start)
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
                    code.store(total, targets[i // vectors], i % vectors * size)
                return context.get_dummy_value()

            return types.void(*[types.int64] * 6), generate

        return project

    two, one, single = projection(voxels, 2), projection(voxels, 1), projection(1, 1)

    @numba.njit
    def project_row(source, apart, count, weights, results, target):
        """Multiplies `depth` channels of `count` voxels by weights, adding to their `results` output channels."""
        row = results * 4
        v = 0
        while v + voxels <= count:
            c = 0
            while c + 2 * lanes <= results:
                two(source + v * apart, apart, weights + 4 * c, row, target + v * row + 4 * c, row)
                c += 2 * lanes
            if c < results:
                one(source + v * apart, apart, weights + 4 * c, row, target + v * row + 4 * c, row)
            v += voxels
        while v < count:
            for c in range(0, results, lanes):
                single(source + v * apart, apart, weights + 4 * c, row, target + v * row + 4 * c, row)
            v += 1

    return project_row
