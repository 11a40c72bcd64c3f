"""Grouping the files of a folder into CT slices by series, plane and pixel grid; and counting the others."""

from __future__ import annotations

import os
from collections import Counter
from typing import Dict, List, Tuple

import numpy as np

from .dicom_header import DicomHeader, FrameFields, looks_like_dicom
from .dicom_slices import Slice

#: Reasons of files that were never meant as slices of a scan, unlike slices whose header is damaged.
_SOMETHING_ELSE = ("other modalities", "files without an image", "localizers", "colour images")


def study_of(header: DicomHeader) -> Tuple[int, str]:
    """A key that tells studies and patients apart."""
    return header.patient, header.fields["study_uid"]


def series_of(header: DicomHeader) -> Tuple[object, ...]:
    """A key that slices of one series share, even if a program gave each of them a study of its own."""
    uid = header.fields["series_uid"]
    return (header.patient, uid, "" if uid else header.fields["study_uid"])


def grouped(headers: List[DicomHeader], left_out: Counter) -> List[List[Slice]]:
    """Slices by series, plane and pixel grid; an enhanced file is a group of its own."""
    groups: Dict[Tuple[object, ...], List[List[Slice]]] = {}
    for header in headers:
        reason = _not_a_slice(header)
        if reason:
            left_out[reason] += 1
            continue
        numbers = header.numbers
        single = len(header.frames) == 1
        place = (numbers["rows"], numbers["columns"], "" if single else header.path)
        key = (*series_of(header), *place)
        for frame, fields in enumerate(header.frames):
            slice_ = Slice(header, frame, fields)
            same = groups.setdefault(key, [])
            for group in same:
                if _same_plane(group[0].fields, fields):
                    group.append(slice_)
                    break
            else:
                same.append([slice_])
    return [group for same in groups.values() for group in same]


def is_something_else(header: DicomHeader) -> bool:
    """Whether a file is clearly not a slice of a CT: of another modality, a localizer, a picture, a report."""
    return _not_a_slice(header) in _SOMETHING_ELSE


def _not_a_slice(header: DicomHeader) -> str:
    """Why a file is not a slice of a CT volume; empty if it is one."""
    fields, numbers = header.fields, header.numbers
    if fields["modality"].upper() != "CT":
        return "other modalities"
    if not numbers["rows"] or not numbers["columns"]:
        return "files without an image"
    if "LOCALIZER" in fields["image_type"].upper() or "SCOUT" in fields["image_type"].upper():
        return "localizers"
    if numbers["samples"] > 1 or not (fields["photometric"] or "MONOCHROME").upper().startswith("MONOCHROME"):
        return "colour images"
    if numbers["frames"] > 1 and numbers["frames"] != len(header.frames):
        return "multi-frame images without positions"
    for frame in header.frames:
        sizes = (len(frame.position), len(frame.orientation), len(frame.pixel_spacing))
        if sizes != (3, 6, 2) or not np.isfinite(frame.position + frame.orientation + frame.pixel_spacing).all():
            return "images without a position"
        axes = np.asarray(frame.orientation).reshape(2, 3)
        if np.abs(axes @ axes.T - np.eye(2)).max() > 1e-2:
            return "images without a position"
    return ""


def why_unread(path: str) -> List[str]:
    """Why the header of a file cannot be read; empty if it is not DICOM."""
    try:
        os.stat(path)
        if not os.path.isfile(path):
            return []
        with open(path, "rb") as file:
            if not file.read(1):
                return ["empty files"]
    except PermissionError:
        return ["files that may not be read"]
    except OSError:
        return ["files that cannot be opened"]
    return ["damaged files"] if looks_like_dicom(path) else []


def _same_plane(first: FrameFields, second: FrameFields) -> bool:
    return bool(
        np.allclose(first.orientation, second.orientation, rtol=0, atol=1e-3)
        and np.allclose(first.pixel_spacing, second.pixel_spacing, rtol=1e-3, atol=0)
    )


def without_copies(group: List[Slice]) -> List[Slice]:
    """Removes slices that are further copies of the same object at the same position."""
    seen = set()
    kept = []
    for slice_ in group:
        uid = slice_.header.fields["instance_uid"]
        key = (uid, slice_.frame, slice_.fields.position)
        if uid and key in seen:
            continue
        seen.add(key)
        kept.append(slice_)
    return kept


def listed(counts: Counter) -> str:
    return ", ".join(f"{counts[reason]} x {reason}" for reason in sorted(counts)) or "none"
