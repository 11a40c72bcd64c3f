"""Is a segmentation believable?  Checks that need no reference, each with a verdict and a sentence.

They find what a user would find by looking: an organ of an impossible size, cut off by the end of
the scan, in several pieces, full of holes, uncertain, or not of the organ's brightness.  A check
that is "ok" proves nothing about the border's exactness; :mod:`lvnet.evaluation` does, against a
reference.
"""

from __future__ import annotations

from ..anatomy import LOOK, OK, WRONG, Limits
from .check import Check
from .checks import self_check
from .confidence import low_confidence, low_confidence_share
from .measure import measure

__all__ = ["LOOK", "OK", "WRONG", "Check", "Limits", "low_confidence", "low_confidence_share", "measure", "self_check"]
