"""Synthetic pathologies and artefacts that are rare in the training scans, generated on the fly with exact labels.

Each works on an :class:`Anatomy` (a patch in training, a whole scan in the stress set) and changes HU and label
together.  A network that has never seen a mass beside the liver, an effusion above it or a fatty liver includes
parts of the first two and misses parts of the third.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict

import numpy as np

from .anatomy import Anatomy
from .artefacts import add_arms, add_low_dose, add_metal
from .brightness import shift_brightness
from .fluid import add_ascites, add_effusion
from .masses import add_lesions, add_mass

__all__ = ["KINDS", "Anatomy", "Pathology", "add_pathologies"]

#: The kinds of pathology by the name of their setting, in the order in which they are applied.
KINDS: Dict[str, Callable[..., bool]] = {
    "brightness": shift_brightness,
    "lesions": add_lesions,
    "mass": add_mass,
    "ascites": add_ascites,
    "effusion": add_effusion,
    "arms": add_arms,
    "metal": add_metal,
    "low_dose": add_low_dose,
}


@dataclass(frozen=True)
class Pathology:
    """The frequency of each kind, as a fraction of the patches; 0 disables it.

    Attributes:
        brightness: a darker (steatosis) or brighter (iron, contrast phase) organ.
        lesions: lesions within the organ and at its edge, labelled as organ.
        mass: a mass beside the organ, labelled as background.
        ascites: fluid around the organ.
        effusion: fluid above the diaphragm.
        arms: arms beside the body, with their streaks.
        metal: streaks from a piece of metal.
        low_dose: strong noise and thick slices.
    """

    brightness: float = 0.0
    lesions: float = 0.0
    mass: float = 0.0
    ascites: float = 0.0
    effusion: float = 0.0
    arms: float = 0.0
    metal: float = 0.0
    low_dose: float = 0.0

    def __post_init__(self) -> None:
        for kind in KINDS:
            if not 0 <= getattr(self, kind) <= 1:
                raise ValueError(f"the fraction of patches with {kind} must be between 0 and 1: {getattr(self, kind)}")

    @property
    def any(self) -> bool:
        """Whether any kind is enabled."""
        return any(getattr(self, kind) > 0 for kind in KINDS)


def add_pathologies(rng: np.random.Generator, anatomy: Anatomy, settings: Pathology) -> None:
    """Applies each kind in its fraction of the calls; one without room is skipped."""
    for kind, make in KINDS.items():
        if rng.random() < getattr(settings, kind):
            make(rng, anatomy)
