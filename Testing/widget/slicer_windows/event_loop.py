"""Turns of Qt's event loop that keep Python's lock, as Slicer's loop does."""

from __future__ import annotations

import ctypes
import itertools
import sys
import time
from pathlib import Path

import PySide6

#: Seconds after which a waiting thread may interrupt Python code in the main thread; longer than ten turns last.
PATIENCE = 0.05

# PyDLL calls without releasing the lock, unlike PySide6 itself and ctypes.CDLL.
_qt = ctypes.PyDLL(str(Path(PySide6.__file__).parent / "Qt" / "lib" / "libQt6Core.so.6"))
# QCoreApplication::processEvents(QEventLoop::ProcessEventsFlags)
_process_events = _qt._ZN16QCoreApplication13processEventsE6QFlagsIN10QEventLoop17ProcessEventsFlagEE
_process_events.argtypes, _process_events.restype = (ctypes.c_int,), None
_wait = ctypes.PyDLL(None).usleep

_turns = itertools.count(1)


def process_events() -> None:
    """What `slicer.app.processEvents()` does: handles all pending events, and keeps the lock meanwhile."""
    _process_events(0)


def turn() -> None:
    """One turn of the event loop, as in a busy Slicer: hardly any other Python thread runs, except in every tenth turn.

    PythonQt keeps the lock while Slicer waits for events and handles them, so that other threads get it only when
    Python code in the main thread waits, or runs while they have waited for longer than `sys.getswitchinterval()`.
    PySide6 releases it in each `processEvents`, which would hide that a thread starves.  Here, every turn keeps it;
    the tenth releases it for two milliseconds.  As the loop of the tests is Python code too, and would be interrupted,
    threads have to wait for `PATIENCE` before they may do that.
    """
    usual = sys.getswitchinterval()
    sys.setswitchinterval(PATIENCE)
    try:
        process_events()
        if next(_turns) % 10:
            _wait(2000)
        else:
            # The main thread gets the lock back as soon as usual; whoever loses it then has to be patient.
            sys.setswitchinterval(usual)
            time.sleep(0.002)
            sys.setswitchinterval(PATIENCE)
    finally:
        sys.setswitchinterval(usual)
