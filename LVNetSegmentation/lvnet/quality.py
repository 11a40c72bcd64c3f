"""Expected DICE of a segmentation, estimated from features that are measured without a reference.

The model is fitted to results with a known DICE (`lvnet-train calibrate`) and stored in the checkpoint's recipe,
because it is specific to a network and its preprocessing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Mapping, Optional, Tuple

from .errors import ConfigurationError

#: The features that :func:`lvnet.selfcheck.measure` measures.
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
# The expected DICE is kept away from exactly 1 and 0.
_LEAST_ERROR, _LARGEST_ERROR = 1e-3, 0.999


@dataclass(frozen=True)
class Expected:
    """An expected DICE.

    Attributes:
        dice: the median over similar results.
        low, high: the interval that contains 80 % of similar results.
    """

    dice: float
    low: float
    high: float


@dataclass(frozen=True)
class Quality:
    """A linear model of log10(1 - DICE) over measured features, each clipped to the range that it was fitted in.

    Attributes:
        value: label value of the organ.
        features: a selection from :data:`FEATURES`.
        centre, scale, weight: of each feature, which contributes weight x (feature - centre) / scale.
        lowest, highest: the range of each feature in the data.
        bias: the intercept.
        interval: added to log10(1 - DICE) for the 10th and 90th percentile of the error.
        look_below: expected DICE below which the result should be reviewed.
        wrong_below: expected DICE below which the result is considered wrong.
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
            raise ConfigurationError(f"the model of expected quality uses the unknown feature {unknown[0]!r}")
        if min(self.scale, default=1.0) <= 0 or not self.interval[0] <= 0 <= self.interval[1]:
            raise ConfigurationError("the model of expected quality has an invalid scale or interval")

    def expect(self, measured: Mapping[str, float]) -> Optional[Expected]:
        """The expected DICE of a result.

        Args:
            measured: values by feature name; None is returned if a feature is missing.
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
