"""A Numba kernel for the weight gradient of the depth-wise 5x5x5 convolution, on a CPU.

In stock PyTorch, the backward pass of a depth-wise 3D convolution on a CPU takes about ten times as
long as the forward pass, nearly all of it for the weight gradient.  Here it is computed along x in the
Winograd domain: the input is transformed as in the forward pass, the gradient by the transposed output
transform, so that 8 x 25 products per tile of four voxels are summed over space instead of 4 x 125.
The slices of a transformed row are stored one after another, with two slices of zeros between tiles, so
that a single loop runs through all of them with its 25 sums in registers.
"""

from __future__ import annotations

from typing import Any, Callable, Dict

import numba
from numba.core import types

from ..layout.winograd import POINTS
from ..layout.workspace import GRADIENT_ROWS, RADIUS, RING, TAPS, weight_strides
from .numba_rows import gradient_row, input_row, way_ahead
from .numba_winograd import winograd_kernels
from .vector_code import Loop, VectorCode, intrinsic, put_word, stack_memory


def functions(lanes: int, activated: int) -> Dict[str, Callable[..., None]]:
    """The kernel `tile` for vectors of `lanes` float32, not yet compiled.

    Args:
        activated: the input of the convolution was ELU(scale * x + shift), with `parameters` as in :func:`.input_row`.
    """
    size = 4 * lanes
    transform_input, transform_gradient = input_row(lanes, bool(activated)), gradient_row(lanes)
    fill = winograd_kernels(lanes).fill
    # 25 sums and their operands fill the 32 registers of AVX-512, ten those of AVX2.
    steps = [(0, TAPS)] if lanes == 16 else [(0, 2), (2, 2), (4, 1)]

    def products(together: int) -> Any:
        @intrinsic
        def add_products(typing: Any, rows: Any, gradient: Any, count: Any, sums: Any) -> Any:
            """Adds the products of a row of gradients and `together` rows of the input, for one point.

            `rows` holds the addresses of the latter; `sums` holds (ky, kz) vectors.  Slice z of the input is
            multiplied with slice z + 2 - kz of the gradient.
            """

            def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                code = VectorCode(builder, lanes)
                rows, gradient, count, sums = arguments
                places = [code.load_word(rows, 8 * ky) for ky in range(together)]
                before = [code.load(gradient, (i - RADIUS) * size) for i in range(TAPS - 1)]
                total = together * TAPS
                loop = Loop(builder, count, [*before, *(code.load(sums, i * size) for i in range(total))])
                here = code.times(loop.index, size)
                # From slice z - 2 to slice z + 2.
                window = [*loop.values[: TAPS - 1], code.load(code.offset(gradient, here), RADIUS * size)]
                results = list(loop.values[TAPS - 1 :])
                for ky, place in enumerate(places):
                    value = code.load(code.offset(place, here))
                    for kz in range(TAPS):
                        i = ky * TAPS + kz
                        results[i] = code.multiply_add(value, window[TAPS - 1 - kz], results[i])
                for i, value in enumerate(loop.close([*window[1:], *results])[TAPS - 1 :]):
                    code.store(value, sums, i * size)
                return context.get_dummy_value()

            return types.void(*[types.int64] * 4), generate

        return add_products

    add_first, add_last = products(steps[0][1]), products(steps[-1][1])
    strides, memory = numba.njit(weight_strides(lanes)), stack_memory(8 * TAPS)
    step = steps[0][1]

    def tile(x, gradient, voxel, slices, height, width, groups, parameters, top, rows, left, columns, work, sums):
        """Some groups of channels of rows top..top + rows - 1 and columns left..left + columns - 1 of every slice.

        x and gradient are addresses of the first group's first channel of (slices, height, width) voxels,
        `voxel` bytes apart; `sums` receives (group, point, ky, kz, lane) float32.
        """
        tiles, tile_bytes, point_bytes, row_bytes = strides(slices, columns)
        group_bytes = (RING + GRADIENT_ROWS) * row_bytes
        fill(sums, groups * POINTS * TAPS * TAPS)
        fill(work, groups * group_bytes // size)  # the zeros between tiles are never overwritten
        pulled = work + RING * row_bytes + RADIUS * size
        table = memory()
        plane, line = height * width * voxel, width * voxel
        y = top - RADIUS
        for first in range(top, top + rows, GRADIENT_ROWS):
            last = min(first + GRADIENT_ROWS, top + rows)
            # All groups of a row, which are neighbours in memory, before the next row.
            while y < last + RADIUS:
                slot = work + (y + RADIUS - top) % RING * row_bytes
                if 0 <= y < height:
                    for z in range(slices):
                        for g in range(groups):
                            transform_input(x + z * plane + y * line + g * size, voxel, left - RADIUS, width, tiles,
                                            slot + g * group_bytes + z * size, point_bytes, tile_bytes,
                                            way_ahead(z, slices, plane, line), parameters + 3 * g * size)  # fmt: skip
                else:
                    for g in range(groups):
                        fill(slot + g * group_bytes, row_bytes // size)
                y += 1
            for row in range(first, last):
                for z in range(slices):
                    for g in range(groups):
                        transform_gradient(gradient + z * plane + row * line + g * size, voxel, left,
                                           min(width, left + columns), tiles,
                                           pulled + g * group_bytes + (row - first) * row_bytes + z * size,
                                           point_bytes, tile_bytes, way_ahead(z, slices, plane, line))  # fmt: skip
            # Point by point, so that an input row stays in the L1 cache for all gradient rows that need it.
            for g in range(groups):
                for point in range(POINTS):
                    offset = g * group_bytes + point * point_bytes
                    for row in range(first, last):
                        for ky in range(TAPS):
                            put_word(table + 8 * ky, work + offset + (row + ky - top) % RING * row_bytes)
                        target, taken = sums + (g * POINTS + point) * TAPS * TAPS * size, tiles * (slices + RADIUS)
                        source = pulled + offset + (row - first) * row_bytes
                        for ky in range(0, TAPS - TAPS % step, step):
                            add_first(table + 8 * ky, source, taken, target + ky * TAPS * size)
                        if TAPS % step:
                            add_last(table + 8 * (TAPS - 1), source, taken, target + (TAPS - 1) * TAPS * size)

    return {"tile": tile}
