"""Listing the scans of a DICOM folder for the user, with the files' own descriptions and UIDs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from ..errors import ImageError
from ..progress import Progress, silent
from .dicom_series import Candidate, find_series, study_of
from .dicom_slices import heights_of
from .names import PathLike, shown, walk_files


def list_scans(
    folder: PathLike, *, files: Optional[Sequence[str]] = None, progress: Progress = silent
) -> Dict[str, Any]:
    """The contents of a DICOM folder.

    Args:
        folder: the folder.
        files: the files of the folder to consider; None: all.
        progress: called with the fraction of headers read.

    Returns:
        Valid JSON: `scans`, the one that would be used first, each with `series` (the value for `--series`: the
        number, followed by `:2` for the second pass of that number), `uid`, `number`, `description`, `kind`
        (None for an original axial scan), `phase` and other `words`, `patient` and `study` (counted from 1),
        `acquisitions`, `slices`, `height_mm`, `slice_distance_mm`, `image_type`, `kernel`, `folder`; and `left_out`,
        the number of files that are not CT slices, by reason.

    Raises:
        ImageError: it is not a folder, or contains no CT series.
    """
    name = shown(folder)
    if not os.path.isdir(folder):
        raise ImageError(f"{name} is not a folder; give a DICOM folder")
    closed: List[str] = []
    found = find_series(
        name, list(walk_files(folder, closed=closed) if files is None else files), progress, len(closed)
    )
    patients: Dict[Any, int] = {}
    studies: Dict[Any, int] = {}
    scans = []
    for candidate in found.candidates:
        header = candidate.slices[0].header
        patient = patients.setdefault(header.patient, len(patients) + 1)
        study = studies.setdefault(study_of(header), len(studies) + 1)
        scans.append({**_facts(candidate, Path(folder)), "patient": patient, "study": study})
    return {"folder": os.fspath(folder), "scans": scans, "left_out": dict(found.left_out)}


def _facts(candidate: Candidate, folder: Path) -> Dict[str, Any]:
    header = candidate.slices[0].header
    heights = np.sort(heights_of(candidate.slices))
    gaps = np.diff(heights)
    homes = {os.path.dirname(slice_.header.path) for slice_ in candidate.slices}
    return {
        "series": candidate.key,
        "uid": header.fields["series_uid"],
        "number": header.numbers["series_number"],
        "description": str(header.description),
        "kind": candidate.verdict.kind or None,
        "words": candidate.verdict.words,
        "acquisitions": sorted({s.header.numbers["acquisition"] for s in candidate.slices}),
        "slices": len(candidate.slices),
        "height_mm": round(float(heights[-1] - heights[0]), 2),
        "slice_distance_mm": round(float(np.median(gaps)), 3) if gaps.size else None,
        "image_type": header.fields["image_type"],
        "kernel": header.fields["kernel"],
        "folder": os.path.relpath(os.path.commonpath(sorted(homes)), folder),
    }
