"""File names: suffixes, the scans in a folder, names of outputs."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Iterable, List, Optional, Sequence, Union

from ..errors import ImageError
from ..files import remove_stale
from .dicom_header import looks_like_dicom

PathLike = Union[str, "os.PathLike[str]"]

#: Suffixes that :func:`~lvnet.image_io.read_image` accepts, besides DICOM.
READABLE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
#: Suffixes that :func:`~lvnet.image_io.write_image` accepts.
IMAGE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")
#: Suffixes that :func:`~lvnet.image_io.write_labels` accepts; .seg.nrrd comes before .nrrd.
LABEL_SUFFIXES = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".mha")

# Check with the effective user ID, if the system supports it.
_EFFECTIVE = os.access in os.supports_effective_ids
_SEGMENTATION_SUFFIX = ".seg.nrrd"


def shown(path: PathLike) -> str:
    """The path as the user gave it, on one line whatever characters it contains."""
    return "".join(c if c.isprintable() else "?" for c in os.fspath(path))


def suffix_of(path: PathLike, suffixes: Sequence[str]) -> str:
    """The first of `suffixes` that the name ends with, in lower case, or an empty string."""
    name = os.path.basename(os.fspath(path)).lower()
    return next((suffix for suffix in suffixes if name.endswith(suffix) and name != suffix), "")


def output_name(path: PathLike) -> str:
    """The stem that the outputs of a scan are named after.

    Args:
        path: a file (`ct.nii.gz` gives `ct`) or a DICOM folder (the folder's own name).
    """
    plain = Path(path)
    name = plain.name if plain.name not in ("", "..") else os.path.basename(os.path.realpath(plain))
    suffix = suffix_of(name, (_SEGMENTATION_SUFFIX, *READABLE_SUFFIXES, ".dcm", ".ima"))
    return (name[: -len(suffix)] if suffix and not os.path.isdir(plain) else name) or "scan"


def check_name(path: PathLike) -> None:
    """Fails for a name that would make ITK's libraries crash the process.

    Raises:
        ImageError: the name's bytes are not UTF-8.
    """
    try:
        os.fspath(path).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ImageError(f"{shown(path)}: its name is not valid UTF-8; rename the file or its folder") from error


def is_dicom_folder(path: PathLike, *, nested: bool = True) -> bool:
    """Whether a folder contains at least one DICOM file.

    Args:
        path: any path; False if it is not a folder.
        nested: also search its subfolders.
    """
    return os.path.isdir(path) and any(looks_like_dicom(file) for file in walk_files(path, nested=nested))


def find_scans(folder: PathLike) -> List[Path]:
    """The scans in a folder, for batch work, sorted by name.

    These are the image files directly in it and each immediate subfolder that contains
    DICOM, at any depth.  Hidden files and Slicer segmentations (.seg.nrrd) are left out.

    Raises:
        ImageError: `folder` is not a folder or cannot be listed.
    """
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                # Unlike entry.is_dir(), this does not raise for a link that points to itself.
                if os.path.isdir(entry.path):
                    if is_dicom_folder(entry.path):
                        found.append(Path(entry.path))
                elif suffix_of(entry.name, READABLE_SUFFIXES) and not suffix_of(entry.name, (_SEGMENTATION_SUFFIX,)):
                    found.append(Path(entry.path))
    except OSError as error:
        raise ImageError(f"{shown(folder)} cannot be listed as a folder: {error.strerror}") from error
    return sorted(found)


def check_output_path(path: PathLike, suffixes: Sequence[str]) -> str:
    """Fails early, rather than after hours of work, if a file could not be written.

    Args:
        path: the file to be written.
        suffixes: the allowed suffixes, `LABEL_SUFFIXES` or `IMAGE_SUFFIXES`.

    Returns:
        The suffix that the name ends with, in lower case.

    Raises:
        ImageError: the suffix is unknown, the folder does not exist or is not writable, or
            `path` is a folder.
    """
    suffix = suffix_of(path, suffixes)
    if not suffix:
        raise ImageError(f"{shown(path)}: the output's file name must end with {', '.join(suffixes)}")
    check_output_folder(path)
    return suffix


def check_output_folder(path: PathLike) -> None:
    """Fails early, rather than after hours of work, if a file with any suffix could not be written.

    Raises:
        ImageError: the folder does not exist or is not writable, or `path` is a folder.
    """
    if os.path.isdir(path):
        raise ImageError(f"{shown(path)} is a folder; give the name of the file to write")
    try:
        os.lstat(path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise ImageError(f"{shown(path)} is too long for a file name; choose a shorter one") from error
    except ValueError as error:
        raise ImageError(f"{shown(path)} contains a null character; choose another name") from error
    if os.path.exists(path) and not os.access(path, os.W_OK, effective_ids=_EFFECTIVE):
        raise ImageError(f"{shown(path)} is write-protected; choose another name, or remove the protection")
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise ImageError(f"{shown(path)}: its folder does not exist; create it first")
    try:
        # Creating a file is the only reliable test: permission bits say nothing about
        # read-only mounts, and do not apply to an administrator.
        with tempfile.TemporaryFile(dir=folder):
            pass
        remove_stale(folder)
    except OSError as error:
        raise ImageError(f"{shown(path)}: its folder is not writable: {error.strerror}; choose another") from error


def walk_files(folder: PathLike, *, nested: bool = True, closed: Optional[List[str]] = None) -> Iterable[str]:
    """Every file below a folder in a fixed order; links are followed, and no folder is visited twice.

    Args:
        folder: the folder.
        nested: also search its subfolders.
        closed: is filled with the folders that cannot be opened.
    """
    seen = set()

    def missed(error: OSError) -> None:
        if closed is not None:
            closed.append(str(error.filename))

    for root, folders, files in os.walk(folder, followlinks=True, onerror=missed):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if nested and not name.startswith("."))
        yield from (os.path.join(root, name) for name in sorted(files) if not name.startswith("."))
