"""One run of a benchmark: its time limit, the measurements so far, and what is kept when it is stopped."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional

Measurement = Dict[str, Any]


class Session:
    """Collects measurements and writes each one to the JSON file as soon as it is taken.

    Args:
        file: for the measurements; None keeps them in memory only.
        minutes: no measurement begins that would end later than this after the start; None: no limit.
        head: additional entries of the file.

    Attributes:
        stopped: why nothing more is measured; empty while the run continues.
        interrupted: whether it was stopped with Ctrl-C.
    """

    def __init__(
        self, file: Optional[Path] = None, minutes: Optional[float] = None, head: Optional[Mapping[str, Any]] = None
    ) -> None:
        self._file, self._minutes, self._head = file, minutes, dict(head or {})
        self._began = time.monotonic()
        self._measured: Dict[str, list] = {}
        self._longest: Dict[str, float] = {}
        self.stopped, self.interrupted = "", False

    def measure(self, name: str, work: Callable[[], Measurement], turn: str) -> Optional[Measurement]:
        """Takes one measurement and logs it, unless the time is up or the run was interrupted.

        Args:
            name: of the configuration; its earlier measurements predict how long this one takes.
            work: takes the measurement.
            turn: number of the round, for the log.

        Returns:
            The measurement; None if none was taken, and `stopped` gives the reason.
        """
        if self.stopped:
            return None
        begins = time.monotonic()
        if self._minutes is not None and begins - self._began + self._longest.get(name, 0.0) > 60 * self._minutes:
            self.stopped = f"the {self._minutes:g} minutes were over"
            say(self.stopped)
            return None
        say(f"{_clock(begins - self._began)} {turn}: {name}")
        try:
            measured = work()
        except KeyboardInterrupt:
            self.stopped, self.interrupted = "stopped by Ctrl-C", True
            say(self.stopped)
            return None
        self._longest[name] = max(self._longest.get(name, 0.0), time.monotonic() - begins)
        self._measured.setdefault(name, []).append(measured)
        self.write({"finished": False})
        return measured

    def seconds_left(self) -> Optional[float]:
        """Seconds until the time limit; None without a limit."""
        return None if self._minutes is None else 60 * self._minutes - (time.monotonic() - self._began)

    def write(self, result: Mapping[str, Any]) -> None:
        """Rewrites the file with the head, every measurement and a result; the file is valid JSON at any time."""
        if self._file is None:
            return
        whole = {**self._head, **result, "measurements": self._measured}
        beside = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        beside.write_text(json.dumps(whole, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(beside, self._file)


def say(line: str) -> None:
    """Prints progress, separately from the result."""
    print(line, file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
