"""The page's sections with pictures: the worst case's surfaces, and slices of every case."""

from __future__ import annotations

from html import escape
from typing import List, Sequence, Tuple

from .content import Content
from .distance_map import DistanceMap, colour_scale
from .palette import COMMON, EXTRA, MISSED, PREDICTION, REFERENCE
from .rows import Row
from .slices import APART_MM


def worst(content: Content) -> str:
    """The surface-distance map of the worst case for each label."""
    parts = []
    for row in content.rows:
        pictures = content.pictures.get(row.case)
        if pictures and row.label in pictures.maps:
            parts.append(_map(row, pictures.maps[row.label]))
    if not parts:
        return ""
    heading = "Distances between the surfaces"
    if len(content.rows) > 1:
        heading += ", worst case"
        if content.rows[0].number("mssd_mm") is None:
            heading += " of those that have two surfaces"
    return f"<h2>{heading}</h2>{''.join(parts)}"


def slices(content: Content) -> str:
    """Every case's slices."""
    anchors = content.anchors
    if not anchors and not content.undrawn:
        return ""
    parts = [
        "<h2>Slices with the largest disagreement</h2>",
        f'<p class="faint">For each case the three axial slices with the largest area of disagreement, largest '
        f"first, at least {APART_MM:g} mm apart where the organ is large enough. The patient's right is on the "
        "picture's left, anterior is up. Heights are patient coordinates from the file, S superior and I inferior "
        "to its origin.</p>",
        _key(content),
    ]
    for row in content.rows:
        pictures = content.pictures.get(row.case)
        drawn = pictures.slices.get(row.label, []) if pictures else []
        note = "; ".join(pictures.notes) if pictures else content.undrawn.get(row.case, "")
        remark = f'<p class="faint">{escape(note)}</p>' if note else ""
        if not drawn:
            remark = remark or '<p class="faint">Both masks are empty.</p>'
            parts.append(f'<section class="case"><h3>{escape(row.title)}</h3>{remark}</section>')
            continue
        place = anchors[row.case, row.label]
        parts.append(
            f'<section class="case" id="{place}"><h3>{escape(row.title)}<small>{_numbers(row, content)}</small></h3>'
            f"{remark}{_figures(drawn)}</section>"
        )
    return "".join(parts)


def _numbers(row: Row, content: Content) -> str:
    shown = [metric for metric in content.metrics if metric.key in ("dice", "assd_mm", "mssd_mm")]
    return escape(" · ".join(f"{metric.title} {metric.with_unit(row.number(metric.key))}" for metric in shown))


def _key(content: Content) -> str:
    drawn = [pictures for pictures in content.pictures.values() if any(pictures.slices.values())]
    lines = []
    if any(pictures.on_scan for pictures in drawn):
        lines.append(
            f'<span class="swatch" style="border-color:{REFERENCE}"></span><span>outline of the reference</span>'
            f'<span class="swatch" style="border-color:{PREDICTION}"></span><span>outline of the prediction</span>'
            "<span>scan: level 40 HU, width 400 HU</span>"
        )
    if any(not pictures.on_scan for pictures in drawn):
        lines.append(
            "".join(
                f'<span class="swatch block" style="background:{colour}"></span><span>{words}</span>'
                for colour, words in ((COMMON, "in both"), (MISSED, "missed: in the reference only"),
                                      (EXTRA, "too much: in the prediction only"))
            )
        )  # fmt: skip
    return "".join(f'<p class="key">{line}</p>' for line in lines)


def _figures(pictures: Sequence[Tuple[str, str]]) -> str:
    drawn = "".join(f"<figure>{svg}<figcaption>{caption}</figcaption></figure>" for svg, caption in pictures)
    return f'<div class="row">{drawn}</div>'


def _map(row: Row, drawn: DistanceMap) -> str:
    limit, beyond = drawn.limit_mm, drawn.largest_mm > drawn.limit_mm
    intro = (
        f"<h3>{escape(row.title)}</h3>"
        '<p class="faint">Orange: the prediction lies outside the reference there (too much); blue: inside it '
        f"(missed). The largest distance is {drawn.largest_mm:.1f} mm"
        f"{'; the colour scale ends earlier to show small distances' if beyond else ''}.</p>"
        f'<div class="scale"><img src="{colour_scale()}" alt="colours from blue by grey to orange">'
        f"<span>−{limit:g} mm{' or more, missed' if beyond else ', missed'}</span><span>0</span>"
        f"<span>+{limit:g} mm{' or more, too much' if beyond else ', too much'}</span></div>"
    )
    parts: List[str] = []
    for name, pictures in (("prediction", drawn.prediction), ("reference", drawn.reference)):
        figures = _figures([(svg, f"<b>{side}</b>") for side, svg in pictures])
        # In print, the colour key stays with the first pictures.
        parts.append(f'<section class="case">{intro}<h4>The {name}’s surface</h4>{figures}</section>')
        intro = ""
    return "".join(parts)
