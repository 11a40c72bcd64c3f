"""Many scans at once: which result goes where."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import List, Optional, Sequence, Set, Tuple, Union

from .errors import ConfigurationError, ImageError
from .image_io import IMAGE_SUFFIXES, LABEL_SUFFIXES, check_output_path, find_scans, output_name
from .image_io.dicom_header import read_dicom_header
from .image_io.names import shown


def plan_folder(source: Union[str, Path], target: Union[str, Path], suffix: str) -> List[Tuple[Path, Path]]:
    """The scans of a folder, and the file that each result goes to.

    Args:
        source: a folder of images, or of folders of DICOM.
        target: a folder, made if it is not there.
        suffix: of the results, one of `LABEL_SUFFIXES`.

    Raises:
        LVNetError: nothing to segment, or nothing can be written there.
    """
    source, target = Path(source), Path(target)
    if suffix not in LABEL_SUFFIXES:
        raise ConfigurationError(f"results can be {' '.join(LABEL_SUFFIXES)}, not {suffix!r}")
    if not os.path.isdir(source):
        raise ImageError(f"{source} is no folder; choose the folder that holds the scans")
    scans = find_scans(source)
    if not scans:
        raise ImageError(f"{source} holds neither DICOM nor scans ({' '.join(IMAGE_SUFFIXES)})")
    try:
        target.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name holds a null character"
        raise ImageError(f"cannot make the output folder {target}: {reason}; choose another") from error
    jobs = [(scan, target / f"{name}{suffix}") for scan, name in zip(scans, distinct_names(scans))]
    for _, file in jobs:
        check_output_path(file, LABEL_SUFFIXES)
    refuse_overwriting(scans, [file for _, file in jobs])
    return jobs


def refuse_overwriting(scans: Sequence[Path], outputs: Sequence[Path], what: str = "the scan itself") -> None:
    """Fails where a result would take the place of a scan, whatever links or spellings hide that.

    Args:
        scans: files, or folders of DICOM.
        outputs: the files to be written.
        what: would be lost, for the message.

    Raises:
        ConfigurationError: an output is a scan, a slice of one, or another output.
    """
    taken = {key for key in map(_identity, scans) if key is not None}
    seen: Set[str] = set()
    for output in outputs:
        real = os.path.realpath(output)
        if _identity(output) in taken or (_lies_in(real, scans) and _is_slice(real)):
            raise ConfigurationError(f"{shown(output)} is {what}, which would be lost; choose another output")
        if real in seen:
            raise ConfigurationError(f"two results would both be written to {shown(output)}; give each its own file")
        seen.add(real)


def _identity(path: Path) -> Optional[Tuple[int, int]]:
    """What is the same for two names of one file; None for a folder, or where nothing is there."""
    try:
        facts = os.stat(path)
    except (OSError, ValueError):
        return None
    return None if stat.S_ISDIR(facts.st_mode) else (facts.st_dev, facts.st_ino)


def _lies_in(real: str, folders: Sequence[Path]) -> bool:
    return any(
        os.path.isdir(folder) and real.startswith(os.path.join(os.path.realpath(folder), "")) for folder in folders
    )


def _is_slice(path: str) -> bool:
    """Whether a file is DICOM other than a segmentation, which an earlier run may have written there."""
    header = read_dicom_header(path)
    return header is not None and header.fields["modality"].upper() != "SEG"


def distinct_names(scans: List[Path]) -> List[str]:
    """A name for each result; scans of one name, such as case1/ct.nii.gz, take their folder's."""
    names = [output_name(scan) for scan in scans]
    resolved = [Path(os.path.realpath(scan)) for scan in scans]
    if len(set(names)) < len(names):
        names = [f"{path.parent.name}_{name}" if names.count(name) > 1 else name for path, name in zip(resolved, names)]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigurationError(f"two inputs would both be written as {twice}; segment them into different folders")
    return names
