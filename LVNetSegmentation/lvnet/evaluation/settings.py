"""The settings of an evaluation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional, Tuple

from ..errors import ConfigurationError
from ..metrics.presets import preset_named
from .matching import parsed
from .reference_sets import reference_set
from .sides import PathLike


@dataclass(frozen=True)
class Settings:
    """Settings for every pair of label maps; the fields are those of :func:`evaluate`."""

    preset: str = "lits"
    label: Optional[int] = None
    resample: bool = False
    hd95: bool = False
    surface_dice_tolerance_mm: Optional[float] = None
    labels: Optional[str] = None
    reference_set: Optional[str] = None
    threshold: Optional[float] = None
    #: Names of the prediction's label values: from the given recipe, and those that may apply to a mask.
    recipe: Tuple[Tuple[int, str], ...] = ()
    by_value: bool = False

    def check(self) -> None:
        """Checks the settings before anything is read.

        Raises:
            ConfigurationError: an unknown preset or reference set, label 0, invalid labels, or an invalid
                tolerance.
        """
        preset_named(self.preset)
        if self.labels is not None:
            if self.label is not None:
                raise ConfigurationError("label and labels exclude each other; give only one of them")
            parsed(self.labels)
        if self.reference_set is not None:
            reference_set(self.reference_set)
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise ConfigurationError(f"the threshold must be between 0 and 1, not {self.threshold}")
        if self.label == 0:
            raise ConfigurationError("label 0 is the background; give the value of an organ")
        tolerance = self.surface_dice_tolerance_mm
        if tolerance is not None and not (math.isfinite(tolerance) and tolerance >= 0):
            raise ConfigurationError(f"the tolerance must be 0 mm or more, not {tolerance}")


def recipe_names(weights: Optional[PathLike]) -> Tuple[Tuple[int, str], ...]:
    """The names that a checkpoint's recipe gives the label values of a prediction.

    Args:
        weights: the weights file that made the prediction; None gives no names.

    Raises:
        CheckpointError: the file cannot be used.
    """
    if weights is None:
        return ()
    from ..checkpoint import load_checkpoint

    return tuple((entry.value, entry.name) for entry in load_checkpoint(str(weights)).recipe.classes)
