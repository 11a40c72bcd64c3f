"""The surface of a mask as defined by each preset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Optional, Sequence, Tuple

import numpy as np

from .bits import Lattice, eroded_along, places_of, shifted, values_at
from .presets import Preset
from .surfels import CORNERS, areas_by_code

#: Number of words processed at a time: intermediate results stay in the processor's cache, whatever the size of
#: the scan.
_PIECE = 131_072


@dataclass(frozen=True)
class Surface:
    """Points of a surface.

    Attributes:
        bits: the points as a row of bits.
        places: (n,) int64 positions of the same points in that row, ascending.
        areas: (n,) float64 mm2 of each point, or None if all have the same weight.
    """

    bits: np.ndarray
    places: np.ndarray
    areas: Optional[np.ndarray] = None


def surface_of(
    mask: np.ndarray,
    lattice: Lattice,
    preset: Preset,
    spacing: Sequence[float],
    cut: Sequence[Tuple[bool, bool]],
) -> Surface:
    """The surface of a mask.

    Args:
        mask: row of bits.
        lattice: the positions of its voxels.
        preset: the definition to use.
        spacing: (z, y, x) mm.
        cut: for each axis, whether the box's low and high side touch the image border.
    """
    if preset.surface == "surfels":
        return _surfels(mask, lattice, spacing)
    if preset.surface == "voxels18":
        surface = _in_pieces(_inner18, mask, lattice)
    else:
        whole = mask if preset.outside_is_background else _filled_outside(mask, lattice, cut)
        surface = _in_pieces(_inner6, whole, lattice)
    np.invert(surface, out=surface)
    surface &= mask
    return Surface(surface, places_of(surface))


def _in_pieces(work: Callable[[np.ndarray, Lattice], np.ndarray], words: np.ndarray, lattice: Lattice) -> np.ndarray:
    """Applies `work` to the row of bits in chunks; it may depend on the 26 neighbours at most."""
    done = np.empty_like(words)
    halo = lattice.plane_words + lattice.line_words + 1
    size = max(_PIECE, halo)
    for start in range(0, words.size, size):
        stop, low = min(start + size, words.size), max(0, start - halo)
        done[start:stop] = work(words[low : stop + halo], lattice)[start - low : stop - low]
    return done


def _inner6(mask: np.ndarray, lattice: Lattice) -> np.ndarray:
    inner = eroded_along(mask, 1)
    inner &= eroded_along(mask, lattice.line_words * 64)
    inner &= eroded_along(mask, lattice.plane_words * 64)
    return inner


def _inner18(mask: np.ndarray, lattice: Lattice) -> np.ndarray:
    # The 18-neighbourhood consists of three 3 x 3 squares, one in each pair of axes, and a square of two
    # lines.  Erosion along z is shared by two of the squares.
    line, plane = lattice.line_words * 64, lattice.plane_words * 64
    along_x, along_y = eroded_along(mask, 1), eroded_along(mask, line)
    inner = eroded_along(along_x, line)
    along_x &= along_y
    inner &= eroded_along(along_x, plane)
    return inner


def _filled_outside(mask: np.ndarray, lattice: Lattice, cut: Sequence[Tuple[bool, bool]]) -> np.ndarray:
    """A copy in which everything beyond the image border is part of the mask."""
    filled = mask.copy()
    (front, back), (top, bottom), (left, right) = cut
    ones = ~np.uint64(0)
    start, end = lattice.lead_words, lattice.lead_words + lattice.shape[0] * lattice.plane_words
    if front:
        filled[start - lattice.plane_words : start] = ones
    if back:
        filled[end : end + lattice.plane_words] = ones
    if top:
        lattice.body(filled, lines_before=1)[:, 0] = ones
    if bottom:
        lattice.body(filled)[:, lattice.shape[1]] = ones
    if left:  # the last bit of the line before
        filled[start - 1 : end - 1 : lattice.line_words] |= np.uint64(1 << 63)
    if right:
        lattice.body(filled)[:, :, lattice.shape[2] // 64] |= np.uint64(1 << (lattice.shape[2] % 64))
    return filled


def _surfels(mask: np.ndarray, lattice: Lattice, spacing: Sequence[float]) -> Surface:
    surface = _in_pieces(_mixed_corners, mask, lattice)
    places = places_of(surface)
    line, plane = lattice.line_words * 64, lattice.plane_words * 64
    codes = np.zeros(places.shape, np.uint8)
    for bit, (z, y, x) in enumerate(CORNERS):
        codes |= values_at(mask, places - (z * plane + y * line + x)) << np.uint8(bit)
    return Surface(surface, places, areas_by_code(spacing)[codes])


def _mixed_corners(mask: np.ndarray, lattice: Lattice) -> np.ndarray:
    # A point here is the corner where voxel (z, y, x) and its seven neighbours towards the origin
    # meet; it is part of the surface if the eight are neither all inside the mask nor all outside.
    some, every = mask, mask
    for step in (1, lattice.line_words * 64, lattice.plane_words * 64):
        some, every = some | shifted(some, step), every & shifted(every, step)
    some &= ~every
    return some
