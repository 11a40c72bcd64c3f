"""Segmenting a scan, from its file to the result's files, for the command line, the worker and Slicer alike.

- `options`: :class:`SegmentOptions`, how to segment; every setting with its default and its check.
- `precheck`: :func:`check_scan`, whether a scan can be expected to show what the weights segment.
- `scan`: :func:`segment_file` and :func:`segment_volume`.
- `report`: :class:`ScanReport`, the outcome for one scan.
- `output`: writing the result's files.
- `python`: :func:`lvnet.segment`, for Python users.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazynames import lazy_names
from .options import SegmentOptions

if TYPE_CHECKING:
    from .precheck import check_scan
    from .report import ScanReport
    from .scan import segment_file, segment_volume

# Imported on first use: some programs need the options without NumPy or images.
_LAZY = {"ScanReport": "report", "check_scan": "precheck", "segment_file": "scan", "segment_volume": "scan"}

__all__ = ["ScanReport", "SegmentOptions", "check_scan", "segment_file", "segment_volume"]

__getattr__, __dir__ = lazy_names(globals(), _LAZY)
