"""Whether a process still lives, on every system."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Callable

_EVERY_SECONDS = 1.0


def watch(pid: int, gone: Callable[[], None]) -> None:
    """Calls `gone` once, from a thread of its own, when a process has ended."""
    waiting = _waiter(pid)

    def loop() -> None:
        while waiting():
            time.sleep(_EVERY_SECONDS)
        gone()

    threading.Thread(target=loop, name="watch", daemon=True).start()


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    _SYNCHRONIZE, _WAIT_TIMEOUT = 0x00100000, 0x00000102

    def _waiter(pid: int) -> Callable[[], bool]:
        # Held open, the handle keeps the number from being given to another process.
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.OpenProcess.restype = wintypes.HANDLE
        kernel.OpenProcess.argtypes = (wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)
        kernel.WaitForSingleObject.restype = wintypes.DWORD
        kernel.WaitForSingleObject.argtypes = (wintypes.HANDLE, wintypes.DWORD)
        handle = kernel.OpenProcess(_SYNCHRONIZE, False, pid)
        return lambda: bool(handle) and kernel.WaitForSingleObject(handle, 0) == _WAIT_TIMEOUT

else:

    def _waiter(pid: int) -> Callable[[], bool]:
        def lives() -> bool:
            """A process that has ended but was not fetched by its own parent counts as ended."""
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return False
            except OSError:  # it lives and belongs to somebody else
                return True
            try:
                with open(f"/proc/{pid}/stat", "rb") as file:
                    return file.read().rpartition(b")")[2].split()[:1] != [b"Z"]
            except OSError:  # no /proc here
                return True

        return lives
