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
from ..layout.workspace import GRADIENT_RING, GRADIENT_ROWS, RADIUS, TAPS, weight_strides
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
    # 25 sums and their operands fill the 32 registers of AVX-512; 16 registers hold the sums of one or two rows.
    together = TAPS if lanes == 16 else 1

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

    strides, memory = numba.njit(weight_strides(lanes)), stack_memory(8 * TAPS)

    def tile(x, gradient, voxel, slices, height, width, parameters, top, rows, left, columns, work, sums):
        """One group of channels of rows top..top + rows - 1 and columns left..left + columns - 1 of every slice.

        x and gradient are addresses of the group's first channel of (slices, height, width) voxels,
        `voxel` bytes apart; `sums` receives (point, ky, kz, lane) float32.
        """
        tiles, tile_bytes, point_bytes, row_bytes = strides(slices, columns)
        fill(sums, POINTS * TAPS * TAPS)
        fill(work, (GRADIENT_RING + GRADIENT_ROWS) * row_bytes // size)  # the zeros between tiles are never overwritten
        pulled = work + GRADIENT_RING * row_bytes + RADIUS * size
        table = memory()
        plane, line = height * width * voxel, width * voxel
        y = top - RADIUS
        for first in range(top, top + rows, GRADIENT_ROWS):
            last = min(first + GRADIENT_ROWS, top + rows)
            while y < last + RADIUS:
                slot = work + (y + RADIUS) % GRADIENT_RING * row_bytes
                if 0 <= y < height:
                    for z in range(slices):
                        transform_input(x + z * plane + y * line, voxel, left - RADIUS, width, tiles, slot + z * size,
                                        point_bytes, tile_bytes,
                                        way_ahead(z, slices, plane, line), parameters)  # fmt: skip
                else:
                    fill(slot, row_bytes // size)
                y += 1
            for row in range(first, last):
                for z in range(slices):
                    transform_gradient(gradient + z * plane + row * line, voxel, left, min(width, left + columns),
                                       tiles, pulled + (row - first) * row_bytes + z * size, point_bytes, tile_bytes,
                                       way_ahead(z, slices, plane, line))  # fmt: skip
            # Point by point, so that an input row stays in the L1 cache for the five gradient rows that need it.
            for point in range(POINTS):
                for row in range(first, last):
                    for ky in range(TAPS):
                        put_word(table + 8 * ky, work + (row + ky) % GRADIENT_RING * row_bytes + point * point_bytes)
                    for ky in range(0, TAPS, together):
                        add_products(table + 8 * ky,
                                     pulled + (row - first) * row_bytes + point * point_bytes,
                                     tiles * (slices + RADIUS),
                                     sums + (point * TAPS + ky) * TAPS * size)  # fmt: skip

    return {"tile": tile}
