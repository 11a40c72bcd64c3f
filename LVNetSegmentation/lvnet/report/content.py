"""What the page tells, before it has a form."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

from .pictures import Pictures
from .rows import Metric, Row


@dataclass(frozen=True)
class Content:
    """Everything that the page tells.

    Attributes:
        title: of the page.
        when: date and time as text; empty leaves them out.
        prediction, reference: what is compared, by name.
        result: of the evaluation.
        rows: worst first.
        metrics: columns.
        pictures: by case.
        undrawn: why cases have no pictures, by case.
        notes: sentences about the whole.
        other_rows: of the other method where two are compared, worst first.
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
        """Name of the definitions."""
        return str(self.result["preset"])

    @property
    def anchors(self) -> Dict[Tuple[str, Optional[str]], str]:
        """Places in the page by case and label; numbers, because a case's name may hold anything."""
        return {
            (row.case, row.label): f"case{number}"
            for number, row in enumerate(self.rows, 1)
            if self.pictures.get(row.case) and self.pictures[row.case].slices.get(row.label)
        }
