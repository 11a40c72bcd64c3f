"""Masks with one bit per voxel: an eighth of the memory, and 64 voxels per operation.

The voxels of a box are stored in one row of bits.  Every line along x and every plane along y is followed by
zero bits, as are both ends, so that a step to a neighbour is a constant step in the row and never reaches
another line's voxels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

import numpy as np

Box = Tuple[slice, slice, slice]

_WORD = np.dtype("<u8")
_BITS_IN_BYTE = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1).astype(np.uint8)
# NumPy 2 has a function for it that takes one instruction per word.
_count_bits = getattr(np, "bitwise_count", None)


@dataclass(frozen=True)
class Lattice:
    """The positions of a box's voxels in the row of bits.

    Attributes:
        shape: (z, y, x) voxels of the box.
        reach: (z, y, x) steps that can be taken from any voxel, or from the corner after the
            last one, without reaching another line.
    """

    shape: Tuple[int, int, int]
    reach: Tuple[int, int, int]

    @property
    def line_words(self) -> int:
        """Number of 64-bit words of one line along x."""
        # Two bits more than the reach: corners after the last voxel, and filling at the border.
        return -(-(self.shape[2] + self.reach[2] + 2) // 64)

    @property
    def lines(self) -> int:
        """Number of lines of one plane."""
        return self.shape[1] + self.reach[1] + 2

    @property
    def plane_words(self) -> int:
        """Number of 64-bit words of one plane."""
        return self.lines * self.line_words

    @property
    def lead_words(self) -> int:
        """Number of words before the first voxel, and after the last plane."""
        return (self.reach[0] + 2) * self.plane_words

    @property
    def size_words(self) -> int:
        """Number of words of the whole row."""
        return self.shape[0] * self.plane_words + 2 * self.lead_words

    def step(self, z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Converts steps in voxels to steps in the row of bits."""
        return (z * self.plane_words + y * self.line_words) * 64 + x

    def coordinates(self, places: np.ndarray) -> np.ndarray:
        """Converts positions in the row of bits to (n, 3) int64 voxel indices (z, y, x) in the box."""
        line, x = np.divmod(places - self.lead_words * 64, self.line_words * 64)
        z, y = np.divmod(line, self.lines)
        return np.stack([z, y, x], axis=1)

    def body(self, words: np.ndarray, lines_before: int = 0) -> np.ndarray:
        """(planes, lines, words) view of the box's own planes, or shifted back by some lines."""
        start = self.lead_words - lines_before * self.line_words
        flat = words[start : start + self.shape[0] * self.plane_words]
        return flat.reshape(self.shape[0], self.lines, self.line_words)


def bounding_box(mask: np.ndarray) -> Optional[Box]:
    """The bounding box of all non-zero voxels, or None if there are none.

    Args:
        mask: (z, y, x) bool or integer.
    """
    depth = mask.shape[0]
    first = next((z for z in range(depth) if mask[z].any()), None)
    if first is None:
        return None
    last = next(z for z in range(depth - 1, -1, -1) if mask[z].any())
    shadow = np.zeros(mask.shape[1:], bool)
    # A few planes at a time: reducing all integers at once would make a bool copy of them.
    for start in range(first, last + 1, 16):
        shadow |= mask[start : min(start + 16, last + 1)].any(axis=0)
    rows, columns = np.flatnonzero(shadow.any(axis=1)), np.flatnonzero(shadow.any(axis=0))
    return slice(first, last + 1), slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def union(first: Optional[Box], second: Optional[Box]) -> Optional[Box]:
    """The bounding box of both; None counts as empty."""
    if first is None or second is None:
        return first or second
    z, y, x = (slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(first, second))
    return z, y, x


def pack(mask: np.ndarray, lattice: Lattice) -> np.ndarray:
    """The row of bits, (size_words,) uint64, of a (z, y, x) mask of the lattice's shape."""
    words = np.zeros(lattice.size_words, _WORD)
    as_bytes = lattice.body(words).view(np.uint8)
    used = -(-mask.shape[2] // 8)
    for plane, target in zip(mask, as_bytes):
        target[: mask.shape[1], :used] = np.packbits(plane, axis=1, bitorder="little")
    return words


def count(words: np.ndarray) -> int:
    """The number of bits that are set."""
    if _count_bits is not None:
        return int(_count_bits(words).sum(dtype=np.int64))
    # In chunks, since the sum makes a copy of eight times the size.
    as_bytes = words.view(np.uint8)
    return sum(int(_BITS_IN_BYTE[as_bytes[i : i + 65536]].sum()) for i in range(0, as_bytes.size, 65536))


def places_of(words: np.ndarray) -> np.ndarray:
    """(n,) int64 positions of the bits that are set, ascending."""
    filled = np.flatnonzero(words)
    bits = np.flatnonzero(np.unpackbits(words[filled].view(np.uint8), bitorder="little"))
    return (filled[bits >> 6] << 6) + (bits & 63)


def values_at(words: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(n,) uint8 bits at the given positions."""
    return (words.view(np.uint8)[places >> 3] >> (places & 7).astype(np.uint8)) & np.uint8(1)


def shifted(words: np.ndarray, step: int) -> np.ndarray:
    """Shifts all bits by `step` positions forward (or back), filling with zeros.

    Args:
        step: 1, -1, or any multiple of 64.
    """
    moved = np.zeros_like(words)
    if step == 1:
        np.left_shift(words, np.uint64(1), out=moved)
        moved[1:] |= words[:-1] >> np.uint64(63)
    elif step == -1:
        np.right_shift(words, np.uint64(1), out=moved)
        moved[:-1] |= words[1:] << np.uint64(63)
    elif step > 0:
        moved[step // 64 :] = words[: -(step // 64)]
    else:
        moved[: step // 64] = words[-step // 64 :]
    return moved


def eroded_along(words: np.ndarray, step: int) -> np.ndarray:
    """Bits that are set together with both neighbours at a distance of `step` positions."""
    kept = words & shifted(words, step)
    kept &= shifted(words, -step)
    return kept
