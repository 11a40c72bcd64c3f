"""Parsing the elements of a DICOM file, one after the other."""

from __future__ import annotations

import os
import struct
from typing import Any, BinaryIO, Container, Dict, List, Optional, Tuple

Tag = Tuple[int, int]
#: A value's bytes, or the items of a sequence, which are data sets again.
Dataset = Dict[Tag, Any]

#: Parsing ends at pixel data of any kind; the last of these tags is the one of CT images.
_ANY_PIXELS, _PIXELS = (0x7FE0, 0x0008), (0x7FE0, 0x0010)
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
_LONG_FORMS = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
#: Limit for the number of pixel fragments; a frame usually has one.
_MOST_FRAGMENTS = 100_000


class ElementReader:
    """Parses data sets, keeping the wanted elements and skipping the rest unread.

    Args:
        file: positioned at an element.
        order: byte order, `<` or `>`.
        explicit: whether elements give their value representation.
        wanted: the elements to keep.
        sequences: the sequences whose items are kept, each with its wanted elements.

    Attributes:
        reaches_end_of_pixels: False if the pixels are truncated, or there is garbage between their fragments.
        encapsulated: whether the pixels are in fragments.
        pixels: offset and length of the pixels, or of each fragment of encapsulated ones without the offset
            table; empty if there are none.
    """

    def __init__(
        self,
        file: BinaryIO,
        order: str,
        *,
        explicit: bool,
        wanted: Container[Tag] = (),
        sequences: Container[Tag] = (),
    ) -> None:
        self._file = file
        self._order = order
        self._explicit = explicit
        self._wanted = wanted
        self._sequences = sequences
        self._depth = 0
        here = file.tell()
        self._size = file.seek(0, os.SEEK_END)
        file.seek(here)
        self.reaches_end_of_pixels = True
        self.encapsulated = False
        self.pixels: List[Tuple[int, int]] = []

    def exactly(self, count: int) -> bytes:
        """Reads a value; all wanted values are short."""
        if count > 1 << 20:
            raise ValueError("value too long")
        data = self._file.read(count)
        if len(data) != count:
            raise EOFError
        return data

    def element_header(self) -> Tuple[Tag, bytes, int]:
        """Tag, value representation and length of the next element."""
        first = self.exactly(8)
        group, element = struct.unpack_from(self._order + "HH", first)
        if group == 0xFFFE or not self._explicit:
            return (group, element), b"", struct.unpack_from(self._order + "I", first, 4)[0]
        form = first[4:6]
        if form in _LONG_FORMS:
            return (group, element), form, struct.unpack(self._order + "I", self.exactly(4))[0]
        return (group, element), form, struct.unpack_from(self._order + "H", first, 6)[0]

    def dataset(self, length: Optional[int]) -> Dataset:
        """The wanted elements of a data set, up to the pixels, a delimiter, or `length` bytes."""
        result: Dataset = {}
        end = None if length is None else self._file.tell() + length
        while end is None or self._file.tell() < end:
            here = self._file.tell()
            try:
                tag, form, size = self.element_header()
            except EOFError:
                # A data set without pixels may end with the file; otherwise the file is truncated.
                if self._depth or here != self._size:
                    raise
                return result
            if tag in (_ITEM_END, _SEQUENCE_END):
                break
            if not self._depth and tag >= _ANY_PIXELS:
                if tag == _PIXELS:
                    self._look_at_pixels(size)
                break
            # If an element occurs twice, the first is used.
            if tag in self._sequences:
                result.setdefault(tag, self._items(size, keep=True))
            elif size == _UNDEFINED:
                # A value of unknown representation and length contains items in implicit form.
                self._items(size, keep=False, implicit=form == b"UN")
            elif tag in self._wanted:
                result.setdefault(tag, self.exactly(size))
            else:
                self._file.seek(size, os.SEEK_CUR)
        return result

    def _left(self) -> int:
        return self._size - self._file.tell()

    def _look_at_pixels(self, size: int) -> None:
        """Finds the pixels, and whether they are complete."""
        self.encapsulated = size == _UNDEFINED
        if self.encapsulated:
            self.reaches_end_of_pixels = self._look_at_fragments()
        else:
            self.reaches_end_of_pixels = size <= self._left()
            self.pixels.append((self._file.tell(), size))

    def _look_at_fragments(self) -> bool:
        """Records the fragments of encapsulated pixels; False if they are not contiguous up to the end."""
        table = True
        for _ in range(_MOST_FRAGMENTS):
            try:
                tag, _, length = self.element_header()
            except EOFError:  # many programs omit the delimiter
                return not table
            if tag == _SEQUENCE_END:
                return True
            if tag == (0, 0) and not length:  # or pad the file with zeros instead
                return not table
            if tag != _ITEM or length > self._left():
                return False
            if not table:
                self.pixels.append((self._file.tell(), length))
            table = False
            self._file.seek(length, os.SEEK_CUR)
        return False

    def _items(self, length: int, *, keep: bool, implicit: bool = False) -> List[Dataset]:
        before = self._explicit
        self._explicit = before and not implicit
        self._depth += 1
        if self._depth > 32:
            raise ValueError("nested too deeply")
        items: List[Dataset] = []
        end = None if length == _UNDEFINED else self._file.tell() + length
        while end is None or self._file.tell() < end:
            tag, _, size = self.element_header()
            if tag == _SEQUENCE_END:
                break
            if tag != _ITEM:
                raise ValueError("an item is missing")
            if keep or size == _UNDEFINED:
                items.append(self.dataset(None if size == _UNDEFINED else size))
            else:
                self._file.seek(size, os.SEEK_CUR)
        self._depth -= 1
        self._explicit = before
        return items


def plain_text(value: bytes) -> str:
    """A text without its padding."""
    return value.decode("latin-1").strip(" \0")


def floats(value: Any) -> Tuple[float, ...]:
    """The numbers in a text; empty if one of them is not a number."""
    try:
        return tuple(float(part) for part in plain_text(value or b"").split("\\") if part.strip())
    except ValueError:
        return ()
