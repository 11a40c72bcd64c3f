"""How good a segmentation should be expected to be, judged from what can be measured without a reference.

The numbers behind it come from results whose DICE is known (`lvnet-train calibrate`) and lie in the checkpoint's
recipe, since they belong to a network and its preprocessing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Mapping, Optional, Tuple

from .errors import ConfigurationError

#: What :func:`lvnet.selfcheck.measure` measures.
FEATURES = (
    "doubtful",
    "soft_loss",
    "disagreement",
    "dark_tail",
    "bright_tail",
    "spread",
    "roughness",
    "size",
    "crumbs",
)
# No result is expected to be without any error, or nothing but error.
_LEAST_ERROR, _LARGEST_ERROR = 1e-3, 0.999


@dataclass(frozen=True)
class Expected:
    """An expected DICE.

    Attributes:
        dice: the median of results like this one.
        low, high: eight of ten results like this one lie between them.
    """

    dice: float
    low: float
    high: float


@dataclass(frozen=True)
class Quality:
    """A linear model of log10(1 - DICE) over measured features, each clipped to the range that it was fitted in.

    Attributes:
        value: label value of the organ that it judges.
        features: names, some of :data:`FEATURES`.
        centre, scale, weight: of each feature; it counts as weight x (feature - centre) / scale.
        lowest, highest: the range of each feature in the data.
        bias: of the sum.
        interval: what to add to log10(1 - DICE) for the 10th and 90th percentile of the error.
        look_below: expected DICE below which a person should look.
        wrong_below: expected DICE below which the result is taken to be wrong.
        origin: one sentence about the data that it was fitted to.
    """

    features: Tuple[str, ...]
    centre: Tuple[float, ...]
    scale: Tuple[float, ...]
    weight: Tuple[float, ...]
    lowest: Tuple[float, ...]
    highest: Tuple[float, ...]
    bias: float
    interval: Tuple[float, float]
    look_below: float
    wrong_below: float
    value: int = 1
    origin: str = ""

    def __post_init__(self) -> None:
        lists = (self.centre, self.scale, self.weight, self.lowest, self.highest)
        if any(len(numbers) != len(self.features) for numbers in lists):
            raise ConfigurationError("the model of expected quality has lists of different lengths")
        unknown = [name for name in self.features if name not in FEATURES]
        if unknown:
            raise ConfigurationError(f"the model of expected quality asks for {unknown[0]!r}, which is not measured")
        if min(self.scale, default=1.0) <= 0 or not self.interval[0] <= 0 <= self.interval[1]:
            raise ConfigurationError("the model of expected quality has a scale or an interval that cannot be")

    def expect(self, measured: Mapping[str, float]) -> Optional[Expected]:
        """What to expect of a result.

        Args:
            measured: by feature name; a feature that is missing makes the answer None.
        """
        total = self.bias
        for name, centre, scale, weight, low, high in zip(
            self.features, self.centre, self.scale, self.weight, self.lowest, self.highest
        ):
            if name not in measured or not math.isfinite(measured[name]):
                return None
            total += weight * (min(max(measured[name], low), high) - centre) / scale
        best, middle, worst = (self._dice(total + shift) for shift in (self.interval[0], 0.0, self.interval[1]))
        return Expected(middle, worst, best)

    @staticmethod
    def _dice(log_error: float) -> float:
        return 1.0 - min(max(10.0 ** min(log_error, 0.0), _LEAST_ERROR), _LARGEST_ERROR)
