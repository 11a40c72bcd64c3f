"""An allocator that keeps its pages, for processes of our own.

A slab passes through hundreds of tensors of 50 to 500 MB.  By default the C library asks the system
for each of them and gives it back, and the system clears every page again: on a CPU that can take
longer than the arithmetic.  Never call this inside a host application such as Slicer: what is kept
is not given back to it.
"""

from __future__ import annotations

import ctypes
import sys

from .switch import switched_off

# Numbers of the parameters in glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def keep_pages() -> bool:
    """Lets this process keep freed memory for its next tensors.

    Returns:
        Whether the allocator took the settings: True with glibc, else False and nothing changed.
    """
    if switched_off() or not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    largest = 2**31 - 1
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, largest) and mallopt(_M_TOP_PAD, 64 * 2**20))


def release_pages() -> bool:
    """Gives memory that :func:`keep_pages` has kept back to the system, for a process that now waits.

    Returns:
        Whether the allocator was asked to: True with glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return False
    trim.argtypes, trim.restype = (ctypes.c_size_t,), ctypes.c_int
    trim(0)
    return True
