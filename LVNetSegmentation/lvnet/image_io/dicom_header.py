"""The few header fields of a DICOM file that are needed to build a volume, and the position of its pixels.

They are not read by GDCM, because GDCM needs an intact file to return anything, allocates memory for
whatever length an element claims, does not give access to sequences (the frames of enhanced CT), and is
slow with thousands of files.  The patient's name and ID are read to check whether the description
repeats them; only a hash of them is kept, which tells patients apart and is valid within this process only.
"""

from __future__ import annotations

import os
import struct
import time
import zlib
from functools import lru_cache
from typing import BinaryIO, Dict, List, NamedTuple, Optional, Tuple, Union

from .dicom_descriptions import free_text, may_be_shown
from .dicom_elements import Dataset, ElementReader, plain_text
from .dicom_frames import (
    FRAME_ACQUISITION,
    FRAME_CONTENT,
    FRAME_GROUPS,
    FRAME_KIND,
    FRAME_TEMPORAL,
    FRAME_TYPE,
    MEASURES,
    RECONSTRUCTION,
    SHARED_GROUPS,
    STACK,
    TRANSFORMATION,
    FrameFields,
    frame_fields,
)
from .dicom_part10 import BIG_ENDIAN, DEFLATED, IMPLICIT, data_set, first_element, is_index

#: Sequences that contain a wanted field; all others are skipped.
_SEQUENCES = (
    SHARED_GROUPS, FRAME_GROUPS, FRAME_CONTENT, FRAME_TYPE, RECONSTRUCTION, MEASURES, TRANSFORMATION,
    (0x0020, 0x9113), (0x0020, 0x9116),
)  # fmt: skip
_WANTED = {
    (0x0008, 0x0008): "image_type",
    (0x0008, 0x0016): "sop_class",
    (0x0008, 0x0017): "acquisition_uid",
    (0x0008, 0x0018): "instance_uid",
    (0x0008, 0x0022): "acquisition_date",
    (0x0008, 0x002A): "acquisition_datetime",
    (0x0008, 0x0032): "acquisition_time",
    (0x0008, 0x0033): "content_time",
    (0x0008, 0x0060): "modality",
    (0x0018, 0x0010): "contrast",
    (0x0018, 0x0015): "body_part",
    (0x0018, 0x0050): "thickness",
    (0x0018, 0x0060): "kvp",
    (0x0018, 0x0088): "slice_distance",
    (0x0018, 0x1060): "trigger_time",
    (0x0018, 0x1100): "diameter",
    (0x0018, 0x1150): "exposure_time",
    (0x0018, 0x1151): "tube_current",
    (0x0018, 0x1152): "exposure",
    (0x0018, 0x1210): "kernel",
    (0x0020, 0x000D): "study_uid",
    (0x0020, 0x000E): "series_uid",
    (0x0020, 0x0011): "series_number",
    (0x0020, 0x0012): "acquisition",
    (0x0020, 0x0013): "instance",
    (0x0020, 0x0032): "position",
    (0x0020, 0x0037): "orientation",
    (0x0020, 0x0052): "frame_of_reference",
    (0x0020, 0x0100): "temporal",
    (0x0020, 0x9241): "cardiac_phase",
    (0x0028, 0x0002): "samples",
    (0x0028, 0x0004): "photometric",
    (0x0028, 0x0008): "frames",
    (0x0028, 0x0010): "rows",
    (0x0028, 0x0011): "columns",
    (0x0028, 0x0030): "pixel_spacing",
    (0x0028, 0x0100): "allocated",
    (0x0028, 0x0101): "bits",
    (0x0028, 0x0103): "signed",
    (0x0028, 0x0120): "padding",
    (0x0028, 0x0121): "padding_limit",
    (0x0028, 0x1052): "intercept",
    (0x0028, 0x1053): "slope",
    (0x0028, 0x1054): "rescale_type",
}
_BINARY = ("samples", "rows", "columns", "allocated", "bits", "signed")
_PADDINGS = ("padding", "padding_limit")
_DESCRIPTION, _PATIENT_ID, _PATIENT_NAME = (0x0008, 0x103E), (0x0010, 0x0020), (0x0010, 0x0010)
_CHARACTER_SET = (0x0008, 0x0005)
_KEPT = frozenset((
    *_WANTED, _CHARACTER_SET, _DESCRIPTION, _PATIENT_ID, _PATIENT_NAME,
    FRAME_ACQUISITION, FRAME_TEMPORAL, STACK, FRAME_KIND,
))  # fmt: skip
#: Number of headers that are cached, of some kilobytes each; and the minimum age in seconds of a cached file.
_MOST_REMEMBERED, _SETTLED_NS = 4096, 2_000_000_000


class Unprinted(str):
    """Free text that may name a patient: a `str` whose `repr` does not show it."""

    def __repr__(self) -> str:
        return "'...'"


