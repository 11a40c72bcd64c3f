"""Makes the C allocator keep freed memory and use large pages, in processes of our own.

A slab passes through hundreds of tensors of 50 to 500 MB.  By default the C library requests each of
them from the system and returns it, and the system zeroes every page again: on a CPU that can take
longer than the arithmetic.  Pages of 2 MB instead of 4 kB save another tenth of the time, because the
kernels read voxels that lie far apart.  Never call this inside a host application such as Slicer, which
would not get the memory back.
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

from .switch import switched_off

# Parameter numbers from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
#: From Linux's mman.h.
_MADV_HUGEPAGE = 14
_LARGE_PAGE = 2 << 20


def keep_pages() -> bool:
    """Makes this process keep freed memory for later tensors.

    Returns:
        Whether the allocator accepted the settings: True with glibc; otherwise False, and nothing is changed.
    """
    if switched_off() or not sys.platform.startswith("linux"):
        return False
    try:
        libc = ctypes.CDLL(None)
        mallopt = libc.mallopt
    except (OSError, AttributeError):
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    never = -1
    if not (mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, never) and mallopt(_M_TOP_PAD, 64 * 2**20)):
        return False
    _prefer_large_pages(libc)
    return True


def _prefer_large_pages(libc: ctypes.CDLL) -> None:
    """Asks for large pages for the memory that later tensors will get.

    The heap is extended by half of the computer's memory, marked, and freed at once: it stays the next to be
    used and takes no memory until then.  Where the system refuses, tensors get ordinary pages.
    """
    with suppress(OSError):
        if Path("/proc/sys/vm/overcommit_memory").read_text().strip() == "2":
            return  # this system counts memory that is not used yet
    libc.malloc.argtypes, libc.malloc.restype = (ctypes.c_size_t,), ctypes.c_void_p
    libc.free.argtypes, libc.free.restype = (ctypes.c_void_p,), None
    libc.madvise.argtypes, libc.madvise.restype = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int), ctypes.c_int
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    start = libc.malloc(size)
    if start:
        first, last = -(-start // _LARGE_PAGE) * _LARGE_PAGE, (start + size) // _LARGE_PAGE * _LARGE_PAGE
        libc.madvise(first, last - first, _MADV_HUGEPAGE)
        libc.free(start)


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
