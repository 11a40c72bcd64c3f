"""Finding the scans in a folder: image files, and DICOM studies, which are never merged."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

from .errors import ImageError
from .image_io.dicom_groups import is_something_else, study_of
from .image_io.dicom_header import known_header, looks_like_dicom
from .image_io.dicom_part10 import is_index
from .image_io.names import READABLE_SUFFIXES, PathLike, output_name, shown, suffix_of, walk_files

SEGMENTATION = "it is a Slicer segmentation"
NO_SCAN = "it is not a scan"
INDEX = "it is the index of an exported disc; the files themselves are read"
NO_CT = "the study contains no CT"
NO_SCANS_INSIDE = "the folder contains no DICOM (subfolders are not searched for image files)"
UNREADABLE = "its DICOM cannot be read"


class Scan(NamedTuple):
    """One scan to segment.

    Attributes:
        path: a file, or a DICOM folder.
        name: the base name of the result.
        files: the files of the folder that belong to this study; None: all.
    """

    path: Path
    name: str
    files: Optional[Tuple[str, ...]] = None


class LeftOut(NamedTuple):
    """An entry of a folder that is not segmented, and why."""

    path: Path
    reason: str


class Inputs(NamedTuple):
    """The contents of a folder, in a fixed order."""

    scans: List[Scan]
    left_out: List[LeftOut]


def find_inputs(folder: PathLike) -> Inputs:
    """The scans in a folder, and the entries that are not scans.

    Scans are the image files directly in it, and each DICOM study below it, at any depth: two patients, or two
    studies of one patient, are two scans even if their files are in the same folder.

    Args:
        folder: the folder.

    Raises:
        ImageError: it is not a folder, or cannot be listed.
    """
    root = Path(folder)
    images, others, folders = _entries(root)
    studies, without_ct, damaged = _studies(root)
    if not images and not studies:
        studies, without_ct = without_ct, {}  # the error is reported when it is read
    scans = [Scan(path, output_name(path)) for path in images]
    scans += _placed(root, studies, alone=not images)
    left_out = [LeftOut(path, _why_left_out(path)) for path in others]
    taken = {file for found in (studies, without_ct) for files in found.values() for file in files}
    homes = {_child(root, file) for file in taken}
    bad = {_child(root, file) for file in damaged}
    for path in folders:
        if path not in homes:
            if path in bad:
                scans.append(Scan(path, output_name(path)))  # the error is reported when it is read
            else:
                left_out.append(LeftOut(path, NO_SCANS_INSIDE))
    # Exported discs contain a viewer, an index and a leaflet beside the slices.
    beside = root in homes
    left_out = [
        one for one in left_out if os.fspath(one.path) not in taken and not (beside and one.reason is not SEGMENTATION)
    ]
    if not beside and root in bad:
        left_out = [LeftOut(one.path, UNREADABLE) if os.fspath(one.path) in damaged else one for one in left_out]
        if not scans:
            scans.append(Scan(root, output_name(root)))  # says what is wrong with it when it is read
    left_out += [LeftOut(_home(files), NO_CT) for files in without_ct.values()]
    return Inputs(sorted(scans, key=lambda scan: (os.fspath(scan.path), scan.name)), sorted(left_out))


def _entries(root: Path) -> Tuple[List[Path], List[Path], List[Path]]:
    """Images, other files and folders directly in a folder."""
    images, others, folders = [], [], []
    try:
        with os.scandir(root) as entries:
            for entry in entries:
                path = Path(entry.path)
                if entry.name.startswith("."):
                    continue
                # Unlike entry.is_dir(), this does not raise for a link that points to itself.
                if os.path.isdir(path):
                    folders.append(path)
                elif suffix_of(entry.name, READABLE_SUFFIXES) and not _is_segmentation(path):
                    images.append(path)
                else:
                    others.append(path)
    except OSError as error:
        raise ImageError(f"{shown(root)} cannot be listed as a folder: {error.strerror}") from error
    return images, others, folders


def _why_left_out(path: Path) -> str:
    return SEGMENTATION if _is_segmentation(path) else INDEX if is_index(path) else NO_SCAN


def _is_segmentation(path: Path) -> bool:
    return bool(suffix_of(path, (".seg.nrrd",)))


def _studies(root: Path) -> Tuple[Dict[Tuple[int, str], List[str]], Dict[Tuple[int, str], List[str]], List[str]]:
    """The files of each study of CT below a folder, those of other studies, and DICOM whose header cannot be read."""
    names: Dict[Tuple[int, str], Tuple[int, str]] = {}
    files: List[Tuple[Tuple[int, str], str]] = []
    # By study: the folder entries that contain each slice position of a series.
    places: Dict[Tuple[int, str], Dict[Tuple[object, ...], Path]] = defaultdict(dict)
    twice, with_ct = set(), set()
    damaged = []
    for file in walk_files(root):
        if suffix_of(file, READABLE_SUFFIXES):
            continue
        header = known_header(file)
        if header is not None:
            study, series = study_of(header), header.fields["series_uid"]
            # A series belongs to one study, though some programs give every slice a study of its own.
            if series:
                study = names.setdefault((header.patient, f"series {series}"), study)
            files.append((study, file))
            if not is_something_else(header):
                with_ct.add(study)
            child, position = _child(root, file), header.frames[0].position
            if position and places[study].setdefault((series, position), child) != child:
                twice.add(study)
        elif looks_like_dicom(file):
            damaged.append(file)
    studies: Dict[Tuple[int, str], List[str]] = defaultdict(list)
    without_ct: Dict[Tuple[int, str], List[str]] = defaultdict(list)
    for study, file in files:
        # Folders with the same slice positions of one series are copies, or scans that were given the same UIDs.
        key = (study[0], f"{study[1]} {_child(root, file)}") if study in twice else study
        (studies if study in with_ct else without_ct)[key].append(file)
    return dict(studies), dict(without_ct), damaged


def _placed(root: Path, studies: Dict[Tuple[int, str], List[str]], *, alone: bool) -> List[Scan]:
    homes = {key: _home(files) for key, files in studies.items()}
    scans = []
    shared: Dict[Path, int] = defaultdict(int)
    for key, home in sorted(homes.items(), key=lambda pair: studies[pair[0]][0]):
        child = _child(root, os.path.join(home, "x"))
        if child != root and _is_alone(key, child, homes, studies):
            scans.append(Scan(child, output_name(child)))
        elif _is_alone(key, home, homes, studies) and (home != root or alone):
            scans.append(Scan(home, output_name(home)))
        else:
            shared[home] += 1
            number = f"-{shared[home]}" if sum(other == home for other in homes.values()) > 1 else ""
            scans.append(Scan(home, output_name(home) + number, tuple(studies[key])))
    return scans


def _home(files: List[str]) -> Path:
    """The folder that all of them lie in, at whatever depth."""
    return Path(os.path.commonpath([os.path.dirname(file) for file in files]))


def _is_alone(
    key: Tuple[int, str], place: Path, homes: Dict[Tuple[int, str], Path], studies: Dict[Tuple[int, str], List[str]]
) -> bool:
    """Whether a folder contains no file of another study."""
    start = os.path.join(place, "")
    return not any(
        other != key
        and (
            _below(homes[other], start)
            or (_below(place, os.path.join(homes[other], "")) and any(f.startswith(start) for f in studies[other]))
        )
        for other in studies
    )


def _below(path: Path, start: str) -> bool:
    return os.path.join(path, "").startswith(start)


def _child(root: Path, file: str) -> Path:
    """The subfolder that a file is in; the folder itself for a file directly in it."""
    parts = Path(os.path.relpath(file, root)).parts
    return root / parts[0] if len(parts) > 1 else root