class DicomHeader(NamedTuple):
    """Header fields of one DICOM file.

    Texts are stripped; missing fields are empty or 0.  `complete` is False if the pixels are truncated, or there
    is garbage between their fragments.  `encapsulated` pixels are in fragments; `pixels` are offset and length of the
    pixels or of each fragment, see :func:`read_pixels`.  `padding` are the stored values, as bits, that mean "no
    value": one, or the ends of a range.  `description` is free text that only the user may see; `shown` is the same, or
    empty if it may name the patient; `patient` is a hash that tells patients apart.
    """

    path: str
    transfer_syntax: str
    fields: Dict[str, str]
    numbers: Dict[str, int]
    frames: Tuple[FrameFields, ...]
    complete: bool
    encapsulated: bool
    pixels: Tuple[Tuple[int, int], ...]
    padding: Tuple[int, ...] = ()
    description: Unprinted = Unprinted()
    shown: Unprinted = Unprinted()
    patient: int = 0


def looks_like_dicom(path: Union[str, os.PathLike[str]]) -> bool:
    """Whether the first bytes of a file are those of a DICOM file that may contain an image."""
    if is_index(path) or not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            return first_element(file) is not None
    except OSError:
        return False


def read_dicom_header(path: str) -> Optional[DicomHeader]:
    """The fields of a file, or None if it is not a DICOM file or its header is damaged."""
    if is_index(path) or not os.path.isfile(path):
        return None
    try:
        with open(path, "rb") as file:
            start = first_element(file)
            if start is None:
                return None
            syntax, body = data_set(file, start)
            order = ">" if syntax == BIG_ENDIAN else "<"
            reader = ElementReader(body, order, explicit=syntax != IMPLICIT, wanted=_KEPT, sequences=_SEQUENCES)
            dataset = reader.dataset(None)
            return _header(path, syntax, dataset, order, reader)
    except (OSError, EOFError, ValueError, struct.error, zlib.error, RecursionError, IndexError):
        return None


def known_header(path: str) -> Optional[DicomHeader]:
    """Like :func:`read_dicom_header`, but cached, because a folder is searched twice: when a batch is planned and
    when it is read."""
    try:
        facts = os.stat(path)
    except (OSError, ValueError):
        return None
    # A file system's clock is coarse: a file that was just written may be written again within the same tick.
    if time.time_ns() - max(facts.st_mtime_ns, facts.st_ctime_ns) < _SETTLED_NS:
        return read_dicom_header(path)
    return _remembered(path, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size, facts.st_ino)


@lru_cache(maxsize=_MOST_REMEMBERED)
def _remembered(path: str, *_facts: int) -> Optional[DicomHeader]:
    return read_dicom_header(path)


def read_pixels(header: DicomHeader) -> List[bytes]:
    """The pixels as stored, or each fragment of encapsulated ones.

    Raises:
        OSError: the file can no longer be read.
        ValueError, EOFError, zlib.error: it has changed.
    """
    with open(header.path, "rb") as file:
        body: BinaryIO = file
        if header.transfer_syntax == DEFLATED:
            _, body = data_set(file, first_element(file) or 0)
        pieces = []
        for begin, length in header.pixels:
            body.seek(begin)
            pieces.append(body.read(length))
        return pieces


def _header(path: str, syntax: str, dataset: Dataset, order: str, reader: ElementReader) -> DicomHeader:
    fields: Dict[str, str] = {}
    numbers: Dict[str, int] = {}
    for tag, key in _WANTED.items():
        value = dataset.get(tag, b"")
        if key in _PADDINGS:
            continue
        if key in _BINARY:
            numbers[key] = struct.unpack_from(order + "H", value)[0] if len(value) >= 2 else 0
        else:
            fields[key] = plain_text(value)
    for key in ("frames", "series_number", "acquisition", "instance"):
        try:
            numbers[key] = int(float(fields[key].split("\\")[0] or 0))
        except (ValueError, OverflowError):
            numbers[key] = 0
    groups = dataset.get(FRAME_GROUPS)
    shared = (dataset.get(SHARED_GROUPS) or [{}])[0]
    frames = (
        tuple(frame_fields(group, shared, {}, dataset, order) for group in groups)
        if groups
        else (frame_fields({}, shared, dataset, dataset, order),)
    )
    complete, pixels = reader.reaches_end_of_pixels, tuple(reader.pixels)
    padding = tuple(
        _unsigned(dataset[tag], order) for tag, key in _WANTED.items() if key in _PADDINGS and tag in dataset
    )
    character_set = plain_text(dataset.get(_CHARACTER_SET, b""))
    description, *named = (
        Unprinted(free_text(dataset.get(tag) or b"", character_set))
        for tag in (_DESCRIPTION, _PATIENT_NAME, _PATIENT_ID)
    )
    shown = description if may_be_shown(description, named) else Unprinted()
    identity = (dataset.get(_PATIENT_ID) or b"").strip(b" \0") or (dataset.get(_PATIENT_NAME) or b"").strip(b" \0^")
    return DicomHeader(
        path, syntax, fields, numbers, frames, complete, reader.encapsulated, pixels,
        padding if all(value >= 0 for value in padding) else (), description, shown,
        # Python salts the hash of bytes differently in every process.
        hash(identity.upper()) if identity else 0,
    )  # fmt: skip


def _unsigned(value: bytes, order: str) -> int:
    """The bits of a number of two or four bytes; -1 for any other length."""
    if len(value) not in (2, 4):
        return -1
    return int(struct.unpack(order + ("H" if len(value) == 2 else "I"), value)[0])
