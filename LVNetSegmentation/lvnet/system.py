"""Available memory and cores, as the operating system reports them, and settings for processes of our own."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from contextlib import contextmanager
from typing import Dict, Iterator, Optional


def available_memory() -> Optional[int]:
    """Bytes of memory that are available without swapping, or None if unknown.

    On Linux the limit of a container counts as well.
    """
    try:
        if sys.platform.startswith("linux"):
            return _linux()
        if sys.platform == "win32":
            return _windows()
        if sys.platform == "darwin":
            return _mac()
    except (OSError, ValueError, KeyError, AttributeError):
        pass
    return None


def usable_cores() -> int:
    """Cores that this process may run on, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def let_waiting_threads_sleep() -> None:
    """Makes PyTorch's threads sleep between tasks; for our own processes, to be called before PyTorch is loaded.

    By default they spin for some milliseconds, during which the threads of the kernels in
    :mod:`.acceleration` find no free core: on two cores this costs a tenth of a training step.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


#: Whether this process runs a program of ours and nothing else.
_process = {"ours": False}


def claim_process() -> None:
    """Says that this process runs a program of ours and nothing else, as :func:`staying_imports` must know."""
    _process["ours"] = True
    atexit.register(_thaw)


@contextmanager
def staying_imports() -> Iterator[None]:
    """Exempts what is imported within it from Python's search for garbage; does nothing in the process of others.

    Modules stay until the process ends.  Python nevertheless searches all of their objects several times while PyTorch
    is imported, and again at the end of the process: together a quarter of the time of `python -c "import torch"`.
    Only import within it: what becomes garbage there and refers to itself is never freed.
    """
    if not _process["ours"] or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _thaw() -> None:
    """Ends the exemption before the process ends if Triton is loaded, which complains of objects that are not freed."""
    if "triton" in sys.modules:
        gc.unfreeze()


def _linux() -> Optional[int]:
    facts: Dict[str, int] = {}
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            name, _, rest = line.partition(":")
            facts[name] = int(rest.split()[0]) * 1024
    free = facts["MemAvailable"]
    limit = _number("/sys/fs/cgroup/memory.max")
    used = _number("/sys/fs/cgroup/memory.current")
    if limit is not None and used is not None:
        free = min(free, max(0, limit - used))
    return free


def _number(path: str) -> Optional[int]:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):  # missing, or the word "max"
        return None


def _mac() -> Optional[int]:
    import ctypes

    # Half of the installed memory: how much is really free is known only to the system's own tools.
    size, length = ctypes.c_uint64(0), ctypes.c_size_t(8)
    failed = ctypes.CDLL(None).sysctlbyname(b"hw.memsize", ctypes.byref(size), ctypes.byref(length), None, 0)
    return None if failed else size.value // 2


def _windows() -> Optional[int]:
    import ctypes

    class Status(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_uint32),
            ("load", ctypes.c_uint32),
            ("total", ctypes.c_uint64),
            ("free", ctypes.c_uint64),
            ("total_page", ctypes.c_uint64),
            ("free_page", ctypes.c_uint64),
            ("total_virtual", ctypes.c_uint64),
            ("free_virtual", ctypes.c_uint64),
            ("free_extended", ctypes.c_uint64),
        )

    status = Status(length=ctypes.sizeof(Status))
    library = getattr(ctypes, "windll").kernel32  # noqa: B009 - it is there on Windows only
    return int(status.free) if library.GlobalMemoryStatusEx(ctypes.byref(status)) else None
