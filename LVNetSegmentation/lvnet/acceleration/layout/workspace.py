"""The layout of the CPU kernels' working memory, computed without compiling them.

Transformed rows are stored in the order (point, tile of four voxels, slice), one vector of channels each;
see :mod:`.winograd`.
"""

from __future__ import annotations

from typing import Callable, Tuple

from .winograd import OUTPUTS, POINTS

#: Transformed rows that are kept: an output row needs five, and two rows are computed at once.
RING = 6
#: Tiles of four voxels that are convolved at once.
TOGETHER = 2
#: Bytes of the transformed rows that a thread keeps, which should stay in the L2 cache.
KEPT_BYTES = 832 << 10
#: Groups of channels that are expanded at once.
ABREAST = 2
#: An IRB block's kernels compute log2(e) ELU(x / log2(e)); its weights absorb the factors.
LOG2_E = 1.4426950408889634
#: Columns that the stem computes at once, and those that it transforms together.
STEM_COLUMNS, STEM_SPAN = 8, 64
#: Rows that are summed in float32 before they are added to float64 sums.
BLOCK = 1024
#: The 1x1x1 convolutions of an IRB block in training: rows that pass through the caches together, at most so wide.
CHUNK_ROWS, WIDEST = 24, 256
#: For the weight gradient: radius and taps of the filter along an axis, and gradient rows processed together.
RADIUS, TAPS = 2, 5
GRADIENT_ROWS = RING - TAPS + 1


def columns_together(lanes: int) -> int:
    """Columns that are expanded at once: with two groups, 24 sums fit in 32 registers, 12 in 16."""
    return 12 if lanes == 16 else 6


def ring_strides(lanes: int) -> Callable[[int, int], Tuple[int, int, int, int, int]]:
    """A function of (slices, columns) that Numba can compile.

    It returns the number of tiles of four voxels, and the bytes between points and between rows, for the ring
    of transformed rows and for the sums.
    """
    size = 4 * lanes

    def strides(slices: int, columns: int) -> Tuple[int, int, int, int, int]:
        tiles = ((columns + OUTPUTS - 1) // OUTPUTS + TOGETHER - 1) // TOGETHER * TOGETHER
        # One extra vector, so that the points do not all map to the same cache set.
        points, sums = (tiles * slices + 1) * size, (tiles * (slices + 2) + 1) * size
        return tiles, points, POINTS * points, sums, POINTS * sums

    return strides


def gang_size(lanes: int, groups: int, slices: int, columns: int, kept_bytes: int) -> int:
    """How many groups of channels pass through a tile of an IRB block together.

    They share the reading of the input and the sums of the output; the fewer the slices, the more rings of
    transformed rows fit in the cache.
    """
    fitting = kept_bytes // (RING * ring_strides(lanes)(slices, columns)[2])
    return max(ABREAST, min(groups, fitting) // ABREAST * ABREAST)


def irb_workspace(lanes: int) -> Callable[[int, int, int, int, int, int], int]:
    """Maps (gang, slices, channels, results, rows, columns) to the float32 that a tile of an IRB block needs."""
    strides, block = ring_strides(lanes), columns_together(lanes)

    def workspace(gang: int, slices: int, channels: int, results: int, rows: int, columns: int) -> int:
        tiles, _, row_bytes, _, sum_row_bytes = strides(slices, columns)
        blocks = (OUTPUTS * (tiles + 1) + block - 1) // block
        convolved = 2 * slices * tiles * OUTPUTS * gang * lanes
        row = blocks * block * (ABREAST * lanes + channels)
        total = rows * slices * ((columns + lanes - 1) // lanes * lanes) * results
        return (gang * RING * row_bytes + 2 * sum_row_bytes) // 4 + convolved + row + total

    return workspace


def summed_rows(rows: int) -> int:
    """Rows whose sums the 1x1x1 convolutions of an IRB block compute in float32: few enough to share among threads."""
    return CHUNK_ROWS * (80 if rows > 1 << 15 else 10)


def stem_padding(height: int, width: int) -> Tuple[Tuple[int, int], ...]:
    """Zeros before and after each axis of the stem's input (D, H, W).

    They are the padding of the convolution and what the kernels read to the end of the last rows and span.
    """
    span = max(width, STEM_SPAN) + 32
    return (2, 2), (2, 2 + -height % OUTPUTS), (2, span - width)


def ring_workspace(lanes: int) -> Callable[[int, int, int], int]:
    """Maps (groups, slices, columns) to the float32 that a tile of the convolution needs in training."""
    strides = ring_strides(lanes)

    def workspace(groups: int, slices: int, columns: int) -> int:
        _, _, row_bytes, _, sum_row_bytes = strides(slices, columns)
        return (groups * RING * row_bytes + 2 * sum_row_bytes) // 4 + 2 * lanes

    return workspace


def weight_strides(lanes: int) -> Callable[[int, int], Tuple[int, int, int, int]]:
    """A function of (slices, columns) that Numba can compile, for the transformed rows of the weight gradient.

    It returns the number of tiles of four voxels, and the bytes between tiles, points and rows.
    """
    size = 4 * lanes

    def strides(slices: int, columns: int) -> Tuple[int, int, int, int]:
        tiles = (columns + OUTPUTS - 1) // OUTPUTS
        tile_bytes = (slices + RADIUS) * size
        # Zeros on either side, for input slices whose gradient lies outside the image.
        point_bytes = tiles * tile_bytes + 2 * RADIUS * size
        return tiles, tile_bytes, point_bytes, POINTS * point_bytes

    return strides


def weight_workspace(lanes: int) -> Callable[[int, int, int], int]:
    """Maps (groups, slices, columns) to the float32 that a tile of the weight gradient needs."""
    strides = weight_strides(lanes)

    def workspace(groups: int, slices: int, columns: int) -> int:
        return groups * (RING + GRADIENT_ROWS) * strides(slices, columns)[3] // 4

    return workspace
