"""Box plots and Bland-Altman plots as SVG."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import List, Optional, Sequence, Tuple

import numpy as np

from .palette import FAINT, GRID, INK, METHODS

#: A case's name and one number.
Named = Tuple[str, float]


@dataclass(frozen=True)
class Axis:
    """An axis: maps numbers to positions in a drawing.

    Attributes:
        ticks: round numbers that cover the values.
        start, stop: positions of the first and the last tick, in units of the drawing.
    """

    ticks: Tuple[float, ...]
    start: float
    stop: float

    @classmethod
    def covering(cls, low: float, high: float, start: float, stop: float, most: int = 5) -> Axis:
        """An axis of at most `most` steps of 1, 2 or 5 times a power of ten."""
        if high - low < 1e-12:
            low, high = low - max(0.05 * abs(low), 1e-3), high + max(0.05 * abs(high), 1e-3)
        rough = (high - low) / most
        power = 10.0 ** np.floor(np.log10(rough))
        step = next(n * power for n in (1, 2, 5, 10) if n * power >= rough * (1 - 1e-9))
        first, last = np.floor(low / step + 1e-9), np.ceil(high / step - 1e-9)
        return cls(tuple(float(n * step) for n in np.arange(first, last + 1)), start, stop)

    def at(self, value: float) -> float:
        """The position of a value."""
        share = (value - self.ticks[0]) / (self.ticks[-1] - self.ticks[0])
        return self.start + share * (self.stop - self.start)

    def label(self, tick: float) -> str:
        """The tick's label with as many digits as its step needs."""
        step = self.ticks[1] - self.ticks[0]
        digits = max(0, int(-np.floor(np.log10(step) + 1e-9)))
        return f"{tick + 0.0:.{digits}f}".replace("-", "−") if tick else "0"


def fences(values: Sequence[float]) -> Tuple[float, float]:
    """One and a half interquartile ranges beyond the quartiles; values outside are outliers."""
    low, high = np.percentile(values, (25, 75))
    return float(low - 1.5 * (high - low)), float(high + 1.5 * (high - low))


def box_plot(title: str, groups: Sequence[Tuple[str, Sequence[Named]]]) -> str:
    """A box for each group, with every case as a dot.

    Args:
        title: the metric and its unit.
        groups: a name (of a method; empty for a single one) and its cases.
    """
    width, height = 190.0, 230.0
    every = [value for _, cases in groups for _, value in cases]
    axis = Axis.covering(min(every), max(every), height - 26, 26)
    parts = [_open(width, height, f"box plot of {title}"), _text(width / 2, 14, title, "middle", weight="600")]
    for tick in axis.ticks:
        y = axis.at(tick)
        parts.append(_line(42, y, width - 4, y, GRID))
        parts.append(_text(38, y + 3.5, axis.label(tick), "end", FAINT))
    for number, (name, cases) in enumerate(groups):
        x = 42 + (width - 46) * (number + 0.5) / len(groups)
        parts.append(_box([value for _, value in cases], axis, x, METHODS[number % 2]))
        parts += _dots(cases, axis, x, METHODS[number % 2])
        if name:
            parts.append(_text(x, height - 8, _short(name, 13), "middle", METHODS[number % 2]))
    return "".join(parts) + "</svg>"


