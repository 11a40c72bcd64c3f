"""The few header fields of a DICOM file that turn slices into a volume.

Read here rather than by GDCM, because GDCM needs the whole file to be sound before it tells
anything, hides what lies in sequences (the frames of enhanced CT), and is slow on thousands of
files.  Fields that name a patient are never looked at.
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from io import BytesIO
from typing import Any, BinaryIO, Dict, List, NamedTuple, Optional, Tuple, Union

Tag = Tuple[int, int]
Element = Union[bytes, List["Dataset"]]
Dataset = Dict[Tag, Any]

TRANSFER_SYNTAX: Tag = (0x0002, 0x0010)
_IMPLICIT = "1.2.840.10008.1.2"
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_PIXELS = (0x7FE0, 0x0008)
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
_LONG_FORMS = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
_FORMS = (
    *_LONG_FORMS, b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH",
    b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US",
)  # fmt: skip
_SHARED_GROUPS, _FRAME_GROUPS = (0x5200, 0x9229), (0x5200, 0x9230)
#: Sequences that hold a field of ours; all others are skipped.
_SEQUENCES = (_SHARED_GROUPS, _FRAME_GROUPS, (0x0020, 0x9113), (0x0020, 0x9116), (0x0028, 0x9110), (0x0028, 0x9145))
_WANTED = {
    (0x0008, 0x0008): "image_type",
    (0x0008, 0x0018): "instance_uid",
    (0x0008, 0x0060): "modality",
    (0x0018, 0x0050): "thickness",
    (0x0020, 0x000E): "series_uid",
    (0x0020, 0x0011): "series_number",
    (0x0020, 0x0012): "acquisition",
    (0x0020, 0x0013): "instance",
    (0x0020, 0x0032): "position",
    (0x0020, 0x0037): "orientation",
    (0x0028, 0x0002): "samples",
    (0x0028, 0x0004): "photometric",
    (0x0028, 0x0008): "frames",
    (0x0028, 0x0010): "rows",
    (0x0028, 0x0011): "columns",
    (0x0028, 0x0030): "pixel_spacing",
    (0x0028, 0x0100): "allocated",
    (0x0028, 0x0101): "bits",
    (0x0028, 0x0103): "signed",
    (0x0028, 0x1052): "intercept",
    (0x0028, 0x1053): "slope",
}
_BINARY = ("samples", "rows", "columns", "allocated", "bits", "signed")
#: What a deflated file may come to; a series of a thousand slices takes half of it.
_MOST_INFLATED = 2**30
#: Fragments of pixels, and elements behind them, that are looked at.
_MOST_PIECES = 100_000
#: Bytes that a length may claim in vain where it hinders nothing.
_HARMLESS = 2**26


class FrameFields(NamedTuple):
    """Where one slice lies, as numbers; empty where the file does not say."""

    position: Tuple[float, ...] = ()
    orientation: Tuple[float, ...] = ()
    pixel_spacing: Tuple[float, ...] = ()
    rescale: Tuple[float, ...] = ()


class DicomHeader(NamedTuple):
    """One DICOM file's fields.

    Text is stripped, numbers are numbers, what is missing is empty or 0; `complete` is False where
    the file ends before its pixels do.  `pixel_bytes` is the length of the pixels, 0 without any, None
    where they are encapsulated.
    """

    path: str
    transfer_syntax: str
    fields: Dict[str, str]
    numbers: Dict[str, int]
    frames: Tuple[FrameFields, ...]
    complete: bool
    pixel_bytes: Optional[int]


def is_plain_file(path: Union[str, os.PathLike[str]]) -> bool:
    """Whether opening a path gives the bytes of a file; opening a pipe or a device may wait for ever."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def looks_like_dicom(path: Union[str, os.PathLike[str]]) -> bool:
    """Whether the first bytes of a file are those of a DICOM file with an image or the like in it."""
    if _is_index(path) or not is_plain_file(path):
        return False
    try:
        with open(path, "rb") as file:
            return _begin(file) is not None
    except OSError:
        return False


