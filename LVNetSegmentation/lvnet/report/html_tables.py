"""Tables of the report as HTML."""

from __future__ import annotations

from html import escape
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from .charts import fences
from .parts import table
from .rows import Metric, Row, by_label

#: The fewest cases for which outliers are marked.
_ENOUGH = 5


def cases_table(rows: Sequence[Row], metrics: Sequence[Metric], links: Mapping[Tuple[str, Optional[str]], str]) -> str:
    """The table of all cases, in the order given.

    Args:
        rows: worst first.
        metrics: the columns.
        links: the anchors of their pictures in the page, by case and label.
    """
    limits = _limits(rows, metrics)
    labelled = any(row.label is not None for row in rows)
    heads = ["case", *(["label"] if labelled else []), *(metric.heading for metric in metrics), "reference (ml)",
             "prediction (ml)", "difference (ml)"]  # fmt: skip
    ml = Metric("", "", "ml", 1.0, 1)
    change = Metric("", "", "ml", 1.0, 1, with_sign=True)
    body = []
    for row in rows:
        name = escape(row.case)
        link = links.get((row.case, row.label))
        linked = f'<a href="#{link}">{name}</a>' if link else name
        cells = [f'<th scope="row">{linked}</th>']
        if labelled:
            cells.append(f"<td>{'–' if row.label is None else escape(row.label)}</td>")
        cells += [_cell(row, metric, limits) for metric in metrics]
        reference, prediction = row.values["reference_ml"], row.values["prediction_ml"]
        cells += [f"<td>{ml.shown(reference)}</td>", f"<td>{ml.shown(prediction)}</td>"]
        cells.append(f"<td>{change.shown(prediction - reference)}</td>")
        body.append(f"<tr>{''.join(cells)}</tr>")
        remarks = [*row.notes, *_reasons(row, metrics)]
        if remarks:
            body.append(f'<tr class="note"><td colspan="{len(heads)}">{escape("; ".join(remarks))}</td></tr>')
    return table("cases", heads, body)


def summary_table(summary: Mapping[str, Any], metrics: Sequence[Metric]) -> str:
    """The table with mean, standard deviation and median of every metric.

    Args:
        summary: by metric, from `summary` of the result.
        metrics: the rows.
    """
    body = []
    for metric in metrics:
        entry = summary[metric.key]
        count = f"{entry['count']}" + (f" ({entry['undefined']} undefined)" if entry["undefined"] else "")
        cells = [
            metric.shown(entry["mean"]),
            _interval(entry["mean_ci95"], metric),
            metric.shown(entry["sd"]).lstrip("+"),
            metric.shown(entry["median"]),
            _interval(entry["median_ci95"], metric),
            count,
        ]
        body.append(f'<tr><th scope="row">{escape(metric.heading)}</th>{_cells(cells)}</tr>')
    heads = ["metric", "mean", "95 % interval", "sd", "median", "95 % interval", "cases"]
    return table("summary", heads, body)


def comparison_table(entries: Mapping[str, Any], metrics: Sequence[Metric], names: Tuple[str, str]) -> str:
    """The table that compares two methods.

    Args:
        entries: by metric, from `comparison` of the result.
        metrics: the rows.
        names: the names of both methods.
    """
    body = []
    for metric in metrics:
        entry = entries[metric.key]
        change = Metric("", "", metric.unit, metric.factor, metric.digits, with_sign=True)
        p = entry["wilcoxon_p"]
        cells = [
            metric.shown(entry["mean"]),
            metric.shown(entry["other_mean"]),
            change.shown(entry["mean_difference"]),
            _interval(entry["mean_difference_ci95"], change),
            escape(entry.get("wilcoxon_p_reason", "")) if p is None else _p(p),
            f"{entry['count']}" + (f" ({entry['undefined']} undefined)" if entry["undefined"] else ""),
        ]
        body.append(f'<tr><th scope="row">{escape(metric.heading)}</th>{_cells(cells)}</tr>')
    heads = ["metric", f"mean, {names[0]}", f"mean, {names[1]}", "difference", "95 % interval", "Wilcoxon p", "cases"]
    return table("summary", heads, body)


def _p(value: float) -> str:
    return "&lt; 0.0001" if value < 0.0001 else f"{value:.4f}"


def _interval(bounds: Optional[Sequence[float]], metric: Metric) -> str:
    return "–" if bounds is None else f"{metric.shown(bounds[0])} to {metric.shown(bounds[1])}"


def _cells(texts: Sequence[str]) -> str:
    return "".join(f"<td>{text}</td>" for text in texts)


def _cell(row: Row, metric: Metric, limits: Mapping[Tuple[Optional[str], str], Tuple[float, float]]) -> str:
    value = row.number(metric.key)
    low, high = limits.get((row.label, metric.key), (float("-inf"), float("inf")))
    bad_low, bad_high = metric.low_is_bad in (True, None), metric.low_is_bad in (False, None)
    stands_out = value is not None and ((bad_low and value < low) or (bad_high and value > high))
    return f"<td{' class=out' if stands_out else ''}>{metric.shown(value)}</td>"


def _limits(rows: Sequence[Row], metrics: Sequence[Metric]) -> Dict[Tuple[Optional[str], str], Tuple[float, float]]:
    found = {}
    for label, group in by_label(list(rows)).items():
        for metric in metrics:
            values = [value for row in group if (value := row.number(metric.key)) is not None]
            if len(values) >= _ENOUGH:
                found[label, metric.key] = fences(values)
    return found


def _reasons(row: Row, metrics: Sequence[Metric]) -> List[str]:
    """The reasons for missing values, each once."""
    missing: Dict[str, List[str]] = {}
    for metric in metrics:
        reason = row.values.get(f"{metric.key}_reason")
        if reason:
            missing.setdefault(reason, []).append(metric.title)
    return [f"{', '.join(names)} undefined: {reason}" for reason, names in missing.items()]
