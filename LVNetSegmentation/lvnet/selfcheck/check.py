"""What one check says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

OK, LOOK, WRONG = "ok", "look", "wrong"

#: Lowest and highest value; None is no bound on that side.
Range = Tuple[Optional[float], Optional[float]]


@dataclass(frozen=True)
class Limits:
    """The range in which a value is fine, and the wider one in which a person should look.

    Attributes:
        ok: values of nothing to worry about.
        look: values that occur, but rarely; beyond them the segmentation is taken to be wrong.
    """

    ok: Range
    look: Range = (None, None)

    def verdict(self, value: float) -> str:
        """`OK`, `LOOK` or `WRONG`; a value that is no number is `WRONG`."""
        if _within(value, self.ok):
            return OK
        return LOOK if _within(value, self.look) else WRONG

    def without_lower(self) -> Limits:
        """The same limits for something of which only a part was measured: too little is no fault."""
        return Limits((None, self.ok[1]), (None, self.look[1]))


def _within(value: float, bounds: Range) -> bool:
    low, high = bounds
    return not math.isnan(value) and (low is None or value >= low) and (high is None or value <= high)


@dataclass(frozen=True)
class Check:
    """One check of one organ.

    Attributes:
        name: the organ and what was looked at, for example "liver volume".
        verdict: "ok", "look" or "wrong"; None where nothing is known to judge the value by.
        sentence: the finding in words, for the user.
        value: the number that was judged, or None.
        limits: what it was judged by, or None.
        unit: of the value; empty for a share between 0 and 1.
    """

    name: str
    verdict: Optional[str]
    sentence: str
    value: Optional[float] = None
    limits: Optional[Limits] = None
    unit: str = ""

    def to_dict(self) -> Dict[str, Any]:
        """The check as a JSON object; a value that is no finite number is null."""
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
