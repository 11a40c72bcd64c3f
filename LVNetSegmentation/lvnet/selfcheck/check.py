"""The result of one plausibility check."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

OK, LOOK, WRONG = "ok", "look", "wrong"

#: Lowest and highest value; None means no bound on that side.
Range = Tuple[Optional[float], Optional[float]]


@dataclass(frozen=True)
class Limits:
    """The range of normal values, and the wider range of values that need review.

    Attributes:
        ok: normal values.
        look: values that are possible but rare; beyond them the segmentation is considered wrong.
    """

    ok: Range
    look: Range = (None, None)

    def verdict(self, value: float) -> str:
        """`OK`, `LOOK` or `WRONG`; NaN is `WRONG`."""
        if _within(value, self.ok):
            return OK
        return LOOK if _within(value, self.look) else WRONG

    def without_lower(self) -> Limits:
        """The same limits for a partial measurement, where a low value is not a fault."""
        return Limits((None, self.ok[1]), (None, self.look[1]))


def _within(value: float, bounds: Range) -> bool:
    low, high = bounds
    return not math.isnan(value) and (low is None or value >= low) and (high is None or value <= high)


@dataclass(frozen=True)
class Check:
    """One check of one organ.

    Attributes:
        name: the organ and the property, for example "liver volume".
        verdict: "ok", "look" or "wrong"; None if there are no limits to judge by.
        sentence: the finding as a sentence for the user.
        value: the measured value, or None.
        limits: the limits it was judged by, or None.
        unit: of the value; empty for a fraction between 0 and 1.
    """

    name: str
    verdict: Optional[str]
    sentence: str
    value: Optional[float] = None
    limits: Optional[Limits] = None
    unit: str = ""

    def to_dict(self) -> Dict[str, Any]:
        """The check as a JSON object; a value that is not finite is null."""
        value = None if self.value is None or not math.isfinite(self.value) else round(float(self.value), 4)
        limits = None if self.limits is None else {"ok": list(self.limits.ok), "look": list(self.limits.look)}
        return {
            "name": self.name,
            "verdict": self.verdict,
            "sentence": self.sentence,
            "value": value,
            "unit": self.unit,
            "limits": limits,
        }
