"""The report of a comparison: one self-contained HTML file."""

from __future__ import annotations

import io
from html import escape
from typing import Any, List, Mapping, Sequence

from lvnet.report.document import document
from lvnet.report.parts import picture, text_table

from .. import paper
from ..paper_tables import Table
from ..pictures import figure_of
from .results import COLUMNS, cost_table, table_of, tests_table


def box_plots(results: Mapping[str, Any]) -> bytes:
    """A PNG with one plot per metric and one box per network; points are cases."""
    names = [entry["title"] for entry in results["networks"].values()]
    figure = figure_of(3.1 * len(paper.METRICS), 4.6)
    for axes, (key, heading, _) in zip(figure.subplots(1, len(paper.METRICS)), paper.METRICS):
        groups = [
            [case[key] for case in entry["cases"].values() if case.get(key) is not None]
            for entry in results["networks"].values()
        ]
        axes.boxplot(groups, widths=0.6, showfliers=False, medianprops={"color": "#c0392b"})
        for place, group in enumerate(groups, start=1):
            axes.plot([place] * len(group), group, linestyle="", marker="o", markersize=3, alpha=0.5, color="#1273c4")
        axes.set_title(heading, fontsize=11)
        axes.set_xticks(range(1, len(names) + 1), names, rotation=50, ha="right", fontsize=9)
        axes.grid(axis="y", alpha=0.3)
    figure.tight_layout()
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=90)
    return file.getvalue()


def page(results: Mapping[str, Any], plots: bytes) -> str:
    """The complete HTML file.

    Args:
        results: see :func:`.results.assemble`.
        plots: the PNG from :func:`box_plots`.
    """
    tests = tests_table(results)
    parts = [
        _table(table_of(results)),
        "<h2>Case by case</h2>",
        picture(plots, "box plots", "Boxes: first to third quartile; red: median; each point is a case."),
        _table(tests) if tests else "",
        _table(cost_table(results)),
        "<h2>Every case</h2>",
        _cases(results),
        _how(results),
    ]
    return document("Comparison of networks", _lead(results), parts, "For research; not a medical device.")


def _lead(results: Mapping[str, Any]) -> str:
    parts = [f"{len(results['networks'])} networks", f"{len(results['split']['test'])} test cases", results["date"]]
    return f'<p class="lead">{escape(" · ".join(parts))}</p>'


def _how(results: Mapping[str, Any]) -> str:
    split, settings, machine = results["split"], results["settings"], results["machine"]
    budget = "; ".join(
        f"{stage['epochs']} epochs of {settings['samples_per_epoch']} patches of"
        f" {' x '.join(map(str, stage['patch']))}, batch {stage['batch']}"
        for stage in settings["stages"]
    )
    if settings["seconds_each"]:
        budget += f"; at most {settings['seconds_each']:g} s of training each"
    chosen = "the epoch with the best validation DICE" if split["validation"] else "the last epoch"
    entries = (
        ("data", f"{len(split['train'])} training cases, {len(split['validation'])} validation cases, "
                 f"{len(split['test'])} test cases: {', '.join(split['test'])}"),
        ("budget", budget),
        ("the same for all", "cases, patches and their order, loss of the main output, optimiser, schedule"),
        ("scored", f"{chosen}, by the inference of `lvnet segment`, on the scans' own grids"),
        ("machine", ", ".join(f"{key} {value}" for key, value in machine.items() if value)),
        ("settings", f"{settings['name']}, SHA-256 {settings['sha256']}"),
    )  # fmt: skip
    return (
        "<h2>How it was made</h2><dl>"
        + "".join(f"<dt>{escape(name)}</dt><dd>{escape(words)}</dd>" for name, words in entries)
        + "</dl>"
    )


def _cases(results: Mapping[str, Any]) -> str:
    rows: List[Sequence[str]] = []
    for entry in results["networks"].values():
        for case, values in entry["cases"].items():
            rows.append((entry["title"], case, *(_shown(values.get(key)) for key in COLUMNS[2:])))
    return text_table(COLUMNS, rows)


def _shown(value: Any) -> str:
    return "–" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)


def _table(table: Table) -> str:
    remarks = "".join(f'<p class="faint">{escape(remark)}</p>' for remark in table.remarks)
    return f"<h2>{escape(table.title)}</h2>{text_table(table.head, table.rows)}{remarks}"
