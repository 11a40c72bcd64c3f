"""Writing results as a CSV table."""

from __future__ import annotations

import csv
import io
from typing import Any, Dict, Iterator, Mapping, Tuple

from .pair import PathLike

_COLUMNS = ("dice", "voe", "rvd", "absolute_rvd", "assd_mm", "mssd_mm", "prediction_ml", "reference_ml", "preset")
_EXTRAS = ("hd95_mm", "surface_dice", "surface_dice_tolerance_mm")
_MAY_BE_UNDEFINED = ("rvd", "absolute_rvd", "assd_mm", "mssd_mm")


def write_csv(result: Mapping[str, Any], path: PathLike) -> None:
    """Writes a result of :func:`~lvnet.evaluation.evaluate` or :func:`~lvnet.evaluation.evaluate_folders` as CSV.

    One row per case, or per case and label, with a header row.  An undefined value is an empty
    cell, and the column `<name>_reason` says why; a failed or unmatched case is a row with its
    message in `error`.  Optional metrics have columns if they were requested; if two methods are
    compared, the last column tells them apart.

    Args:
        result: the result.
        path: the file to write, completely or not at all; an existing one is replaced.

    Raises:
        ImageError: the file cannot be written.
    """
    from ..image_io.write import atomic_file

    rows = [*_table(result)]
    comparison = result.get("comparison")
    if comparison:
        other = {key[len("other_") :]: value for key, value in comparison.items() if key.startswith("other_")}
        rows = [{**row, "method": comparison["method"]} for row in rows]
        rows += [{**row, "method": comparison["other_method"]} for row in _table(other)]
    used = set().union(*rows)
    reasons = [f"{name}_reason" for name in _MAY_BE_UNDEFINED]
    extras = [name for name in (*_EXTRAS, "hd95_mm_reason") if name in used]
    columns = ["case", "label", *_COLUMNS, *reasons, *extras, "notes", "error", *(["method"] if comparison else [])]
    text = io.StringIO(newline="")
    # Excel opens this format directly: commas, decimal points, CRLF.
    table = csv.DictWriter(text, columns, extrasaction="ignore")
    table.writeheader()
    table.writerows(rows)
    with atomic_file(path) as file:
        file.write(text.getvalue().encode("utf-8"))


def _table(result: Mapping[str, Any]) -> Iterator[Dict[str, Any]]:
    for case, label, values in _rows(result):
        yield {**values, "case": case, "label": label, "notes": "; ".join(values.get("notes", ()))}
    for case, message in result.get("failed", {}).items():
        yield {"case": case, "error": message}
    for key, message in (("unmatched_predictions", "no reference"), ("unmatched_references", "no prediction")):
        for case in result.get(key, ()):
            yield {"case": case, "error": message}


def _rows(result: Mapping[str, Any], case: str = "") -> Iterator[Tuple[str, str, Mapping[str, Any]]]:
    for name, values in result.get("cases", {}).items():
        yield from _rows(values, name)
    for label, values in result.get("labels", {}).items():
        yield case, label, {**values, "notes": result.get("notes", ())}
    if "dice" in result:
        yield case, "", result