def read_dicom_header(path: str) -> Optional[DicomHeader]:
    """The fields of a file, or None where it is no DICOM file or its header is damaged."""
    if _is_index(path) or not is_plain_file(path):
        return None
    try:
        with open(path, "rb") as file:
            start = _begin(file)
            if start is None:
                return None
            file.seek(start)
            syntax, body = _transfer_syntax(file)
            if syntax == _DEFLATED:
                inflater = zlib.decompressobj(-15)
                body = BytesIO(inflater.decompress(body.read(), _MOST_INFLATED))
                if inflater.unconsumed_tail:
                    return None
            order = ">" if syntax == _BIG_ENDIAN else "<"
            parser = _Parser(body, order, explicit=syntax != _IMPLICIT)
            dataset = parser.dataset(None)
            return _header(path, syntax, dataset, order, parser)
    except (OSError, EOFError, ValueError, struct.error, zlib.error, RecursionError, IndexError):
        return None


def _is_index(path: Union[str, os.PathLike[str]]) -> bool:
    """Whether a file is the table of contents of an exported disc, which is DICOM but no image."""
    return os.path.basename(os.fspath(path)).upper() == "DICOMDIR"


def _begin(file: BinaryIO) -> Optional[int]:
    """Where the first element lies: behind the preamble, or at once in files from before DICOM Part 10."""
    data = file.read(132)
    if data[128:132] == b"DICM":
        return 132
    if data[:1] == b"\x08" and data[1:2] == b"\0" and data[3:4] == b"\0" and len(data) == 132:
        length = struct.unpack_from("<I", data, 4)[0]
        if data[4:6].isalpha() or length < 4096:
            return 0
    return None


def _transfer_syntax(file: BinaryIO) -> Tuple[str, BinaryIO]:
    """The transfer syntax, with the file left at the first element of the data set."""
    start = file.tell()
    if start == 0:
        explicit = file.read(6)[4:].isalpha()
        file.seek(0)
        return ("1.2.840.10008.1.2.1" if explicit else _IMPLICIT), file
    parser = _Parser(file, "<", explicit=True)
    syntax = _IMPLICIT
    while True:
        here = file.tell()
        data = file.read(4)
        file.seek(here)
        if len(data) < 4 or data[:2] != b"\x02\0":
            return syntax, file
        tag, _, length = parser.element_header()
        value = parser.exactly(length)
        if tag == TRANSFER_SYNTAX:
            syntax = _text(value)


class _OverlongError(ValueError):
    """An element claims more bytes than its file has; GDCM would take memory for all of them."""


