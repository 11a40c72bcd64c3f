"""A result in one picture: three planes of the scan with the segmentation's outline, and a frontal 3D view."""

from __future__ import annotations

from typing import List, Optional, Sequence, Tuple

import numpy as np

from ..boxes import bounding_box
from ..errors import ConfigurationError
from ..orientation import to_canonical
from ..volume import Volume
from .palette import PREDICTION, REFERENCE, rgb
from .scan import window_of
from .solid import SIDES, Solid

#: Side of one view in pixels.
SIDE = 320
_GAP, _BAR_MM = 4, 50.0
#: Normal axis of each plane, and whether its rows must be reversed so that the head is up.
_PLANES = ((0, False, "RLAP"), (1, True, "RLSI"), (2, True, "APSI"))
#: Letters of five by seven pixels, one number per row.
_LETTERS = {
    "R": (30, 17, 17, 30, 20, 18, 17),
    "L": (16, 16, 16, 16, 16, 16, 31),
    "A": (14, 17, 17, 31, 17, 17, 17),
    "P": (30, 17, 17, 30, 16, 16, 16),
    "S": (15, 16, 16, 14, 1, 1, 30),
    "I": (14, 4, 4, 4, 4, 4, 14),
}


def portrait(
    scan: Volume, labels: Volume, body: bool = True, side: int = SIDE, reference: Optional[Volume] = None
) -> np.ndarray:
    """Draws a scan with its segmentation.

    The planes are those in which the segmentation is largest, or differs most from the reference, in radiological
    convention and true to scale; the scale bar is 50 mm long.

    Args:
        scan: in HU or any other intensities, in any orientation.
        labels: on the same grid; non-zero voxels are drawn.
        body: also draw a frontal 3D view.
        side: side of a view in pixels.
        reference: on the same grid; drawn in blue, below the segmentation.

    Returns:
        (side, 3 or 4 views, 3) uint8.

    Raises:
        ConfigurationError: the two have different shapes.
    """
    if any(part is not None and part.shape != scan.shape for part in (labels, reference)):
        raise ConfigurationError("the label map has another grid than the scan; give the scan that it belongs to")
    canonical = to_canonical(scan)[0]
    mask = to_canonical(labels.with_array(labels.array != 0))[0].array
    masks = [(mask, PREDICTION)]
    followed = mask
    if reference is not None:
        true = to_canonical(reference.with_array(reference.array != 0))[0].array
        masks = [(true, REFERENCE), *masks]
        followed = true ^ mask if (true ^ mask).any() else mask
    box = bounding_box(mask)
    spacing, window = canonical.spacing, window_of(canonical.array)
    scale = side / max(n * mm for n, mm in zip(canonical.shape, spacing))
    views = [_plane(canonical.array, masks, followed, spacing, window, scale, side, *plane) for plane in _PLANES]
    if body:
        views.append(_body(mask[box] if box is not None else None, spacing, side))
    gap = np.zeros((side, _GAP, 3), np.uint8)
    parts: List[np.ndarray] = []
    for view in views:
        parts += [view, gap]
    return np.concatenate(parts[:-1], axis=1)


def _plane(
    array: np.ndarray,
    masks: Sequence[Tuple[np.ndarray, str]],
    followed: np.ndarray,
    spacing: Tuple[float, float, float],
    window: Tuple[float, float],
    scale: float,
    side: int,
    axis: int,
    turned: bool,
    letters: str,
) -> np.ndarray:
    index = _largest(followed, axis) if followed.any() else followed.shape[axis] // 2
    steps = [mm for other, mm in enumerate(spacing) if other != axis]
    planes = [np.moveaxis(part, axis, 0)[index] for part in (array, *(mask for mask, _ in masks))]
    seen, *marked = [plane[::-1] for plane in planes] if turned else planes
    rows, columns = (_nearest(n, mm * scale) for n, mm in zip(seen.shape, steps))
    low, high = window
    grey = np.clip((seen[np.ix_(rows, columns)].astype(np.float32) - low) / (high - low), 0, 1) * 255
    pixels = np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)
    for mask, (_, colour) in zip(marked, masks):
        pixels[_edge(mask[np.ix_(rows, columns)])] = rgb(colour)
    view = _on_black(pixels, side)
    _write(view, letters)
    length = min(side - 16, round(_BAR_MM * scale))
    view[-9:-7, side - 8 - length : side - 8] = 255
    return view


def _largest(mask: np.ndarray, axis: int) -> int:
    """The index along an axis of the plane with the most marked voxels."""
    others = tuple(other for other in range(3) if other != axis)
    return int(np.argmax(np.count_nonzero(mask, axis=others)))


def _nearest(count: int, pixels: float) -> np.ndarray:
    """The index of the voxel that each pixel shows."""
    size = max(1, round(count * pixels))
    return np.minimum(((np.arange(size) + 0.5) * count / size).astype(np.int64), count - 1)


def _edge(mask: np.ndarray) -> np.ndarray:
    """The marked pixels that have an unmarked neighbour."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(mask & ~inner)


def _body(mask: Optional[np.ndarray], spacing: Tuple[float, float, float], side: int) -> np.ndarray:
    front = SIDES[0]
    if mask is None:
        return np.zeros((side, side, 3), np.uint8)
    longest = max(n * mm for n, mm in zip(mask.shape, spacing))
    hit, shade, _ = Solid(mask, spacing, longest).seen_from(front)
    pixels = (rgb(PREDICTION) * np.where(hit, shade, 0)[:, :, None]).astype(np.uint8)
    size = max(pixels.shape[:2]) / side
    rows, columns = (_nearest(n, 1 / size) for n in pixels.shape[:2])
    view = _on_black(pixels[np.ix_(rows, columns)], side)
    _write(view, "".join(front.letters))
    return view


def _on_black(pixels: np.ndarray, side: int) -> np.ndarray:
    """Centres a picture in a black square."""
    view = np.zeros((side, side, 3), np.uint8)
    high, wide = (min(side, n) for n in pixels.shape[:2])
    top, left = (side - high) // 2, (side - wide) // 2
    view[top : top + high, left : left + wide] = pixels[:high, :wide]
    return view


def _write(view: np.ndarray, letters: str) -> None:
    """The orientation letters at the left, right, top and bottom."""
    side = len(view)
    middle = side // 2
    for letter, (y, x) in zip(letters, ((middle, 9), (middle, side - 9), (11, middle), (side - 11, middle))):
        glyph = np.array([[row >> (4 - bit) & 1 for bit in range(5)] for row in _LETTERS[letter]], bool)
        glyph = glyph.repeat(2, axis=0).repeat(2, axis=1)
        top, left = max(0, y - 7), max(0, min(x - 5, side - 10))
        place = view[top : top + 14, left : left + 10]
        place[glyph[: place.shape[0], : place.shape[1]]] = 255
