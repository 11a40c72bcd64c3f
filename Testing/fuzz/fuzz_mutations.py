"""Mutations: of bytes, of the words of a text header, and of values in nested data."""

from __future__ import annotations

import copy
import re
import struct
from typing import Any, List, Sequence, Tuple

from hypothesis import strategies as st

Edit = Tuple[int, int, int, int]

_NUMBERS = (
    0,
    1,
    2,
    3,
    127,
    128,
    255,
    256,
    32767,
    32768,
    65535,
    65536,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
    2**64 - 1,
)
_WORDS = (
    b"0", b"-1", b"1", b"3", b"4", b"nan", b"inf", b"-inf", b"1e308", b"1e-320", b"99999999999", b"2147483648",
    b"4294967296", b"9223372036854775807", b"18446744073709551616", b"1" * 40, b"", b"x", b"%s%n", b"../../x", b"\0",
    b"raw", b"gzip", b"ascii", b"bzip2", b"hex", b"LIST", b"LOCAL", b"short", b"double", b"block", b"big", b"True",
    b"MET_DOUBLE", b"\xff\xfe", b"(1,0,0)", b"none", b"scan.raw", b"scan.nrrd", b"\\",
)  # fmt: skip
#: Values that are invalid in most fields.
ODD: Tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 1.5, 1e308, -1e308, 1e-320, float("nan"), float("inf"), 2**31, 2**63, 10**30,
    "", "x", "0", "1", "nan", "\0", "a\0b", "\ud800", "../../../etc/passwd", "/dev/zero", "/dev/null", ".", "é" * 300,
    [], {}, [0], [1], [1, 2], [1, 2, 3], [1, 2, 3, 4], [[1]], [None], ["x"], {"x": 1}, [1e9] * 3, [0.0] * 9,
    [float("nan")] * 3, [65536] * 8, 4096, 65536, "cuda", "cuda:99", "cpu", "mps", "auto", ".nii.gz", ".seg.nrrd",
)  # fmt: skip


def edits(most: int = 6) -> st.SearchStrategy[List[Edit]]:
    """A few changes for :func:`damaged`."""
    number = st.integers(0, 2**16 - 1)
    return st.lists(st.tuples(st.integers(0, 11), number, number, st.integers(0, 255)), min_size=1, max_size=most)


def damaged(data: bytes, changes: Sequence[Edit], head: int) -> bytes:
    """A file with these changes.

    Args:
        data: the whole file.
        changes: from :func:`edits`.
        head: number of bytes at the beginning where most changes go, since headers decide how a file is read.
    """
    for kind, place, more, value in changes:
        if not data:
            break
        reach = len(data) if more % 4 == 0 else min(head, len(data))
        at = place % reach
        if kind == 0:
            data = data[:at] + bytes([value]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + bytes([data[at] ^ (1 << value % 8)]) + data[at + 1 :]
        elif kind == 2:
            data = data[:at]
        elif kind == 3:
            data = data[:at] + data[at + 1 + more % 64 :]
        elif kind == 4:
            # Sometimes long enough to overflow a library's buffer for a word.
            data = data[:at] + bytes([value]) * (more % 300 * (1 if value % 8 else 20)) + data[at:]
        elif kind == 5:
            data = data[:at] + data[at : at + more % 200] + data[at:]
        elif kind in (6, 7):
            width = ("B", "H", "I", "Q", "f", "d")[more % 6]
            size = struct.calcsize(width)
            number = _NUMBERS[value % len(_NUMBERS)]
            if width in "fd":
                packed = struct.pack("<" + width, (float("nan"), float("inf"), -1.0, 0.0, 1e30, 1e-30)[value % 6])
            else:
                packed = (number & (2 ** (8 * size) - 1)).to_bytes(size, "little" if kind == 6 else "big")
            at -= at % 2
            data = data[:at] + packed + data[at + size :]
        else:
            data = _with_word(data, place, more, value, min(head, len(data)))
    return data


def _with_word(data: bytes, place: int, more: int, value: int, head: int) -> bytes:
    """Replaces one of the head's words."""
    words = list(re.finditer(rb"[^\s=:,()]+", data[:head]))
    if not words:
        return data
    chosen = words[place % len(words)]
    return data[: chosen.start()] + _WORDS[(value + more) % len(_WORDS)] + data[chosen.end() :]


def odd_edits(most: int = 3) -> st.SearchStrategy[List[Tuple[int, int, int]]]:
    """A few changes for :func:`altered`."""
    number = st.integers(0, 2**16 - 1)
    return st.lists(st.tuples(st.integers(0, 5), number, number), min_size=1, max_size=most)


def altered(value: Any, changes: Sequence[Tuple[int, int, int]]) -> Any:
    """Nested data with changed values, and with added and removed entries."""
    value = copy.deepcopy(value)
    for kind, place, choice in changes:
        places = list(_places(value))
        if not places:
            return ODD[choice % len(ODD)]
        parent, key = places[place % len(places)]
        odd = copy.deepcopy(ODD[choice % len(ODD)])
        if kind <= 3:
            parent[key] = odd
        elif kind == 4:
            del parent[key]
        elif isinstance(parent, list):
            parent.append(odd)
        else:
            parent[str(odd)] = odd
    return value


def _places(value: Any) -> Any:
    """Every entry as (container, key)."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        yield value, key
        yield from _places(value[key])
