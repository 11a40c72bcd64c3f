"""The layout of the page."""

from __future__ import annotations

from html import escape

from ..metrics import PRESETS
from . import numbers, pictured
from .content import Content
from .document import document

_DEFINITIONS = (
    ("DICE", "twice the volume of the intersection divided by the sum of both volumes; 1 is perfect"),
    ("VOE", "volumetric overlap error: 1 − volume of the intersection divided by that of the union; 0 is perfect"),
    ("RVD", "relative volume difference, (prediction − reference) / reference; |RVD| is its absolute value"),
    ("ASSD", "average symmetric surface distance: the mean of all distances from each surface to the other"),
    ("MSSD", "maximum symmetric surface distance (Hausdorff): the largest of all those distances"),
    ("HD95", "the 95th percentile of those distances"),
    ("surface DICE", "the fraction of both surfaces within the tolerance of the other surface"),
)


def page(content: Content) -> str:
    """The page as a complete HTML file."""
    parts = [
        numbers.tiles(content),
        numbers.troubles(content),
        numbers.cases(content),
        numbers.summary(content),
        numbers.comparison(content),
        pictured.worst(content),
        pictured.slices(content),
        _how(content),
    ]
    purpose = "A comparison of label maps for research; not a medical device."
    return document(content.title, _lead(content), parts, purpose)


def _lead(content: Content) -> str:
    count = len({row.case for row in content.rows})
    cases = f"{count} case{'' if count == 1 else 's'}"
    parts = [f"{content.prediction} against {content.reference}", cases, f"preset {content.preset}", content.when]
    return f'<p class="lead">{escape(" · ".join(part for part in parts if part))}</p>'


def _how(content: Content) -> str:
    used = {metric.title.split(" at ")[0] for metric in content.metrics}
    entries = "".join(f"<dt>{name}</dt><dd>{escape(words)}</dd>" for name, words in _DEFINITIONS if name in used)
    preset = f"<dt>preset {escape(content.preset)}</dt><dd>{escape(PRESETS[content.preset].summary)}</dd>"
    return (
        f"<h2>What the numbers mean</h2><dl>{entries}{preset}</dl>"
        '<p class="faint">Published numbers of the same name may follow other definitions; compare only within one '
        "preset.</p>"
    )
