"""Properties of the organs that a network segments, and of the part of the body that contains them.

They are part of a checkpoint's recipe.  The checks of a scan (:mod:`lvnet.scanchecks`) and of a result
(:mod:`lvnet.selfcheck`) use them, and give no verdict on a property that is not stated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional, Tuple

from .errors import ConfigurationError

OK, LOOK, WRONG = "ok", "look", "wrong"
#: Parts of the body that can be recognised in a scan; any other is only mentioned in messages.
ABDOMEN, CHEST = "abdomen", "chest"

#: Lowest and highest value; None means no bound on that side.
Range = Tuple[Optional[float], Optional[float]]

_LONGEST_REGION = 40


@dataclass(frozen=True)
class Limits:
    """The range of normal values, and the wider range of values that a person should review.

    Attributes:
        ok: normal values.
        look: values that occur, but rarely; beyond them the segmentation is assumed to be wrong.
    """

    ok: Range
    look: Range = (None, None)

    def verdict(self, value: float) -> str:
        """`OK`, `LOOK` or `WRONG`; NaN is `WRONG`."""
        if _within(value, self.ok):
            return OK
        return LOOK if _within(value, self.look) else WRONG

    def without_lower(self) -> Limits:
        """The same limits without lower bounds, for an organ of which only a part is in the scan."""
        return Limits((None, self.ok[1]), (None, self.look[1]))


def _within(value: float, bounds: Range) -> bool:
    low, high = bounds
    return not math.isnan(value) and (low is None or value >= low) and (high is None or value <= high)


@dataclass(frozen=True)
class Organ:
    """Known properties of one class; None if unknown.

    Attributes:
        value: label value of the class.
        volume_ml: of the whole organ.
        median_hu: of its voxels.
        spread_hu: interquartile range of its voxels.
        smoothed_spread_hu: the same at the network's voxel size, where noise is averaged out.
    """

    value: int
    volume_ml: Optional[Limits] = None
    median_hu: Optional[Limits] = None
    spread_hu: Optional[Limits] = None
    smoothed_spread_hu: Optional[Limits] = None


@dataclass(frozen=True)
class Anatomy:
    """What a scan must show, and the known properties of the organs in it.

    Attributes:
        region: the part of the body, such as `abdomen`, `chest` or `pelvis`; empty if any part will do.
        section_cm2: smallest cross-section of the body there; 0 means no bound.
        width_mm: smallest field of view that covers it; 0 means no bound.
        height_mm: usual extent of the organ along the body; None if unknown.
        organs: the known properties of each class.
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
            raise ConfigurationError("sizes in a recipe's anatomy must be positive, and its height a (low, high) pair")

    def of(self, value: int) -> Optional[Organ]:
        """The known properties of the class with a label value."""
        return next((organ for organ in self.organs if organ.value == value), None)


def liver_anatomy(value: int) -> Anatomy:
    """The liver of an adult on CT, for the class with the given label value.

    - Volume: 1205 +/- 258 ml, 594 to 2250, in 369 Chinese adults (Feng et al., World J Gastroenterol 2017;23:4968);
      1772 +/- 393 ml in male and 1495 +/- 357 in female donor candidates, and 2022 +/- 749 ml with polycystic disease,
      in the HALT-PKD study (PMC4267913).  So 600 to 2750 ml covers healthy adults to about 2.5 sd; remnants after
      resection, children and cystic or tumorous livers are outside and should be reviewed.  A newborn's is above
      100 ml; more than 8 l is extremely rare.
    - Median: healthy parenchyma has 50 to 70 HU without contrast and 90 to 140 in the portal venous phase; steatosis
      can lower it below 20, rarely below 0; with iron, amiodarone and in late phases it stays below 200.
    - Spread: noise of 10 to 40 HU (sd) gives 13 to 54; tumours and vessels widen it, other organs, lung and fat far
      more.  No spread at all means that it is not a scan, or a clipped one.  At the network's voxel size it was 5 to
      52 HU in 141 results with a DICE of 0.94 or more (training/calibration.csv).
    - Cross-section: 350 to 1200 cm2 in an adult's abdomen, 200 in a schoolchild's; a head has about 200, a thigh 150.
    - Height of the organ: 120 to 220 mm.
    """
    organ = Organ(
        value,
        volume_ml=Limits((600.0, 2750.0), (100.0, 8000.0)),
        median_hu=Limits((10.0, 200.0), (-20.0, 250.0)),
        spread_hu=Limits((1.0, 90.0), (0.0, 250.0)),
        smoothed_spread_hu=Limits((1.0, 55.0), (0.0, 150.0)),
    )
    return Anatomy(ABDOMEN, section_cm2=220.0, width_mm=180.0, height_mm=(120.0, 220.0), organs=(organ,))
