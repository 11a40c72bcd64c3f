"""One picture from the patient: true to scale, with orientation letters and a scale bar."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Sequence, Tuple

import numpy as np

from .palette import GRID, INK
from .png import data_address

#: Width of the drawing in its own units; a panel is never wider or higher than this.
WIDTH, MOST_HEIGHT = 320.0, 300.0
_BARS_MM = (1, 2, 5, 10, 20, 50, 100, 200)


@dataclass(frozen=True)
class Outline:
    """Lines around the pixels of a mask.

    Attributes:
        path: SVG path in pixels.
        colour: the line's colour.
        width: the line's width, in units of the drawing.
    """

    path: str
    colour: str
    width: float


def panel(
    pixels: np.ndarray,
    pixel_mm: Tuple[float, float],
    letters: Sequence[str],
    description: str,
    *,
    outlines: Sequence[Outline] = (),
    dark: bool = False,
    smooth: bool = True,
    framed: bool = False,
) -> str:
    """An SVG picture.

    Args:
        pixels: uint8, (rows, columns) or (rows, columns, 3 or 4).
        pixel_mm: height and width of a pixel.
        letters: orientation letters at the left, right, top and bottom.
        description: alternative text for readers who cannot see the picture.
        outlines: drawn on top, the first one first.
        dark: whether the picture is dark, so that letters must be light.
        smooth: whether pixels are interpolated when they are enlarged.
        framed: whether to draw a thin frame.
    """
    rows, columns = pixels.shape[:2]
    high, wide = rows * pixel_mm[0], columns * pixel_mm[1]
    scale = min(WIDTH / wide, MOST_HEIGHT / high)
    width, height = wide * scale, high * scale
    left = (WIDTH - width) / 2
    step_x, step_y = scale * pixel_mm[1], scale * pixel_mm[0]
    rendering = "auto" if smooth else "pixelated"
    drawn = [
        f'<svg class="panel" role="img" viewBox="0 0 {WIDTH:g} {height:.1f}" aria-label="{escape(description)}">',
        f'<image x="{left:.2f}" y="0" width="{width:.2f}" height="{height:.2f}" preserveAspectRatio="none" '
        f'style="image-rendering:{rendering}" href="{data_address(pixels)}"/>',
    ]
    drawn += [
        f'<path transform="translate({left:.2f} 0) scale({step_x:.5f} {step_y:.5f})" d="{line.path}" fill="none" '
        f'stroke="{line.colour}" stroke-width="{line.width:g}" stroke-linecap="square" '
        'vector-effect="non-scaling-stroke"/>'
        for line in outlines
        if line.path
    ]
    if framed:
        drawn.append(
            f'<rect x="{left + 0.5:.2f}" y="0.5" width="{width - 1:.2f}" height="{height - 1:.2f}" fill="none" '
            f'stroke="{GRID}"/>'
        )
    drawn += [_letters(letters, left, width, height, dark), _scale_bar(scale, left, width, height, dark), "</svg>"]
    return "".join(drawn)


def outline(mask: np.ndarray) -> str:
    """SVG path along the pixel edges between inside and outside of a (rows, columns) mask, in pixels."""
    padded = np.pad(mask, 1).astype(np.int8)
    lying, standing = np.diff(padded, axis=0)[:, 1:-1] != 0, np.diff(padded, axis=1)[1:-1] != 0
    parts = [f"M{x} {y}h{n}" for y, x, n in _runs(lying)]
    parts += [f"M{x} {y}v{n}" for x, y, n in _runs(standing.T)]
    return "".join(parts)


def _runs(edges: np.ndarray) -> Sequence[Tuple[int, int, int]]:
    """Line, start and length of the runs of True."""
    steps = np.diff(np.pad(edges.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    line, start = np.nonzero(steps == 1)
    _, stop = np.nonzero(steps == -1)
    return list(zip(line.tolist(), start.tolist(), (stop - start).tolist()))


def _inks(dark: bool) -> Tuple[str, str]:
    return ("#ffffff", "#000000") if dark else (INK, "#ffffff")


def _letters(letters: Sequence[str], left: float, width: float, height: float, dark: bool) -> str:
    ink, halo = _inks(dark)
    middle = height / 2 + 5
    places = ((left + 5, middle, "start"), (left + width - 5, middle, "end"), (WIDTH / 2, 16, "middle"),
              (WIDTH / 2, height - 6, "middle"))  # fmt: skip
    texts = "".join(
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(letter)}</text>'
        for letter, (x, y, anchor) in zip(letters, places)
    )
    return f'<g class="side" fill="{ink}" stroke="{halo}">{texts}</g>'


def _scale_bar(scale: float, left: float, width: float, height: float, dark: bool) -> str:
    ink, halo = _inks(dark)
    length = max([mm for mm in _BARS_MM if mm * scale <= 0.34 * width] or _BARS_MM[:1])
    x, y = left + width - 8 - length * scale, height - 8
    bar = f"M{x:.2f} {y - 4:.1f}v4h{length * scale:.2f}v-4"
    return (
        f'<g class="bar"><path d="{bar}" fill="none" stroke="{halo}" stroke-width="4"/>'
        f'<path d="{bar}" fill="none" stroke="{ink}" stroke-width="1.6"/>'
        f'<text x="{x + length * scale / 2:.1f}" y="{y - 6:.1f}" text-anchor="middle" fill="{ink}" stroke="{halo}">'
        f"{length} mm</text></g>"
    )
