"""Logs of the worker, for finding faults; they never contain a patient's name."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, List, Optional

#: Number of logs that are kept.
KEPT = 20
#: Environment variable: another folder for the logs.
FOLDER_VARIABLE = "LVNET_LOG_DIR"
_LONGEST_LINE = 2000
_MOST_BYTES = 10_000_000
_numbers = itertools.count(1)


def log_folder() -> Path:
    """The folder of the logs, created if missing, accessible to this user only."""
    for folder in _candidates():
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return Path(tempfile.mkdtemp(prefix="lvnet-logs-"))


def _candidates() -> List[Path]:
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return [Path(named)]
    with contextlib.suppress(RuntimeError):
        home = Path.home()
        if sys.platform == "win32":
            return [Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "LVNetSegmentation" / "logs"]
        if sys.platform == "darwin":
            return [home / "Library" / "Logs" / "LVNetSegmentation"]
        return [Path(os.environ.get("XDG_STATE_HOME") or home / ".local" / "state") / "LVNetSegmentation" / "logs"]
    return []


class Log:
    """The log of one worker process; on a full disk lines are lost without an error.

    Attributes:
        path: the file; empty if it could not be created.
    """

    def __init__(self) -> None:
        self.path = ""
        self._file: Optional[IO[str]] = None
        self._lock = threading.Lock()
        self._left = _MOST_BYTES
        with contextlib.suppress(OSError):
            folder = log_folder()
            name = f"lvnet-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{next(_numbers):03d}.log"
            handle = os.open(folder / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            self._file = os.fdopen(handle, "w", encoding="utf-8", errors="replace")
            self.path = str(folder / name)
            _remove_old(folder)

    def write(self, text: str) -> None:
        """Adds a line with the time; may be called from any thread."""
        lines = [line[:_LONGEST_LINE] for line in text.splitlines() if line.strip()]
        with self._lock:
            for line in lines:
                self._left -= len(line)
                if self._file is None or self._left < 0:
                    return
                # On a full disk the line is lost and nothing else; closing the file would raise again.
                with contextlib.suppress(OSError, ValueError):
                    self._file.write(f"{time.strftime('%H:%M:%S')} {line}\n")
                    self._file.flush()

    def close(self) -> None:
        """Closes the log; the file is kept."""
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                with contextlib.suppress(OSError, ValueError):
                    file.close()


def _remove_old(folder: Path) -> None:
    logs = sorted(folder.glob("lvnet-*.log"), key=lambda path: path.name)
    for path in logs[:-KEPT]:
        with contextlib.suppress(OSError):
            path.unlink()
