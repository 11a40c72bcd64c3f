"""Segmenting a scan, from its file to the files of the result: what the command line, the worker and Slicer share.

- `options`: :class:`SegmentOptions`, how to segment; every setting with its default and its check.
- `precheck`: :func:`check_scan`, whether a scan can be expected to show what the weights segment.
- `scan`: :func:`segment_file` and :func:`segment_volume`.
- `report`: :class:`ScanReport`, what there is to say about one scan afterwards.
- `output`: the files that are written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazynames import lazy_names
from .options import SegmentOptions

if TYPE_CHECKING:
    from .precheck import check_scan
    from .report import ScanReport
    from .scan import segment_file, segment_volume

# Loaded on first use: the options are read by programs that need neither NumPy nor an image.
_LAZY = {"ScanReport": "report", "check_scan": "precheck", "segment_file": "scan", "segment_volume": "scan"}

__all__ = ["ScanReport", "SegmentOptions", "check_scan", "segment_file", "segment_volume"]

__getattr__, __dir__ = lazy_names(globals(), _LAZY)
