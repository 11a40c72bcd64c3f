"""One run of a benchmark: how long it may take, what it has measured so far, and what is kept when it is stopped."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional

Measurement = Dict[str, Any]


class Session:
    """Measurements as they come, each in the JSON file as soon as it is there.

    Args:
        file: for the measurements; None keeps them in memory only.
        minutes: no measurement begins that would end later than this after the start; None: no limit.
        head: what else stands in the file.

    Attributes:
        stopped: why nothing more is measured; empty as long as something may be.
        interrupted: whether that was Ctrl-C.
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
        """Takes one measurement, with a line about it, unless the time is up or somebody stops it.

        Args:
            name: of what is measured; where it was measured before, that says how long it takes.
            work: takes it.
            turn: which one it is, for the line.

        Returns:
            The measurement; None where none was taken, and `stopped` says why.
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
        """Until the end of the time that was given; None where none was."""
        return None if self._minutes is None else 60 * self._minutes - (time.monotonic() - self._began)

    def write(self, result: Mapping[str, Any]) -> None:
        """Writes the file anew: the head, every measurement, and a result; it is whole at any time."""
        if self._file is None:
            return
        whole = {**self._head, **result, "measurements": self._measured}
        beside = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        beside.write_text(json.dumps(whole, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(beside, self._file)


def say(line: str) -> None:
    """Progress, apart from the result."""
    print(line, file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
