"""The page's sections with numbers: key figures, tables, charts."""

from __future__ import annotations

from html import escape
from typing import List, Optional, Sequence

from .charts import bland_altman, box_plot
from .content import Content
from .palette import METHODS
from .rows import Row, by_label, titled
from .tables import cases_table, comparison_table, summary_table


def tiles(content: Content) -> str:
    """The key figures at the top of the page."""
    groups = by_label(list(content.rows))
    if not content.rows or len(groups) > 1:
        return ""
    shown = [metric for metric in content.metrics if metric.key in ("dice", "assd_mm", "mssd_mm", "rvd")]
    tiles = []
    if len(content.rows) == 1:
        only = content.rows[0]
        tiles = [(metric.with_unit(only.number(metric.key)), metric.title) for metric in shown]
    else:
        for metric in shown:
            entry = content.result["summary"][metric.key]
            low_high = entry["mean_ci95"]
            interval = "" if low_high is None else f"{metric.shown(low_high[0])} to {metric.shown(low_high[1])}"
            words = f"mean {metric.title}" + (f", 95 %: {interval}" if interval else "")
            tiles.append((metric.with_unit(entry["mean"]), words))
    drawn = "".join(f'<div class="tile"><b>{value}</b><span>{escape(name)}</span></div>' for value, name in tiles)
    return f'<div class="tiles">{drawn}</div>'


def troubles(content: Content) -> str:
    """Cases that could not be evaluated, and other remarks."""
    result = content.result
    lines = [f"{name}: {message}" for name, message in result.get("failed", {}).items()]
    lines += [f"{name}: no reference with this name" for name in result.get("unmatched_predictions", ())]
    lines += [f"{name}: no prediction with this name" for name in result.get("unmatched_references", ())]
    other = result.get("comparison", {})
    method = other.get("other_method", "")
    lines += [f"{method}, {name}: {message}" for name, message in other.get("other_failed", {}).items()]
    lines += [f"{method}, {name}: no reference with this name" for name in other.get("other_unmatched_predictions", ())]
    lines += [f"{method}, {name}: no prediction with this name" for name in other.get("other_unmatched_references", ())]
    listed = f"<b>Not evaluated</b>{_list(lines)}" if lines else ""
    remarks = _list(list(content.notes)) if content.notes else ""
    return f'<div class="warn">{listed}{remarks}</div>' if lines or content.notes else ""


def _list(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def cases(content: Content) -> str:
    """The table of all cases."""
    if not content.rows:
        return "<h2>Cases</h2><p>No case could be evaluated.</p>"
    table = cases_table(content.rows, content.metrics, content.anchors)
    heading = "Cases, worst first" if len(content.rows) > 1 else "Metrics"
    marked = ""
    if "class=out" in table:
        marked = (
            '<p class="faint">Sorted by DICE. Marked values are outliers: more than 1.5 interquartile ranges '
            "beyond the quartiles.</p>"
        )
    elif len(content.rows) > 1:
        marked = '<p class="faint">Sorted by DICE.</p>'
    return f'<h2>{heading}</h2>{marked}<div class="wide">{table}</div>'


def summary(content: Content) -> str:
    """Averages, box plots and volumes of several cases."""
    if "summary" not in content.result or len(content.rows) < 2:
        return ""
    facts = content.result["bootstrap"]
    parts = [
        "<h2>Summary</h2>",
        f'<p class="faint">Intervals: percentile bootstrap over cases, {facts["resamples"]} resamples. '
        "sd: sample standard deviation.</p>",
    ]
    for label, group in by_label(list(content.rows)).items():
        entries = content.result["summary"]
        entries = entries["labels"][label] if "labels" in entries else entries
        if label is not None:
            parts.append(f"<h3>{escape(_heading(label))}</h3>")
        parts.append(f'<div class="wide">{summary_table(entries, content.metrics)}</div>')
        if len(group) > 1:
            parts.append(_charts(content, label, group))
    return "".join(parts)


def _charts(content: Content, label: Optional[str], group: Sequence[Row]) -> str:
    comparison = content.result.get("comparison")
    names = (comparison["method"], comparison["other_method"]) if comparison else ("",)
    groups: List[Sequence[Row]] = [group]
    if comparison:
        groups.append([row for row in content.other_rows if row.label == label])
    boxes = []
    for metric in content.metrics:
        series = []
        for name, rows in zip(names, groups):
            dots = [(row.title, value * metric.factor) for row in rows
                    if (value := row.number(metric.key)) is not None]  # fmt: skip
            if dots:
                series.append((name, dots))
        if series:
            boxes.append(f"<figure>{box_plot(metric.heading, series)}</figure>")
    plots = []
    for name, rows, colour in zip(names, groups, METHODS):
        pairs = [(row.title, row.values["prediction_ml"], row.values["reference_ml"]) for row in rows]
        if len(pairs) > 1:
            title = f"Volumes, {name}" if name else "Volumes"
            plots.append(f"<figure>{bland_altman(title, pairs, colour)}</figure>")
    wide = " six" if len(boxes) == 6 else ""
    key = "Box: quartiles and median; whiskers: the last case within one and a half interquartile ranges; diamond: mean"
    return f'<h4>Spread over cases</h4><p class="key">{key}.</p><div class="boxes{wide}">{"".join(boxes)}</div>' + (
        f"<h4>Agreement of volumes (Bland-Altman)</h4>{''.join(plots)}" if plots else ""
    )


def comparison(content: Content) -> str:
    """Two methods, metric by metric."""
    entries = content.result.get("comparison")
    if not entries:
        return ""
    names = entries["method"], entries["other_method"]
    parts = [
        f"<h2>Comparison of {escape(names[0])} and {escape(names[1])}</h2>",
        f'<p class="faint">Over the cases of both methods. Difference: {escape(names[0])} minus {escape(names[1])}. '
        "Wilcoxon signed-rank test, two-sided, not corrected for the number of metrics.</p>",
    ]
    tables = entries["metrics"].get("labels", {None: entries["metrics"]})
    for label, values in tables.items():
        if label is not None:
            parts.append(f"<h3>{escape(_heading(label))}</h3>")
        parts.append(f'<div class="wide">{comparison_table(values, content.metrics, names)}</div>')
    if content.other_rows:
        parts.append(f"<h4>Cases of {escape(names[1])}, worst first</h4>")
        parts.append(f'<div class="wide">{cases_table(content.other_rows, content.metrics, {})}</div>')
    return "".join(parts)


def _heading(label: str) -> str:
    words = titled(label)
    return words[:1].upper() + words[1:]
