"""The contents of the page, independent of its layout."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

from .pictures import Pictures
from .rows import Metric, Row


@dataclass(frozen=True)
class Content:
    """The contents of the page.

    Attributes:
        title: the page's title.
        when: date and time as text; empty omits them.
        prediction, reference: names of what is compared.
        result: the result of the evaluation.
        rows: worst first.
        metrics: columns.
        pictures: by case.
        undrawn: reasons for missing pictures, by case.
        notes: sentences about the whole evaluation.
        other_rows: rows of the other method if two are compared, worst first.
    """

    title: str
    when: str
    prediction: str
    reference: str
    result: Mapping[str, Any]
    rows: Sequence[Row]
    metrics: Sequence[Metric]
    pictures: Mapping[str, Pictures]
    undrawn: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    other_rows: Sequence[Row] = ()

    @property
    def preset(self) -> str:
        """Name of the metrics preset."""
        return str(self.result["preset"])

    @property
    def anchors(self) -> Dict[Tuple[str, Optional[str]], str]:
        """Anchors in the page by case and label; numbers, because a case's name may contain any character."""
        return {
            (row.case, row.label): f"case{number}"
            for number, row in enumerate(self.rows, 1)
            if self.pictures.get(row.case) and self.pictures[row.case].slices.get(row.label)
        }
