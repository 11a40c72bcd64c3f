"""Notices the end of another process, on every operating system."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Callable

_EVERY_SECONDS = 1.0


def watch(pid: int, gone: Callable[[], None]) -> None:
    """Calls `gone` once, from its own thread, when a process has ended."""
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
        # While the handle is open, the process id is not reused for another process.
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
            """Whether the process is running; a zombie counts as ended."""
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return False
            except OSError:  # it is running and belongs to another user
                return True
            try:
                with open(f"/proc/{pid}/stat", "rb") as file:
                    return file.read().rpartition(b")")[2].split()[:1] != [b"Z"]
            except OSError:  # this system has no /proc
                return True

        return lives
