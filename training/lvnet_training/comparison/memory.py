"""Measuring the peak memory of a block of code."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Optional

import torch

_INTERVAL = 0.01
_STATM = Path("/proc/self/statm")


class PeakMemory:
    """Measures the peak of additional memory: PyTorch's on a GPU, else the process's resident memory on Linux.

    Attributes:
        mib: the peak, after the block; None if it cannot be determined.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._done = threading.Event()
        self.mib: Optional[float] = None

    def __enter__(self) -> PeakMemory:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device)
            return self
        from lvnet.acceleration.allocator import release_pages

        # Pages that are still cached from training would hide new allocations.
        release_pages()
        self._before = self._peak = _resident()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(_INTERVAL):
            self._peak = max(self._peak, _resident())

    def __exit__(self, *_: object) -> None:
        if self._device.type == "cuda":
            self.mib = (torch.cuda.max_memory_allocated(self._device) - self._before) / 2**20
            return
        self._done.set()
        self._thread.join()
        if self._before:
            self.mib = (max(self._peak, _resident()) - self._before) / 2**20


def _resident() -> int:
    """Resident memory of this process in bytes; 0 if the system does not report it."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return 0
