"""Segmenting a scan, from its file to the files of the result: what the command line, the worker and Slicer share.

- `options`: :class:`SegmentOptions`, how to segment; every setting with its default and its check.
- `scan`: :func:`segment_file` and :func:`segment_volume`.
- `report`: :class:`ScanReport`, what there is to say about one scan afterwards.
- `output`: the files that are written.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, List

from .options import SegmentOptions

if TYPE_CHECKING:
    from .report import ScanReport
    from .scan import segment_file, segment_volume

# Loaded on first use: the options are read by programs that need neither NumPy nor an image.
_LAZY = {"ScanReport": "report", "segment_file": "scan", "segment_volume": "scan"}

__all__ = ["ScanReport", "SegmentOptions", "segment_file", "segment_volume"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> List[str]:
    return sorted(set(globals()) | set(_LAZY))
