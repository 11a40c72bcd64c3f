"""A Numba kernel for the weight gradient of the depth-wise 5x5x5 convolution, on a CPU.

Stock PyTorch spends about ten times its forward time in the backward pass of a depth-wise 3D
convolution on a CPU, nearly all of it in the gradient to the weights.  Along x it is computed in
Winograd's domain: the input is transformed as in the forward pass, the gradient by the transpose of
the output's transform, and what is summed over space is 8 x 25 products a tile of four voxels where
there were 4 x 125.  Slices of a transformed row lie behind one another with two of zeros between the
tiles, so that one loop runs through all of them with its 25 sums in registers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Callable

import numba
import numpy as np
from numba.core import types

from .numba_rows import gradient_row, input_row, way_ahead
from .numba_winograd import winograd_kernels
from .vector_code import Loop, VectorCode, intrinsic
from .winograd import OUTPUTS, POINTS

_RADIUS, _TAPS = 2, 5
# Rows of gradients that are worked on together, and transformed rows of the input that they meet.
_ROWS = 8
_RING = _ROWS + _TAPS - 1


@dataclass(frozen=True)
class WeightKernels:
    """The kernel for one width of register.

    Attributes:
        lanes: channels of a group.
        tile: sums the products of one group of channels of one tile.
        workspace: (slices, columns) to the number of float32 that `tile` works in.
    """

    lanes: int
    tile: Callable[..., np.ndarray]
    workspace: Callable[[int, int], int]


@lru_cache(maxsize=4)
def weight_kernels(lanes: int, activated: bool = False) -> WeightKernels:
    """Builds the kernel; it is compiled at its first call.

    Args:
        activated: what was convolved is ELU of scale x + shift, with `parameters` as in :func:`.input_row`.
    """
    size = 4 * lanes
    transform_input, transform_gradient = input_row(lanes, activated), gradient_row(lanes)
    fill = winograd_kernels(lanes).fill
    # 25 sums and what they need fill the 32 registers of AVX-512; 16 registers hold the sums of a row or two.
    together = _TAPS if lanes == 16 else 1

    @intrinsic
    def add_products(typing: Any, rows: Any, gradient: Any, count: Any, sums: Any) -> Any:
        """Adds the products of a row of gradients with `together` rows of the input, for one point.

        `rows` holds their addresses; `sums` is (ky, kz) vectors.  Slice z of the input meets slice
        z + 2 - kz of the gradient.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = VectorCode(builder, lanes)
            rows, gradient, count, sums = arguments
            places = [code.load_word(rows, 8 * ky) for ky in range(together)]
            before = [code.load(gradient, (i - _RADIUS) * size) for i in range(_TAPS - 1)]
            total = together * _TAPS
            loop = Loop(builder, count, [*before, *(code.load(sums, i * size) for i in range(total))])
            here = code.times(loop.index, size)
            # From slice z - 2 to slice z + 2.
            window = [*loop.values[: _TAPS - 1], code.load(code.offset(gradient, here), _RADIUS * size)]
            results = list(loop.values[_TAPS - 1 :])
            for ky, place in enumerate(places):
                value = code.load(code.offset(place, here))
                for kz in range(_TAPS):
                    i = ky * _TAPS + kz
                    results[i] = code.multiply_add(value, window[_TAPS - 1 - kz], results[i])
            for i, value in enumerate(loop.close([*window[1:], *results])[_TAPS - 1 :]):
                code.store(value, sums, i * size)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), generate

    @numba.njit(nogil=True)
    def strides(slices: Any, columns: Any) -> Any:
        """Tiles of four, and bytes between tiles, points and rows."""
        tiles = (columns + OUTPUTS - 1) // OUTPUTS
        tile_bytes = (slices + _RADIUS) * size
        # Zeros on either side for the slices that a gradient of a tile is met from.
        point_bytes = tiles * tile_bytes + 2 * _RADIUS * size
        return tiles, tile_bytes, point_bytes, POINTS * point_bytes

    @numba.njit(nogil=True)
    def tile(x, gradient, voxel, slices, height, width, parameters, top, rows, left, columns, work):
        """One group of channels of rows top..top + rows - 1 and columns left..left + columns - 1 of every slice.

        x and gradient are addresses of the group's first channel of (slices, height, width) voxels,
        `voxel` bytes apart.  Returns (point, ky, kz, lane).
        """
        tiles, tile_bytes, point_bytes, row_bytes = strides(slices, columns)
        sums = np.zeros(POINTS * _TAPS * _TAPS * lanes, np.float32)
        fill(work, (_RING + _ROWS) * row_bytes // size)  # the zeros between tiles stay
        pulled = work + _RING * row_bytes + _RADIUS * size
        table = np.empty(_TAPS, np.int64)
        plane, line = height * width * voxel, width * voxel
        y = top - _RADIUS
        for first in range(top, top + rows, _ROWS):
            last = min(first + _ROWS, top + rows)
            while y < last + _RADIUS:
                slot = work + (y + _RADIUS) % _RING * row_bytes
                if 0 <= y < height:
                    for z in range(slices):
                        transform_input(x + z * plane + y * line, voxel, left - _RADIUS, width, tiles, slot + z * size,
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
            # Point by point: a row of the input stays in the first cache for the five rows that it meets.
            for point in range(POINTS):
                for row in range(first, last):
                    for ky in range(_TAPS):
                        table[ky] = work + (row + ky) % _RING * row_bytes + point * point_bytes
                    for ky in range(0, _TAPS, together):
                        add_products(table.ctypes.data + 8 * ky,
                                     pulled + (row - first) * row_bytes + point * point_bytes,
                                     tiles * (slices + _RADIUS),
                                     sums.ctypes.data + (point * _TAPS + ky) * _TAPS * size)  # fmt: skip
        return sums

    def workspace(slices: int, columns: int) -> int:
        *_, row_bytes = strides(slices, columns)
        return (_RING + _ROWS) * row_bytes // 4

    return WeightKernels(lanes, tile, workspace)
