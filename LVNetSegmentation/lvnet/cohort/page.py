"""An HTML page of all results, with the doubtful ones first and with pictures."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Sequence

from ..report.charts import Named, box_plot
from ..report.document import document
from ..report.parts import picture, sentences, table
from .rows import FAILED, ORDER, by_doubt, doubts_of, row_of, status_of

#: Most doubtful results that are shown with a picture; the table lists all.
MOST_PICTURES = 60
_WORDS = {"failed": "failed", "wrong": "probably wrong", "look": "needs review", "ok": "as expected"}
_CSS = """
.scan { border: 1px solid var(--line); border-left: 5px solid #d9640a; border-radius: 6px; padding: 8px 14px;
  margin: 12px 0; break-inside: avoid; }
.scan.wrong, .scan.failed { border-left-color: #b3261e; }
.scan img { width: 100%; max-width: 1000px; display: block; margin: 6px 0; border-radius: 3px; }
.scan ul { margin: 4px 0; padding-left: 18px; }
td.text { white-space: normal; text-align: left; overflow-wrap: anywhere; }
"""


def page_of(
    results: Sequence[Mapping[str, Any]],
    title: str,
    left_out: Sequence[str],
    picture_of: Callable[[str], Path],
) -> bytes:
    """The page as one self-contained file.

    Args:
        results: the record of each scan, with `name`.
        title: the page's title.
        left_out: sentences about inputs that are not scans.
        picture_of: the path of a result's picture, by name.
    """
    ordered = by_doubt(results)
    doubtful = [result for result in ordered if status_of(result) != ORDER[-1]]
    parts = [
        _tiles(ordered),
        _charts(ordered),
        f"<h2>Needs review ({len(doubtful)})</h2>" if doubtful else "",
        *(_shown(result, picture_of) for result in doubtful[:MOST_PICTURES]),
        f"<p>{len(doubtful) - MOST_PICTURES} more are in the table.</p>" if len(doubtful) > MOST_PICTURES else "",
        f"<h2>All scans ({len(ordered)})</h2>" if ordered else "",
        _table(ordered),
        sentences("Left out", left_out),
    ]
    page = document(title, _lead(ordered), parts, "For research; not a medical device.", _CSS)
    return page.encode("utf-8", "backslashreplace")


def _lead(results: Sequence[Mapping[str, Any]]) -> str:
    counts = {status: sum(status_of(result) == status for result in results) for status in ORDER}
    words = ", ".join(f"{count} {_WORDS[status]}" for status, count in counts.items() if count)
    return f'<p class="lead">{len(results)} scans: {words or "none yet"}</p>'


def _tiles(results: Sequence[Mapping[str, Any]]) -> str:
    tiles = []
    for name, cases in _numbers(results, "volumes_ml").items():
        mean = sum(value for _, value in cases) / len(cases)
        tiles.append((f"{mean:.0f} ml", f"mean volume of {name}"))
    seconds = [result["seconds"] for result in results if result.get("seconds") is not None]
    if seconds:
        tiles.append((f"{sum(seconds) / len(seconds):.1f} s", "per scan"))
    drawn = "".join(f'<div class="tile"><b>{value}</b><span>{escape(name)}</span></div>' for value, name in tiles)
    return f'<div class="tiles">{drawn}</div>' if tiles else ""


def _numbers(results: Sequence[Mapping[str, Any]], key: str) -> Mapping[str, List[Named]]:
    """The number of each scan, by quantity."""
    found: Dict[str, List[Named]] = {}
    for result in results:
        for name, value in (result.get(key) or {}).items():
            number = value["dice"] if isinstance(value, dict) else value
            if number is not None:
                found.setdefault(name, []).append((result["name"], number))
    return found


def _charts(results: Sequence[Mapping[str, Any]]) -> str:
    drawn = []
    for key, title in (("volumes_ml", "{} (ml)"), ("expected_dice", "expected DICE, {}")):
        for name, cases in _numbers(results, key).items():
            if len(cases) >= 3:
                drawn.append(f"<figure>{box_plot(title.format(name), [('', cases)])}</figure>")
    return f'<div class="boxes">{"".join(drawn)}</div>' if drawn else ""


def _shown(result: Mapping[str, Any], picture_of: Callable[[str], Path]) -> str:
    status, row = status_of(result), row_of(result)
    remarks = [row["error"]] if status == FAILED else [*doubts_of(result), *result["notes"]]
    volumes = ", ".join(f"{name} {value:.0f} ml" for name, value in (result.get("volumes_ml") or {}).items())
    entries = "".join(f"<li>{escape(str(sentence))}</li>" for sentence in remarks)
    try:
        drawn = picture(picture_of(result["name"]).read_bytes(), "the result in three planes")
    except OSError:
        drawn = ""
    return (
        f'<section class="scan {status}"><h3>{escape(result["name"])}<small>{_WORDS[status]}'
        f"{'; ' + escape(volumes) if volumes else ''}</small></h3>{drawn}<ul>{entries}</ul></section>"
    )


def _table(results: Sequence[Mapping[str, Any]]) -> str:
    if not results:
        return ""
    rows = [row_of(result) for result in results]
    left = ("input", "output", "device", "weights_sha256", "name", "status", "doubts", "notes", "error")
    numbers = [key for key in dict.fromkeys(key for row in rows for key in row) if key not in left]
    heads = ["name", "status", *numbers, "remarks"]
    lines = []
    for row in rows:
        cells = "".join(f"<td>{_number(row.get(key))}</td>" for key in numbers)
        remarks = row.get("error") or "; ".join(part for part in (row.get("doubts"), row.get("notes")) if part)
        out = ' class="out"' if row["status"] != ORDER[-1] else ""
        lines.append(
            f"<tr><th>{escape(row['name'])}</th><td{out}>{row['status']}</td>{cells}"
            f'<td class="text">{escape(str(remarks))}</td></tr>'
        )
    shown = table("cases", [key.replace("_", " ") for key in heads], lines)
    return f'<div class="wide">{shown}</div>'


def _number(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) and abs(value) < 100 else f"{value:.0f}"
