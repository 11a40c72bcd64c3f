"""A Numba kernel for the first convolution of the network: 5x5x5, one input channel, and ELU.

Winograd's algorithm is applied along y, where the input transform is the same for all columns: it needs no
shuffles, and each row of the result is convolved along x and z as the plain image would be.
"""

from __future__ import annotations

from typing import Any, Callable

from numba.core import types

from ..layout.winograd import OUTPUTS, POINTS, transform_input, transform_output
from ..layout.workspace import STEM_COLUMNS, STEM_SPAN
from .vector_code import Loop, VectorCode, intrinsic, put_word, stack_memory, word


def stem_kernel(lanes: int) -> Callable[..., None]:
    """The kernel for vectors of `lanes` float32, not yet compiled."""
    size = 4 * lanes
    # Transformed columns of a span, and their bytes; the kernel has five taps along each axis.
    vectors = (STEM_SPAN + 4 + lanes - 1) // lanes
    row_bytes = vectors * size
    slice_bytes = POINTS * row_bytes

    @intrinsic
    def transform_rows(typing: Any, x: Any, stride: Any, out: Any) -> Any:
        """Transforms eight rows of a span to one row per point."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = VectorCode(builder, lanes)
            x, stride, out = arguments
            loop = Loop(builder, word(vectors), [])
            here = code.times(loop.index, size)
            rows = [code.load(code.offset(x, code.times(stride, i), here)) for i in range(POINTS)]
            for point, value in enumerate(transform_input(code, rows)):
                code.store(value, code.offset(out, here), point * row_bytes)
            loop.close([])
            return context.get_dummy_value()

        return types.void(*[types.int64] * 3), generate

    @intrinsic
    def convolve(typing: Any, rows: Any, weights: Any, bias: Any, sums: Any) -> Any:
        """Sums over x and z of a block of neighbouring columns for each point.

        `rows` is the place of the first column in the transformed rows; `bias` holds a vector per point.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = VectorCode(builder, lanes)
            rows, weights, bias, sums = arguments
            points = Loop(builder, word(POINTS), [])
            begin = code.load(code.offset(bias, code.times(points.index, size)))
            taps = code.offset(weights, code.times(points.index, 25 * size))
            line = code.offset(rows, code.times(points.index, row_bytes))
            slices = Loop(builder, word(5), [begin] * STEM_COLUMNS)
            values = list(slices.values)
            here = code.offset(line, code.times(slices.index, slice_bytes))
            numbers = [code.broadcast(here, 4 * i) for i in range(STEM_COLUMNS + 4)]
            for kx in range(5):
                tap = code.load(code.offset(taps, code.times(slices.index, 5 * size)), kx * size)
                values = [code.multiply_add(numbers[i + kx], tap, total) for i, total in enumerate(values)]
            target = code.offset(sums, code.times(points.index, STEM_COLUMNS * size))
            for i, total in enumerate(slices.close(values)):
                code.store(total, target, i * size)
            points.close([])
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), generate

    @intrinsic
    def finish(typing: Any, sums: Any, places: Any, voxel: Any) -> Any:
        """Output transform and ELU; `places` holds the addresses of the first column of each output row."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = VectorCode(builder, lanes)
            sums, places, voxel = arguments
            targets = [code.load_word(places, 8 * row) for row in range(OUTPUTS)]
            loop = Loop(builder, word(STEM_COLUMNS), [])
            here, step = code.offset(sums, code.times(loop.index, size)), builder.mul(voxel, loop.index)
            products = [code.load(here, point * STEM_COLUMNS * size) for point in range(POINTS)]
            for target, value in zip(targets, transform_output(code, products)):
                code.store(code.elu(value), code.offset(target, step))
            loop.close([])
            return context.get_dummy_value()

        return types.void(*[types.int64] * 3), generate

    transformed, products = stack_memory(5 * slice_bytes), stack_memory(POINTS * STEM_COLUMNS * size)
    spare, table = stack_memory(STEM_COLUMNS * size), stack_memory(8 * OUTPUTS)

    def stem(x, padded_height, padded_width, height, width, channels, weights, bias, out, voxel,
             first, last):  # fmt: skip
        """Four output rows at a time; the fours `first` to `last` - 1, numbered through all slices.

        `x` is padded as :func:`..layout.workspace.stem_padding` says.
        """
        rows, sums, beyond, places = transformed(), products(), spare(), table()
        line = padded_width * 4
        fours = (height + OUTPUTS - 1) // OUTPUTS
        for number in range(first, last):
            z, top = number // fours, number % fours * OUTPUTS
            start = 0
            while start < width:
                # The last span, and the last block in it, may overlap the one before it.
                start = max(0, min(start, width - STEM_SPAN))
                for kz in range(5):
                    source = x + ((z + kz) * padded_height + top) * line + start * 4
                    transform_rows(source, line, rows + kz * slice_bytes)
                span = min(STEM_SPAN, width - start)
                for g in range(channels // lanes):
                    for place in range(0, span, STEM_COLUMNS):
                        column = min(place, span - STEM_COLUMNS)
                        convolve(rows + column * 4, weights + g * POINTS * 25 * size, bias + g * POINTS * size, sums)
                        for r in range(OUTPUTS):
                            voxels = (z * height + top + r) * width + start + column
                            target = out + voxels * voxel + g * size if top + r < height else beyond
                            put_word(places + 8 * r, target)
                        finish(sums, places, voxel)
                start += STEM_SPAN

    return stem
