"""How long the window did not react, told apart from a computer that stood still."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import List, Tuple

#: A process of its own that does nothing but look at the clock.
_WATCH = """
import sys, time
last = time.time()
print("ready", flush=True)
while True:
    time.sleep(0.005)
    now = time.time()
    if now - last > 0.03:
        print(last, now, flush=True)
    last = now
"""


class StallWatch:
    """Gaps between two turns of the event loop, less those in which the whole computer was busy elsewhere."""

    def __enter__(self) -> StallWatch:
        self._process = subprocess.Popen([sys.executable, "-c", _WATCH], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout.readline() == "ready\n"
        self._gaps: List[Tuple[float, float]] = []
        self._last = time.time()
        return self

    def turn(self) -> None:
        """Called after each turn of the event loop."""
        now = time.time()
        if now - self._last > 0.05:
            self._gaps.append((self._last, now))
        self._last = now

    def __exit__(self, *_: object) -> None:
        time.sleep(0.1)
        self._process.terminate()
        text = self._process.communicate()[0]
        stood = [tuple(map(float, line.split())) for line in text.splitlines()]
        #: Seconds of each gap that the computer itself does not explain, the longest first.
        self.gaps = sorted(
            (
                end - start - sum(max(0.0, min(end, stop) - max(start, begin)) for begin, stop in stood)
                for start, end in self._gaps
            ),
            reverse=True,
        )

    @property
    def longest(self) -> float:
        return self.gaps[0] if self.gaps else 0.0
