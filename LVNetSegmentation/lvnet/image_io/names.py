"""What files are called: suffixes, the scans in a folder, names of outputs."""

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

#: File names that :func:`~lvnet.image_io.read_image` takes, besides DICOM.
READABLE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
#: File names that :func:`~lvnet.image_io.write_image` takes.
IMAGE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")
#: File names that :func:`~lvnet.image_io.write_labels` takes; .seg.nrrd comes before .nrrd.
LABEL_SUFFIXES = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".mha")

# Who the process acts as, where the system can tell, rather than who started it.
_EFFECTIVE = os.access in os.supports_effective_ids
_SEGMENTATION_SUFFIX = ".seg.nrrd"


def shown(path: PathLike) -> str:
    """The path as the user gave it, on one line whatever it holds."""
    return "".join(c if c.isprintable() else "?" for c in os.fspath(path))


def suffix_of(path: PathLike, suffixes: Sequence[str]) -> str:
    """The first of `suffixes` that the name ends with, in lower case, or an empty string."""
    name = os.path.basename(os.fspath(path)).lower()
    return next((suffix for suffix in suffixes if name.endswith(suffix) and name != suffix), "")


def output_name(path: PathLike) -> str:
    """The stem that the outputs of a scan are named after.

    Args:
        path: a file (`ct.nii.gz` gives `ct`) or a folder of DICOM (the folder's own name).
    """
    plain = Path(path)
    name = plain.name if plain.name not in ("", "..") else os.path.basename(os.path.realpath(plain))
    suffix = suffix_of(name, (_SEGMENTATION_SUFFIX, *READABLE_SUFFIXES, ".dcm", ".ima"))
    return (name[: -len(suffix)] if suffix and not os.path.isdir(plain) else name) or "scan"


def check_name(path: PathLike) -> None:
    """Fails where ITK could not be given a name: its libraries end the whole process then.

    Raises:
        ImageError: the name's bytes are no UTF-8.
    """
    try:
        os.fspath(path).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ImageError(f"{shown(path)}: its name is not written in UTF-8; rename the file or its folder") from error


def is_dicom_folder(path: PathLike, *, nested: bool = True) -> bool:
    """Whether a folder holds at least one DICOM file.

    Args:
        path: anything; what is not a folder gives False.
        nested: look into its subfolders as well.
    """
    return os.path.isdir(path) and any(looks_like_dicom(file) for file in walk_files(path, nested=nested))


def find_scans(folder: PathLike) -> List[Path]:
    """The scans in a folder, for batch work, sorted by name.

    These are the image files that lie directly in it and each immediate subfolder that holds
    DICOM, at whatever depth.  Hidden files and Slicer segmentations (.seg.nrrd) are left out.

    Raises:
        ImageError: `folder` is not a folder or cannot be listed.
    """
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                # Unlike entry.is_dir(), this is no error for a link that leads to itself.
                if os.path.isdir(entry.path):
                    if is_dicom_folder(entry.path):
                        found.append(Path(entry.path))
                elif suffix_of(entry.name, READABLE_SUFFIXES) and not suffix_of(entry.name, (_SEGMENTATION_SUFFIX,)):
                    found.append(Path(entry.path))
    except OSError as error:
        raise ImageError(f"{shown(folder)} cannot be listed as a folder: {error.strerror}") from error
    return sorted(found)


def check_output_path(path: PathLike, suffixes: Sequence[str]) -> str:
    """Fails before hours of work when a file could not be written at the end.

    Args:
        path: the file to be written.
        suffixes: what its name may end with: `LABEL_SUFFIXES` or `IMAGE_SUFFIXES`.

    Returns:
        The suffix that the name ends with, in lower case.

    Raises:
        ImageError: the suffix is unknown, the folder does not exist or takes no new files, or
            `path` is a folder.
    """
    suffix = suffix_of(path, suffixes)
    if not suffix:
        raise ImageError(f"{shown(path)}: the name of the output must end with {', '.join(suffixes)}")
    check_output_folder(path)
    return suffix


def check_output_folder(path: PathLike) -> None:
    """Fails before hours of work when a file, of whatever name, could not be written at the end.

    Raises:
        ImageError: the folder does not exist or takes no new files, or `path` is a folder.
    """
    if os.path.isdir(path):
        raise ImageError(f"{shown(path)} is a folder; give the name of a file to write")
    try:
        os.lstat(path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise ImageError(f"{shown(path)} is too long for the name of a file; choose a shorter one") from error
    except ValueError as error:
        raise ImageError(f"{shown(path)} holds a null character; choose another name") from error
    if os.path.exists(path) and not os.access(path, os.W_OK, effective_ids=_EFFECTIVE):
        raise ImageError(f"{shown(path)} is write-protected; choose another name, or lift the protection")
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise ImageError(f"{shown(path)}: the folder to write it to does not exist; create it first")
    try:
        # Asking the file system is the only honest answer: permission bits say nothing of
        # read-only mounts, and nothing at all to an administrator.
        with tempfile.TemporaryFile(dir=folder):
            pass
        remove_stale(folder)
    except OSError as error:
        raise ImageError(f"{shown(path)}: the folder takes no new files: {error.strerror}; choose another") from error


def walk_files(folder: PathLike, *, nested: bool = True, closed: Optional[List[str]] = None) -> Iterable[str]:
    """Every file below a folder in a settled order; links are followed, no folder is seen twice.

    Args:
        folder: where to begin.
        nested: look into its subfolders as well.
        closed: gets the folders that may not be looked into.
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
