"""Progress output of a command, on a terminal or in a pipe."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from typing import Optional, TextIO


class Bar:
    """A progress bar with the remaining time on a terminal, or a line every half minute in a pipe.

    Args:
        quiet: print nothing.
        lines: stream for permanent lines; None takes standard output.
    """

    def __init__(self, quiet: bool = False, lines: Optional[TextIO] = None) -> None:
        self._quiet, self._lines = quiet, lines

    def __enter__(self) -> Bar:
        from tqdm import tqdm

        self._bar = tqdm(
            total=1.0,
            bar_format="{l_bar}{bar}| {elapsed}<{remaining}",
            disable=self._quiet or not sys.stderr.isatty(),
        )
        self._spoken = self._began = time.monotonic()
        self._start: Optional[float] = None
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def progress(self, share: float, stage: str) -> None:
        """A :data:`lvnet.progress.Progress`; work from before a resume does not affect the estimated speed."""
        if self._start is None:
            self._start = self._bar.initial = self._bar.n = share
            self._began = time.monotonic()
        self._bar.set_description(stage, refresh=False)
        self._bar.update(share - self._bar.n)
        if self._bar.disable:
            self._bar.n = share
        now = time.monotonic()
        if self._bar.disable and not self._quiet and now - self._spoken > 30:
            self._spoken = now
            left = (now - self._began) * (1 - share) / max(share - self._start, 1e-9)
            print(f"{stage} ({share:.0%}, {timedelta(seconds=round(left))} left)", file=sys.stderr, flush=True)

    def say(self, line: str) -> None:
        """Prints a permanent line."""
        if self._quiet:
            return
        if self._bar.disable:
            print(line, flush=True, file=self._lines)
        else:
            self._bar.write(line, file=self._lines)
