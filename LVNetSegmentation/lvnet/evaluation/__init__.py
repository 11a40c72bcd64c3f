"""Evaluating predictions against references: one pair, or two folders paired by file name."""

from __future__ import annotations

from .folders import evaluate_folders, matched_files
from .pair import evaluate
from .reference_sets import REFERENCE_SETS
from .table import write_csv

__all__ = ["REFERENCE_SETS", "evaluate", "evaluate_folders", "matched_files", "write_csv"]
