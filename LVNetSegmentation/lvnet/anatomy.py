"""What the organs of a network look like, and the part of the body that shows them.

It is part of a checkpoint's recipe.  The checks of a scan (:mod:`lvnet.scanchecks`) and of a result
(:mod:`lvnet.selfcheck`) judge by it, and give no verdict where it says nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional, Tuple

from .errors import ConfigurationError

OK, LOOK, WRONG = "ok", "look", "wrong"
#: Parts of the body that a scan can be recognised by; any other is only named to the user.
ABDOMEN, CHEST = "abdomen", "chest"

#: Lowest and highest value; None is no bound on that side.
Range = Tuple[Optional[float], Optional[float]]

_LONGEST_REGION = 40


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
class Organ:
    """What is known of one class; None where nothing is.

    Attributes:
        value: label value of the class.
        volume_ml: of the whole organ.
        median_hu: of its voxels.
        spread_hu: distance between the quartiles of its voxels.
        smoothed_spread_hu: the same at the network's voxel size, where noise is averaged.
    """

    value: int
    volume_ml: Optional[Limits] = None
    median_hu: Optional[Limits] = None
    spread_hu: Optional[Limits] = None
    smoothed_spread_hu: Optional[Limits] = None


@dataclass(frozen=True)
class Anatomy:
    """What a scan must show, and what the organs in it look like.

    Attributes:
        region: the part of the body, such as `abdomen`, `chest` or `pelvis`; empty where any will do.
        section_cm2: smallest cross-section of the body there; 0 is no bound.
        width_mm: smallest field of view that covers it; 0 is no bound.
        height_mm: usual extent of the organ along the body; None where it is not known.
        organs: what is known of each class.
    """

    region: str = ""
    section_cm2: float = 0.0
    width_mm: float = 0.0
    height_mm: Optional[Tuple[float, float]] = None
    organs: Tuple[Organ, ...] = ()

    def __post_init__(self) -> None:
        if len(self.region) > _LONGEST_REGION or not self.region.isprintable():
            raise ConfigurationError("the region of a recipe's anatomy must be a few printable words")
        low, high = (0.0, 0.0) if self.height_mm is None else self.height_mm
        if min(self.section_cm2, self.width_mm, low) < 0 or low > high:
            raise ConfigurationError("sizes in a recipe's anatomy are positive, and a height goes from less to more")

    def of(self, value: int) -> Optional[Organ]:
        """What is known of the class with that label value."""
        return next((organ for organ in self.organs if organ.value == value), None)


def liver_anatomy(value: int) -> Anatomy:
    """The liver of an adult on CT, as the class of that label value.

    - Volume: 1205 +/- 258 ml, 594 to 2250, in 369 Chinese adults (Feng et al., World J Gastroenterol 2017;23:4968);
      1772 +/- 393 ml in men and 1495 +/- 357 in women who were to donate, and 2022 +/- 749 ml with polycystic disease,
      in the HALT-PKD study (PMC4267913).  So 600 to 2750 ml is a healthy adult's to some 2.5 sd; remnants after
      resection, children and cystic or tumorous livers lie outside and are worth a look.  A newborn's is above 100 ml;
      8 l are beyond all but freak cases.
    - Median: healthy parenchyma has 50 to 70 HU without contrast and 90 to 140 in the portal venous phase; steatosis
      goes below 20, rarely below 0, iron, amiodarone and late phases stay under 200.
    - Spread: noise of 10 to 40 HU (sd) gives 13 to 54; tumours and vessels widen it, other organs, lung and fat far
      more.  Without any spread it is no scan, or one that was clipped.  At the network's voxels 5 to 52 HU in 102
      results with a DICE of 0.94 or more, all but one below 43 (training/calibration.csv).
    - The abdomen of an adult has 350 to 1200 cm2 across, of a school child 200, a head about 200, a thigh 150.
    - The organ is 120 to 220 mm high.
    """
    organ = Organ(
        value,
        volume_ml=Limits((600.0, 2750.0), (100.0, 8000.0)),
        median_hu=Limits((10.0, 200.0), (-20.0, 250.0)),
        spread_hu=Limits((1.0, 90.0), (0.0, 250.0)),
        smoothed_spread_hu=Limits((1.0, 50.0), (0.0, 150.0)),
    )
    return Anatomy(ABDOMEN, section_cm2=220.0, width_mm=180.0, height_mm=(120.0, 220.0), organs=(organ,))
