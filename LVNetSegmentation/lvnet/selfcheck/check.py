"""The result of one plausibility check."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, Optional

from ..anatomy import Limits


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
