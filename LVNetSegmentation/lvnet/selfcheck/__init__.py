"""Plausibility checks of a segmentation without a reference, each with a verdict and a sentence.

They find what a user would notice: an organ of an implausible size, cut off by the end of the scan,
in several pieces, full of holes, uncertain, or with implausible HU.  A check that is "ok" says
nothing about the accuracy of the border; that needs a reference and :mod:`lvnet.evaluation`.
"""

from __future__ import annotations

from ..anatomy import LOOK, OK, WRONG, Limits
from .check import Check
from .confidence import likely_organs, low_confidence, low_confidence_share
from .measure import measure
from .organ_checks import self_check
from .regions import DoubtfulRegion, DoubtfulRegions, doubtful_regions

__all__ = [
    "LOOK",
    "OK",
    "WRONG",
    "Check",
    "DoubtfulRegion",
    "DoubtfulRegions",
    "Limits",
    "doubtful_regions",
    "likely_organs",
    "low_confidence",
    "low_confidence_share",
    "measure",
    "self_check",
]
