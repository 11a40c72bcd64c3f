"""How long the window did not react, told apart from a computer that was busy elsewhere."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import List, Tuple


class StallWatch:
    """Gaps between two turns of the event loop, less the time in which the kernel let other processes run.

    A thread that could run and waits for a processor is counted by Linux (`schedstat`); whatever else holds the
    thread up, such as work of its own, files, or another thread that holds the interpreter, counts as a stall.
    """

    def __enter__(self) -> StallWatch:
        self._statistics = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")
        self._gaps: List[Tuple[float, float]] = []
        self._last = self._now()
        return self

    def _now(self) -> Tuple[float, float]:
        """Seconds of the clock, and of waiting for a processor so far."""
        return time.perf_counter(), int(self._statistics.read_text().split()[1]) * 1e-9

    def turn(self) -> None:
        """Called after each turn of the event loop."""
        now = self._now()
        passed, waited = now[0] - self._last[0], now[1] - self._last[1]
        if passed > 0.05:
            self._gaps.append((passed - waited, passed))
        self._last = now

    def __exit__(self, *_: object) -> None:
        #: Seconds of each gap without those of waiting, and with them; the longest first.
        self.gaps = sorted(self._gaps, reverse=True)

    @property
    def longest(self) -> float:
        return self.gaps[0][0] if self.gaps else 0.0