def bland_altman(title: str, cases: Sequence[Tuple[str, float, float]], colour: str = METHODS[0]) -> str:
    """A Bland-Altman plot: differences of two volumes over their mean.

    Args:
        title: the title above the plot.
        cases: name, prediction and reference in ml; two or more.
        colour: the colour of the dots.
    """
    width, height = 620.0, 300.0
    names = [name for name, _, _ in cases]
    one, other = np.array([pair[1:] for pair in cases], np.float64).T
    means, differences = (one + other) / 2, one - other
    bias, spread = float(differences.mean()), 1.96 * float(differences.std(ddof=1))
    x_axis = Axis.covering(float(means.min()), float(means.max()), 62, width - 150, most=6)
    reach = [*differences, bias - spread, bias + spread, 0.0]
    y_axis = Axis.covering(min(reach), max(reach), height - 44, 26)
    parts = [_open(width, height, f"Bland-Altman plot, {title}"), _text(62, 14, title, "start", weight="600")]
    for tick in y_axis.ticks:
        y = y_axis.at(tick)
        parts += [_line(62, y, x_axis.stop, y, GRID), _text(56, y + 3.5, y_axis.label(tick), "end", FAINT)]
    parts += [_text(x_axis.at(tick), height - 28, x_axis.label(tick), "middle", FAINT) for tick in x_axis.ticks]
    parts.append(_text((62 + x_axis.stop) / 2, height - 10, "mean of prediction and reference (ml)", "middle", FAINT))
    parts.append(
        f'<text transform="translate(14 {height / 2:.0f}) rotate(-90)" text-anchor="middle" fill="{FAINT}">'
        "prediction − reference (ml)</text>"
    )
    parts.append(_line(62, y_axis.at(0), x_axis.stop, y_axis.at(0), INK))
    lines = [(bias + spread, "+1.96 sd", "5 4"), (bias, "mean", ""), (bias - spread, "−1.96 sd", "5 4")]
    heights = _apart([y_axis.at(value) for value, _, _ in lines], 14)
    for (value, name, dash), text_y in zip(lines, heights):
        y = y_axis.at(value)
        parts.append(_line(62, y, x_axis.stop, y, colour, dash, 1.3))
        parts.append(_text(x_axis.stop + 6, text_y + 3.5, f"{name} {signed(value, 1)} ml", "start", colour))
    named = set(np.argsort(-np.abs(differences - bias), kind="stable")[:3].tolist())
    for i, name in enumerate(names):
        x, y = x_axis.at(means[i]), y_axis.at(differences[i])
        words = f"{name}: {one[i]:.1f} ml, reference {other[i]:.1f} ml, difference {signed(differences[i], 1)} ml"
        parts.append(_dot(x, y, colour, words))
        if i in named and len(names) > 3:
            side = ("end", -6) if x > 0.75 * x_axis.stop else ("start", 6)
            parts.append(_text(x + side[1], y - 4, _short(name, 22), side[0], FAINT, size=10))
    return "".join(parts) + "</svg>"


def signed(value: float, digits: int) -> str:
    """A number with its sign, and a typographic minus."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def _apart(heights: List[float], least: float) -> List[float]:
    """The same heights, from top to bottom, moved so that texts do not overlap."""
    middle = heights[1]
    return [min(heights[0], middle - least), middle, max(heights[2], middle + least)]


def _box(values: Sequence[float], axis: Axis, x: float, colour: str) -> str:
    low, quarter, median, three, high = _five(values)
    half = 17.0
    top, bottom = axis.at(three), axis.at(quarter)
    mean = axis.at(float(np.mean(values)))
    return "".join(
        [
            _line(x, axis.at(high), x, top, colour),
            _line(x, bottom, x, axis.at(low), colour),
            _line(x - 8, axis.at(high), x + 8, axis.at(high), colour),
            _line(x - 8, axis.at(low), x + 8, axis.at(low), colour),
            f'<rect x="{x - half:.1f}" y="{top:.1f}" width="{2 * half:g}" height="{max(bottom - top, 0.5):.1f}" '
            f'fill="{colour}" fill-opacity="0.14" stroke="{colour}"/>',
            _line(x - half, axis.at(median), x + half, axis.at(median), colour, width=2.2),
            f'<path d="M{x - 4:.1f} {mean:.1f}l4 -4l4 4l-4 4z" fill="#fff" stroke="{colour}"/>',
        ]
    )


def _five(values: Sequence[float]) -> Tuple[float, float, float, float, float]:
    """Ends of the whiskers, quartiles and median."""
    array = np.asarray(values, np.float64)
    quarter, median, three = (float(v) for v in np.percentile(array, (25, 50, 75)))
    low, high = fences(values)
    inside = array[(array >= low) & (array <= high)]
    return float(min(inside.min(), quarter)), quarter, median, three, float(max(inside.max(), three))


def _dots(cases: Sequence[Named], axis: Axis, x: float, colour: str) -> List[str]:
    """Dots, moved sideways where they would overlap; deterministic."""
    drawn: List[Tuple[float, float]] = []
    dots = []
    for name, value in sorted(cases, key=lambda case: (case[1], case[0])):
        y = axis.at(value)
        taken = {place for place, height in drawn if abs(height - y) < 6}
        place = next((p for p in (0, 7, -7, 14, -14, 21, -21) if p not in taken), 0)
        drawn.append((place, y))
        dots.append(_dot(x + place, y, colour, f"{name}: {value:.4g}"))
    return dots


def _dot(x: float, y: float, colour: str, words: str) -> str:
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}" fill-opacity="0.75" stroke="#fff" '
        f'stroke-width="0.8"><title>{escape(words)}</title></circle>'
    )


def _open(width: float, height: float, words: str) -> str:
    return f'<svg class="chart" role="img" viewBox="0 0 {width:g} {height:g}" aria-label="{escape(words)}">'


def _text(
    x: float, y: float, words: str, anchor: str, colour: str = INK, size: int = 11, weight: Optional[str] = None
) -> str:
    bold = f' font-weight="{weight}"' if weight else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}"{bold}>'
        f"{escape(words)}</text>"
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, dash: str = "", width: float = 1.0) -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width:g}"{dashes}/>'
    )


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
