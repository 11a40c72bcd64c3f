"""Which of the files in a folder are the CT series to segment."""

from __future__ import annotations

import os
from collections import Counter
from typing import Dict, Iterable, List, NamedTuple, Optional, Tuple

import numpy as np

from ..errors import ImageError
from ..progress import Progress
from .dicom_header import DicomHeader, FrameFields, looks_like_dicom, read_dicom_header


class Slice(NamedTuple):
    """One slice: a file, or one frame of it."""

    header: DicomHeader
    frame: int
    fields: FrameFields


class Series(NamedTuple):
    """Slices of one series with one orientation and one pixel grid, in the order they were found."""

    slices: List[Slice]
    notes: Tuple[str, ...]


def choose_series(
    name: str, paths: Iterable[str], progress: Progress, wanted: Optional[str] = None, closed: int = 0
) -> Series:
    """Finds the CT series among files and takes the largest, or the one that a file belongs to.

    Args:
        name: the folder's name for messages.
        paths: files, of which any may be no DICOM at all.
        progress: told the share of headers read.
        wanted: one of `paths`; its series is taken, however small.
        closed: number of folders that could not be looked into.

    Raises:
        ImageError: there is no CT series.
    """
    listed = list(paths)
    headers = []
    left_out: Counter = Counter({"folders that may not be opened": closed} if closed else {})
    for index, path in enumerate(listed):
        header = read_dicom_header(path)
        if header is not None:
            headers.append(header)
        else:
            # Without a word the scan would end a slice earlier, or have one made up in its midst.
            left_out.update(_why_unread(path))
        if index % 32 == 0:
            progress(index / len(listed), "reading the scan's headers")
    if not headers and left_out:
        raise ImageError(f"{name} holds no DICOM that can be read ({_listed(left_out)}); copy or export it again")
    if not headers:
        raise ImageError(f"{name} holds no DICOM files; give a folder with a CT series, or an image file")
    groups = _group(headers, left_out)
    if not groups:
        raise ImageError(f"{name} holds no CT series that can be placed in space ({_listed(left_out)}); choose another")
    groups.sort(key=lambda group: group[0].header.numbers["series_number"])
    if wanted is None:
        index = max(range(len(groups)), key=lambda i: len(groups[i]))
    else:
        found = [i for i, group in enumerate(groups) if any(s.header.path == wanted for s in group)]
        if not found:
            raise ImageError(f"{name} is no slice of a CT series ({_listed(left_out)}); choose another file")
        index = found[0]
    notes: List[str] = []
    if len(groups) > 1:
        why = "the largest" if wanted is None else "the one of the given file"
        notes.append(f"series {index + 1} of {len(groups)} was taken, {why}: {len(groups[index])} slices")
    if left_out:
        notes.append(f"left out: {_listed(left_out)}")
    return Series(groups[index], tuple(notes))


def _group(headers: List[DicomHeader], left_out: Counter) -> List[List[Slice]]:
    groups: Dict[Tuple[object, ...], List[List[Slice]]] = {}
    for header in headers:
        reason = _not_a_slice(header)
        if reason:
            left_out[reason] += 1
            continue
        numbers = header.numbers
        single = len(header.frames) == 1
        key = (header.fields["series_uid"], numbers["rows"], numbers["columns"], "" if single else header.path)
        for frame, fields in enumerate(header.frames):
            slice_ = Slice(header, frame, fields)
            for group in groups.setdefault(key, []):
                if _same_plane(group[0].fields, fields):
                    group.append(slice_)
                    break
            else:
                groups[key].append([slice_])
    return [group for same in groups.values() for group in same]


def _not_a_slice(header: DicomHeader) -> str:
    """Why a file is no slice of a CT volume; empty if it is one."""
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


def _why_unread(path: str) -> List[str]:
    """Why a file that may be a slice gave no header; empty for what is no DICOM."""
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


def _listed(counts: Counter) -> str:
    return ", ".join(f"{counts[reason]} x {reason}" for reason in sorted(counts)) or "none"
