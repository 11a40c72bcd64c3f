"""Makes the C allocator keep freed memory, in processes of our own.

A slab passes through hundreds of tensors of 50 to 500 MB.  By default the C library requests each of
them from the system and returns it, and the system zeroes every page again: on a CPU that can take
longer than the arithmetic.  Never call this inside a host application such as Slicer, which would not
get the memory back.
"""

from __future__ import annotations

import ctypes
import sys

from .switch import switched_off

# Parameter numbers from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def keep_pages() -> bool:
    """Makes this process keep freed memory for later tensors.

    Returns:
        Whether the allocator accepted the settings: True with glibc; otherwise False, and nothing is changed.
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
    """Returns the memory kept by :func:`keep_pages` to the system, for a process that is now idle.

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
