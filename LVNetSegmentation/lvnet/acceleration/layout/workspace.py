"""How the kernels for a CPU lay out the memory that they work in; plain numbers, known without compiling them.

Transformed rows lie point after point, tile of four voxels after tile, slice after slice, one vector of
channels each; see :mod:`.winograd`.
"""

from __future__ import annotations

from typing import Callable, Tuple

from .winograd import OUTPUTS, POINTS

#: Rows that are kept: an output row sees five, and two rows are computed at once.
RING = 6
#: Columns that the stem takes at once.
STEM_COLUMNS = 8
#: Rows that are summed up in float32 before they join sums in float64.
BLOCK = 1024
#: Of the weight gradient: the distance that the kernel reaches, its taps along an axis, rows of gradients that
#: are worked on together, and transformed rows of the input that they meet.
RADIUS, TAPS = 2, 5
GRADIENT_ROWS = 8
GRADIENT_RING = GRADIENT_ROWS + TAPS - 1


def tiles_together(lanes: int) -> int:
    """Tiles of four voxels that are convolved at once: 20 sums fit 32 registers, 10 fit 16."""
    return 2 if lanes == 16 else 1


def irb_gang(lanes: int) -> int:
    """Groups that pass through an IRB block at once: they share what is read and summed up."""
    return 2 if lanes == 16 else 1


def ring_strides(lanes: int) -> Callable[[int, int], Tuple[int, int, int, int, int]]:
    """A function of (slices, columns), which Numba can compile.

    It returns the number of tiles of four, and the bytes between points and rows, of the ring of transformed
    rows and of the sums.
    """
    size, together = 4 * lanes, tiles_together(lanes)

    def strides(slices: int, columns: int) -> Tuple[int, int, int, int, int]:
        tiles = ((columns + OUTPUTS - 1) // OUTPUTS + together - 1) // together * together
        # One vector more than needed, so that the points do not all fall into one set of a cache.
        points, sums = (tiles * slices + 1) * size, (tiles * (slices + 2) + 1) * size
        return tiles, points, POINTS * points, sums, POINTS * sums

    return strides


def irb_workspace(lanes: int) -> Callable[[int, int, int, int, int], int]:
    """(slices, channels, results, rows, columns) to the number of float32 that a tile of an IRB block takes."""
    strides, gang = ring_strides(lanes), irb_gang(lanes)

    def workspace(slices: int, channels: int, results: int, rows: int, columns: int) -> int:
        tiles, _, row_bytes, _, sum_row_bytes = strides(slices, columns)
        packed = ((rows + 1) // 2 + 2) * slices * (tiles + 1) * channels * 8
        total = rows * slices * columns * results
        convolved = 2 * slices * tiles * OUTPUTS * gang * lanes
        return (gang * RING * row_bytes + 2 * sum_row_bytes) // 4 + convolved + packed + total

    return workspace


def ring_workspace(lanes: int) -> Callable[[int, int], int]:
    """(slices, columns) to the number of float32 that a tile of the convolution takes in training."""
    strides = ring_strides(lanes)

    def workspace(slices: int, columns: int) -> int:
        _, _, row_bytes, _, sum_row_bytes = strides(slices, columns)
        return (RING * row_bytes + 2 * sum_row_bytes) // 4 + 2 * lanes

    return workspace


def weight_strides(lanes: int) -> Callable[[int, int], Tuple[int, int, int, int]]:
    """A function of (slices, columns), which Numba can compile: tiles of four, and bytes between tiles, points, rows.

    Of the weight gradient's transformed rows.
    """
    size = 4 * lanes

    def strides(slices: int, columns: int) -> Tuple[int, int, int, int]:
        tiles = (columns + OUTPUTS - 1) // OUTPUTS
        tile_bytes = (slices + RADIUS) * size
        # Zeros on either side for the slices that a gradient of a tile is met from.
        point_bytes = tiles * tile_bytes + 2 * RADIUS * size
        return tiles, tile_bytes, point_bytes, POINTS * point_bytes

    return strides


def weight_workspace(lanes: int) -> Callable[[int, int], int]:
    """(slices, columns) to the number of float32 that a tile of the weight gradient takes."""
    strides = weight_strides(lanes)

    def workspace(slices: int, columns: int) -> int:
        row_bytes = strides(slices, columns)[3]
        return (GRADIENT_RING + GRADIENT_ROWS) * row_bytes // 4

    return workspace
