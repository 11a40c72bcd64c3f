"""One table row per scan, from its record."""

from __future__ import annotations

import csv
import io
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from ..selfcheck import LOOK, OK, WRONG

#: The status of a scan, the most serious first.
FAILED = "failed"
ORDER = (FAILED, WRONG, LOOK, OK)
_FIRST = ("name", "status", "input", "output")
_LAST = ("doubts", "notes", "seconds", "device", "weights_sha256", "error")


def row_of(result: Mapping[str, Any]) -> Dict[str, Any]:
    """The table row of one scan.

    Args:
        result: as `lvnet segment --json` prints it, with `name`.
    """
    row = {key: result.get(key) for key in ("name", "input", "output", "seconds", "device", "weights_sha256", "error")}
    row["status"] = status_of(result)
    if row["error"] is not None:
        return row
    for name, volume in result["volumes_ml"].items():
        row[f"{name}_ml"] = volume
    for check in result["checks"]:
        if check["unit"] == "HU":
            row[f"{check['name']}_hu".replace(" ", "_")] = check["value"]
    for name, expected in (result.get("expected_dice") or {}).items():
        if expected:
            row[f"{name}_expected_dice"] = expected["dice"]
            row[f"{name}_expected_dice_low"], row[f"{name}_expected_dice_high"] = expected["low"], expected["high"]
    row["doubts"] = "; ".join(doubts_of(result))
    row["notes"] = "; ".join(result["notes"])
    return row


def status_of(result: Mapping[str, Any]) -> str:
    """The worst verdict on a result, or failure if there is no result."""
    if result.get("error") is not None:
        return FAILED
    verdicts = {check["verdict"] for check in result["checks"]}
    if any(finding["severity"] == "warning" for finding in result["input_checks"]):
        verdicts.add(LOOK)
    return next((verdict for verdict in (WRONG, LOOK) if verdict in verdicts), OK)


def doubts_of(result: Mapping[str, Any]) -> List[str]:
    """Sentences about what needs review."""
    found = [finding["sentence"] for finding in result["input_checks"] if finding["severity"] == "warning"]
    return found + [check["sentence"] for check in result["checks"] if check["verdict"] in (WRONG, LOOK)]


def by_doubt(results: Sequence[Mapping[str, Any]]) -> List[Mapping[str, Any]]:
    """Results sorted for review: by status, then with the lowest expected DICE first."""

    def key(result: Mapping[str, Any]) -> Tuple[int, float, str]:
        expected = [entry["dice"] for entry in (result.get("expected_dice") or {}).values() if entry]
        return ORDER.index(status_of(result)), min(expected, default=1.0), result["name"]

    return sorted(results, key=key)


def table_of(results: Sequence[Mapping[str, Any]]) -> bytes:
    """A table for a spreadsheet, in UTF-8, in the order given."""
    rows = [row_of(result) for result in results]
    between = [key for key in dict.fromkeys(key for row in rows for key in row) if key not in (*_FIRST, *_LAST)]
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, [*_FIRST, *between, *_LAST])
    table.writeheader()
    table.writerows(rows)
    return text.getvalue().encode("utf-8", "backslashreplace")
