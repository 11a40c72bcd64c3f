"""Terminal output: a progress bar (nothing in a pipe) and safe printing of file names."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Optional, Type

from ..files import readable_json

_WIDTH = 24


def one_line(text: object) -> str:
    """A message on one line, without control characters that a file name may contain."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(str(text).split()))


def printable(text: str) -> str:
    """A text without control characters; whitespace is kept."""
    return "".join(c if c.isprintable() else "?" for c in text)


def json_text(value: object) -> str:
    """JSON for stdout, see :func:`lvnet.files.readable_json`."""
    return readable_json(value, getattr(sys.stdout, "encoding", None) or "utf-8")


class ProgressBar:
    """A :data:`lvnet.progress.Progress` that draws a bar on one line of stderr.

    Args:
        title: stands before the bar.
        shown: None draws on a terminal only.
    """

    def __init__(self, title: str = "", shown: Optional[bool] = None) -> None:
        self.title = title
        self.shown = sys.stderr.isatty() if shown is None else shown
        self._began = time.monotonic()
        self._length = 0

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.clear()

    def __call__(self, share: float, stage: str) -> None:
        """Draws the bar."""
        if not self.shown:
            return
        share = min(1.0, max(0.0, share))
        filled = round(share * _WIDTH)
        elapsed = time.monotonic() - self._began
        left = f", {elapsed / share - elapsed:.0f} s left" if share > 0.1 and elapsed > 2 else ""
        line = f"{self.title}[{'#' * filled}{'.' * (_WIDTH - filled)}] {share:4.0%} {stage}{left}"
        sys.stderr.write("\r" + line.ljust(self._length))
        sys.stderr.flush()
        self._length = len(line)

    def clear(self) -> None:
        """Erases the bar."""
        if self.shown and self._length:
            sys.stderr.write("\r" + " " * self._length + "\r")
            sys.stderr.flush()
            self._length = 0
