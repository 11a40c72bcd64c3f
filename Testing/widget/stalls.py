"""Measures how long the window was unresponsive, without the time in which other processes ran."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import List, Tuple


class StallWatch:
    """Gaps between two turns of the event loop, without the time in which the kernel let other processes run.

    Linux counts the time in which a thread was runnable but waited for a processor (`schedstat`); all other delays,
    such as the thread's own work, file access, or another thread that holds the GIL, count as a stall.
    """

    def __enter__(self) -> StallWatch:
        self._statistics = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")
        self._gaps: List[Tuple[float, float]] = []
        self._last = self._now()
        return self

    def _now(self) -> Tuple[float, float]:
        """The clock's time and the total time spent waiting for a processor, in seconds."""
        return time.perf_counter(), int(self._statistics.read_text().split()[1]) * 1e-9

    def turn(self) -> None:
        """Call this after each turn of the event loop."""
        now = self._now()
        passed, waited = now[0] - self._last[0], now[1] - self._last[1]
        if passed > 0.05:
            self._gaps.append((passed - waited, passed))
        self._last = now

    def __exit__(self, *_: object) -> None:
        #: Seconds of each gap without and with the waiting time, the longest first.
        self.gaps = sorted(self._gaps, reverse=True)

    @property
    def longest(self) -> float:
        return self.gaps[0][0] if self.gaps else 0.0
