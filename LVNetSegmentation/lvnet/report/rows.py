"""The result of an evaluation as rows, one per case and label, worst first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

from ..evaluation.matching import sorted_keys, titled
from .charts import signed


@dataclass(frozen=True)
class Row:
    """One case, or one label of a case.

    Attributes:
        case: its name.
        label: a label value as text or an organ's name, or None if there is only one.
        values: from :meth:`lvnet.metrics.Metrics.to_dict`.
        notes: sentences about the case.
    """

    case: str
    label: Optional[str]
    values: Mapping[str, Any]
    notes: Tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The case and, if there are several, the label."""
        return self.case if self.label is None else f"{self.case}, {titled(self.label)}"

    def number(self, name: str) -> Optional[float]:
        """A metric, or None if it is undefined or was not requested."""
        value = self.values.get(name)
        return None if value is None or not math.isfinite(value) else float(value)


@dataclass(frozen=True)
class Metric:
    """One column.

    Attributes:
        key: its name in the result.
        title: its name for readers.
        unit: in the heading; empty if there is none.
        factor: between the result's number and the one that is shown.
        digits: number of decimals.
        with_sign: whether a plus sign is shown.
        low_is_bad: whether low values are bad; None if both ends are.
    """

    key: str
    title: str
    unit: str
    factor: float
    digits: int
    with_sign: bool = False
    low_is_bad: Optional[bool] = False

    @property
    def heading(self) -> str:
        """Title and unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def shown(self, value: Optional[float]) -> str:
        """The number as text; a dash for None."""
        if value is None or not math.isfinite(value):
            return "–"
        if self.with_sign:
            return signed(value * self.factor, self.digits)
        return f"{value * self.factor:.{self.digits}f}".replace("-", "−")

    def with_unit(self, value: Optional[float]) -> str:
        """The number with its unit; a dash alone for None."""
        text = self.shown(value)
        return text if text == "–" or not self.unit else f"{text} {self.unit}"


def metrics_of(result: Mapping[str, Any], rows: List[Row]) -> List[Metric]:
    """The columns of a result: the five metrics, and the optional ones that were requested."""
    # In the preset `chaos`, RVD is already unsigned and in percent.
    percent = result.get("preset") == "chaos"
    metrics = [
        Metric("dice", "DICE", "", 1.0, 4, low_is_bad=True),
        Metric("voe", "VOE", "%", 100.0, 2),
        Metric("rvd", "RVD", "%", 1.0 if percent else 100.0, 2, with_sign=not percent, low_is_bad=None),
        Metric("absolute_rvd", "|RVD|", "%", 100.0, 2),
        Metric("assd_mm", "ASSD", "mm", 1.0, 2),
        Metric("mssd_mm", "MSSD", "mm", 1.0, 2),
    ]
    used = set().union(*(row.values for row in rows)) if rows else set()
    if {"hd95_mm", "hd95_mm_reason"} & used:
        metrics.append(Metric("hd95_mm", "HD95", "mm", 1.0, 2))
    if "surface_dice" in used:
        tolerance = next(row.values["surface_dice_tolerance_mm"] for row in rows if "surface_dice" in row.values)
        metrics.append(Metric("surface_dice", f"surface DICE at {tolerance:g} mm", "", 1.0, 4, low_is_bad=True))
    return metrics


def rows_of(result: Mapping[str, Any], single: str) -> List[Row]:
    """The rows of a result, lowest DICE first, then largest MSSD.

    Args:
        result: of one pair or of two folders.
        single: name of the case of a single pair.
    """
    if "cases" in result:
        rows = [row for case, values in result["cases"].items() for row in _of_case(case, values)]
    else:
        rows = list(_of_case(single, result))
    return sorted(rows, key=_badness)


def by_label(rows: List[Row]) -> Dict[Optional[str], List[Row]]:
    """Rows by label, in order of the values; rows without a label are a separate group.

    A case in which no label occurs has no label if other cases have several.
    """
    labels = sorted_keys(row.label for row in rows)
    if not labels:
        return {None: rows}
    return {label: [row for row in rows if row.label == label] for label in labels}


def _of_case(case: str, values: Mapping[str, Any]) -> Iterator[Row]:
    notes = tuple(values.get("notes", ()))
    if "labels" in values:
        for label, metrics in values["labels"].items():
            yield Row(case, label, metrics, notes)
    else:
        yield Row(case, None, values, notes)


def _badness(row: Row) -> Tuple[float, float, str, str]:
    far = row.number("mssd_mm")
    return float(row.values["dice"]), -(math.inf if far is None else far), row.case, row.label or ""