class _Parser:
    """Walks through data sets, keeping wanted fields and skipping the rest unread."""

    def __init__(self, file: BinaryIO, order: str, *, explicit: bool) -> None:
        self._file = file
        self._order = order
        self._explicit = explicit
        self._depth = 0
        here = file.tell()
        self._size = file.seek(0, os.SEEK_END)
        file.seek(here)
        self.reaches_end_of_pixels = True
        self.pixel_bytes: Optional[int] = 0

    def exactly(self, count: int) -> bytes:
        """Bytes of a value; none of ours is long."""
        if count > 1 << 20:
            raise ValueError("value too long")
        data = self._file.read(count)
        if len(data) != count:
            raise EOFError
        return data

    def element_header(self) -> Tuple[Tag, bytes, int]:
        """Tag, value representation and length of the element that comes next."""
        first = self.exactly(8)
        group, element = struct.unpack_from(self._order + "HH", first)
        if group == 0xFFFE or not self._explicit:
            return (group, element), b"", struct.unpack_from(self._order + "I", first, 4)[0]
        form = first[4:6]
        if form not in _FORMS:
            # GDCM takes the next four bytes for its length, whatever they are.
            here = self._file.tell()
            if int.from_bytes(self._file.read(4), "little" if self._order == "<" else "big") > self._left() + 4:
                raise _OverlongError
            self._file.seek(here)
        if form in _LONG_FORMS:
            return (group, element), form, struct.unpack(self._order + "I", self.exactly(4))[0]
        return (group, element), form, struct.unpack_from(self._order + "H", first, 6)[0]

    def dataset(self, length: Optional[int]) -> Dataset:
        """The wanted elements of a data set: to the pixels, a delimiter, or `length` bytes."""
        result: Dataset = {}
        end = None if length is None else self._file.tell() + length
        while end is None or self._file.tell() < end:
            here = self._file.tell()
            try:
                tag, form, size = self.element_header()
            except EOFError:
                # A header without pixels ends where its file does; any other was cut off.
                if self._depth or here != self._size:
                    raise
                return result
            if tag in (_ITEM_END, _SEQUENCE_END):
                break
            if not self._depth and tag >= _PIXELS:
                self._look_at_pixels(size)
                break
            if size != _UNDEFINED and size > self._left():
                raise _OverlongError
            if tag in _SEQUENCES:
                result[tag] = self._items(size, keep=True)
            elif size == _UNDEFINED:
                # A value of unknown nature and length holds items in implicit form.
                self._items(size, keep=False, implicit=form == b"UN")
            elif tag in _WANTED:
                result[tag] = self.exactly(size)
            elif form == b"SQ":
                self._look_over(size)
            else:
                self._file.seek(size, os.SEEK_CUR)
        return result

    def _left(self) -> int:
        return self._size - self._file.tell()

    def _look_over(self, length: int) -> None:
        """Looks for overlong elements in a sequence that holds nothing of ours, and skips it."""
        end = self._file.tell() + length
        state = self._depth, self._explicit
        try:
            self._items(length, keep=True)
        except _OverlongError:
            raise
        except (EOFError, ValueError, struct.error):  # odd, but its length is known
            self._depth, self._explicit = state
        self._file.seek(end)

    def _look_at_pixels(self, size: int) -> None:
        """Whether the pixels are all there, and what lies behind them makes sense."""
        self.pixel_bytes = None if size == _UNDEFINED else size
        if size != _UNDEFINED:
            # Some versions of GDCM hand out zeros for pixels that a file lacks.
            self.reaches_end_of_pixels = size <= self._left()
            self._file.seek(size, os.SEEK_CUR)
        try:
            for _ in range(_MOST_PIECES):
                tag, _, length = self.element_header()
                if length == _UNDEFINED or (tag == (0, 0) and not length):
                    return  # such as zeros that fill up the file
                if length > self._left():
                    if self.pixel_bytes is None and tag == _ITEM:
                        self.reaches_end_of_pixels = False
                    elif length > _HARMLESS:
                        raise _OverlongError
                    return
                self._file.seek(length, os.SEEK_CUR)
        except EOFError:  # the file's end
            return

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
                raise ValueError("no item where one should be")
            if keep or size == _UNDEFINED:
                items.append(self.dataset(None if size == _UNDEFINED else size))
            else:
                self._file.seek(size, os.SEEK_CUR)
        self._depth -= 1
        self._explicit = before
        return items


def _text(value: bytes) -> str:
    return value.decode("latin-1").strip(" \0")


def _floats(value: Any) -> Tuple[float, ...]:
    try:
        return tuple(float(part) for part in _text(value or b"").split("\\") if part.strip())
    except ValueError:
        return ()


def _header(path: str, syntax: str, dataset: Dataset, order: str, parser: _Parser) -> DicomHeader:
    fields: Dict[str, str] = {}
    numbers: Dict[str, int] = {}
    for tag, key in _WANTED.items():
        value = dataset.get(tag, b"")
        if key in _BINARY:
            numbers[key] = struct.unpack_from(order + "H", value)[0] if len(value) >= 2 else 0
        else:
            fields[key] = _text(value)
    for key in ("frames", "series_number", "acquisition", "instance"):
        try:
            numbers[key] = int(float(fields[key].split("\\")[0] or 0))
        except (ValueError, OverflowError):
            numbers[key] = 0
    groups = dataset.get(_FRAME_GROUPS)
    shared = (dataset.get(_SHARED_GROUPS) or [{}])[0]
    frames = tuple(_frame(group, shared, {}) for group in groups) if groups else (_frame({}, shared, dataset),)
    complete, length = parser.reaches_end_of_pixels, parser.pixel_bytes
    return DicomHeader(path, syntax, fields, numbers, frames, complete, length)


def _frame(own: Dataset, shared: Dataset, top: Dataset) -> FrameFields:
    def find(sequence: Tag, tag: Tag) -> Tuple[float, ...]:
        for place in (own, shared):
            items = place.get(sequence)
            if items and tag in items[0]:
                return _floats(items[0][tag])
        return _floats(top.get(tag))

    return FrameFields(
        position=find((0x0020, 0x9113), (0x0020, 0x0032)),
        orientation=find((0x0020, 0x9116), (0x0020, 0x0037)),
        pixel_spacing=find((0x0028, 0x9110), (0x0028, 0x0030)),
        rescale=find((0x0028, 0x9145), (0x0028, 0x1052)) + find((0x0028, 0x9145), (0x0028, 0x1053)),
    )
