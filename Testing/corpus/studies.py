"""DICOM studies with known correct scans: passes that overlap, interleave, lack slices, or share a series UID.

Slices are written without pydicom, so that ten thousand studies take minutes.  The HU of a pass are its own multiple of
ten plus half of a slice's height in mm: every slice of a volume shows its pass, and interpolated slices are exact.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
from pydicom.datadict import dictionary_VR, tag_for_keyword

_CT = "1.2.840.10008.5.1.4.1.1.2"
_SYNTAX = "1.2.840.10008.1.2.1"
_LONG = ("OB", "OW", "SQ", "UN", "UT")
SIZE = (8, 8)
SLOPE = 0.5


def element(keyword: str, value: Any) -> bytes:
    """One element in explicit VR little endian."""
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    form = {"US or SS": "US", "OB or OW": "OW"}.get(dictionary_VR(tag), dictionary_VR(tag))
    if isinstance(value, bytes):
        data = value
    elif form in ("US", "UL"):
        data = struct.pack("<H" if form == "US" else "<I", value)
    else:
        parts = value if isinstance(value, (list, tuple)) else [value]
        text = "\\".join(f"{part:.12g}" if isinstance(part, float) else str(part) for part in parts).encode("latin-1")
        data = text + (b"\0" if form == "UI" else b" ") * (len(text) % 2)
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + form.encode()
    return head + (struct.pack("<HI", 0, len(data)) if form in _LONG else struct.pack("<H", len(data))) + data


def write_slice(path: Path, fields: Dict[str, Any], pixels: np.ndarray) -> None:
    """Writes one CT slice; fields by keyword, None omits one."""
    everything = {
        "SOPClassUID": _CT, "StudyInstanceUID": "1.2.3.4", "SeriesInstanceUID": "1.2.3.4.5", "Modality": "CT",
        "PatientID": "4711-SECRET", "SeriesNumber": 3, "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16,
        "HighBit": 15, "PixelRepresentation": 1, "Rows": pixels.shape[0], "Columns": pixels.shape[1],
        "PixelSpacing": [2.0, 2.0], "ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        "RescaleSlope": 1, "RescaleIntercept": 0, **fields,
    }  # fmt: skip
    known = {tag_for_keyword(key): (key, value) for key, value in everything.items() if value is not None}
    pixels = pixels.astype("<i2")
    body = b"".join(element(key, value) for _, (key, value) in sorted(known.items()))
    meta = element("MediaStorageSOPClassUID", _CT) + element("TransferSyntaxUID", _SYNTAX)
    head = element("FileMetaInformationGroupLength", len(meta)) + meta
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(128) + b"DICM" + head + body + element("PixelData", pixels.tobytes()))


@dataclass(frozen=True)
class Pass:
    """One pass of the scanner, or one reconstruction.

    Attributes:
        value: HU at height 0; different for every pass.
        heights: of its slices in mm along the normal.
        fields: by keyword, of all its slices.
        folder: its own folder, if any.
        each: additional fields of each slice; the list may be shorter.
    """

    value: int
    heights: Tuple[float, ...]
    fields: Dict[str, Any] = field(default_factory=dict)
    folder: str = ""
    each: Sequence[Dict[str, Any]] = ()

    def hu(self, height: float) -> int:
        """HU of a slice."""
        return round(self.value + SLOPE * height)

    def of(self, **fields: Any) -> Pass:
        """The same pass with other fields."""
        return replace(self, fields={**self.fields, **fields})


def evenly(count: int, step: float, start: float = 0.0) -> Tuple[float, ...]:
    """Heights of equidistant slices."""
    return tuple(round(start + step * index, 4) for index in range(count))


def write_study(
    folder: Path,
    passes: Sequence[Pass],
    *,
    orientation: Sequence[float] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    shift: float = 0.0,
    names: Optional[Sequence[str]] = None,
    size: Tuple[int, int] = SIZE,
) -> Path:
    """Writes passes as a folder of slices.

    Args:
        folder: is created.
        passes: instance numbers continue from pass to pass, unless the fields say otherwise.
        orientation: of every slice.
        shift: along the columns, per mm of height: a gantry tilt.
        names: of the files, in the order of passes and slices; None: default names.
        size: of a slice in pixels.
    """
    row, column = np.asarray(orientation, float).reshape(2, 3)
    normal = np.cross(row, column)
    texture = np.add.outer(np.arange(size[0]), np.arange(size[1])) % 7
    number = 0
    for index, one in enumerate(passes):
        for place, height in enumerate(one.heights):
            name = names[number] if names else f"p{index}_{place:03d}"
            number += 1
            where = np.array([-40.0, -30.0, 12.0]) + height * (normal + shift * column)
            fields: Dict[str, Any] = {
                "InstanceNumber": number, "SOPInstanceUID": f"1.2.3.4.9.{index + 1}.{place + 1}",
                "ImagePositionPatient": [float(part) for part in where],
                "ImageOrientationPatient": [float(part) for part in orientation],
                **one.fields, **(one.each[place] if place < len(one.each) else {}),
            }  # fmt: skip
            write_slice(folder / one.folder / name, fields, texture + one.hu(height))
    return folder


def passes_in(array: np.ndarray, heights: Sequence[float], passes: Sequence[Pass]) -> List[int]:
    """The pass to which every slice of a volume belongs; -1 for none.

    Args:
        array: (z, y, x) HU that were read.
        heights: of its slices, in the coordinates of the passes.
        passes: of the study.
    """
    return [
        next((i for i, one in enumerate(passes) if abs(float(plane[0, 0]) - one.value - SLOPE * high) <= 1.1), -1)
        for plane, high in zip(array, heights)
    ]


def shuffled_names(count: int, seed: int) -> List[str]:
    """File names in random order."""
    order = np.random.default_rng(seed).permutation(count)
    return [f"{number:05d}{os.extsep}dcm" for number in order]
