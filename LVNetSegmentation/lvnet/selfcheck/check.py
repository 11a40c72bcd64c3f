"""What one check says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, Optional

from ..anatomy import Limits


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
