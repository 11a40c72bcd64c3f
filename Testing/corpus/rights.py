"""Enforces file permissions also where the tests run as root.

Root can open any file regardless of its permissions because of two Linux capabilities.  Without them, root is an
ordinary owner of its files, and cannot open a file of mode 000.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from typing import Iterator

_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2
_VERSION_3, _PR_CAPBSET_DROP = 0x20080522, 24


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def is_almighty() -> bool:
    """Whether this process can ignore permissions."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


@contextlib.contextmanager
def without_rights() -> Iterator[None]:
    """Enforces permissions for this thread; does nothing if they are enforced anyway."""
    if not is_almighty():
        yield
        return
    if not sys.platform.startswith("linux"):
        raise RuntimeError("run these tests as a user other than root: here root cannot give up its rights")
    libc = ctypes.CDLL(None, use_errno=True)
    header, before = _Header(_VERSION_3, 0), (_Data * 2)()
    _checked(libc.capget(ctypes.byref(header), before))
    after = (_Data * 2)(*(_Data(d.effective, d.permitted, d.inheritable) for d in before))
    after[0].effective &= ~(1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH)
    _checked(libc.capset(ctypes.byref(header), after))
    try:
        yield
    finally:
        _checked(libc.capset(ctypes.byref(header), before))


def give_up_rights() -> None:
    """Enforces permissions permanently; for a child process before it runs another program."""
    if not is_almighty():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (_DAC_OVERRIDE, _DAC_READ_SEARCH):
        _checked(libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0))


def _checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), "capabilities cannot be changed here")
