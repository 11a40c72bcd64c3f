"""Segmenting a scan, from its file to the files of the result: what the command line, the worker and Slicer share.

- `options`: :class:`SegmentOptions`, how to segment; every setting with its default and its check.
- `scan`: :func:`segment_file` and :func:`segment_volume`.
- `report`: :class:`ScanReport`, what there is to say about one scan afterwards.
- `output`: the files that are written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazynames import lazy_names
from .options import SegmentOptions

if TYPE_CHECKING:
    from .report import ScanReport
    from .scan import segment_file, segment_volume

# Loaded on first use: the options are read by programs that need neither NumPy nor an image.
_LAZY = {"ScanReport": "report", "segment_file": "scan", "segment_volume": "scan"}

__all__ = ["ScanReport", "SegmentOptions", "segment_file", "segment_volume"]

__getattr__, __dir__ = lazy_names(globals(), _LAZY)
