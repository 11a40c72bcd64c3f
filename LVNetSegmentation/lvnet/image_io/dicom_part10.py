"""The envelope of a DICOM file: its preamble, its transfer syntax, and the start of its data set."""

from __future__ import annotations

import os
import struct
import zlib
from io import BytesIO
from typing import BinaryIO, Optional, Tuple, Union

from .dicom_elements import ElementReader, Tag, plain_text

TRANSFER_SYNTAX: Tag = (0x0002, 0x0010)
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
#: Largest size of an inflated file; a series of a thousand slices takes half of it.
_MOST_INFLATED = 2**30


def is_index(path: Union[str, os.PathLike[str]]) -> bool:
    """Whether a file is a DICOMDIR, the index of an exported disc, which is DICOM but not an image."""
    return os.path.basename(os.fspath(path)).upper() == "DICOMDIR"


def first_element(file: BinaryIO) -> Optional[int]:
    """Offset of the first element: after the preamble, or 0 in files older than DICOM Part 10."""
    data = file.read(132)
    if data[128:132] == b"DICM":
        return 132
    if data[:1] == b"\x08" and data[1:2] == b"\0" and data[3:4] == b"\0" and len(data) == 132:
        length = struct.unpack_from("<I", data, 4)[0]
        if data[4:6].isalpha() or length < 4096:
            return 0
    return None


def data_set(file: BinaryIO, start: int) -> Tuple[str, BinaryIO]:
    """The transfer syntax, and a stream positioned at the first element of the data set."""
    file.seek(start)
    syntax, body = _transfer_syntax(file)
    if syntax == DEFLATED:
        inflater = zlib.decompressobj(-15)
        body = BytesIO(inflater.decompress(body.read(), _MOST_INFLATED))
        if inflater.unconsumed_tail:
            raise ValueError("the inflated file is too large")
    return syntax, body


def _transfer_syntax(file: BinaryIO) -> Tuple[str, BinaryIO]:
    """The transfer syntax; leaves the file at the first element of the data set."""
    start = file.tell()
    if start == 0:
        explicit = file.read(6)[4:].isalpha()
        file.seek(0)
        return (EXPLICIT if explicit else IMPLICIT), file
    reader = ElementReader(file, "<", explicit=True)
    syntax = IMPLICIT
    while True:
        here = file.tell()
        data = file.read(4)
        file.seek(here)
        if len(data) < 4 or data[:2] != b"\x02\0":
            return syntax, file
        tag, _, length = reader.element_header()
        value = reader.exactly(length)
        if tag == TRANSFER_SYNTAX:
            syntax = plain_text(value)
