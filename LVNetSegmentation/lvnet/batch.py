"""Many scans at once: which result goes where."""

from __future__ import annotations

from pathlib import Path
from typing import List, Tuple, Union

from .errors import ConfigurationError, ImageError
from .image_io import IMAGE_SUFFIXES, LABEL_SUFFIXES, check_output_path, find_scans, output_name


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
    if not source.is_dir():
        raise ImageError(f"{source} is no folder; choose the folder that holds the scans")
    scans = find_scans(source)
    if not scans:
        raise ImageError(f"{source} holds neither DICOM nor scans ({' '.join(IMAGE_SUFFIXES)})")
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(f"cannot make the output folder {target}: {error.strerror}; choose another") from error
    jobs = [(scan, target / f"{name}{suffix}") for scan, name in zip(scans, distinct_names(scans))]
    for _, file in jobs:
        check_output_path(file, LABEL_SUFFIXES)
    return jobs


def distinct_names(scans: List[Path]) -> List[str]:
    """A name for each result; scans of one name, such as case1/ct.nii.gz, take their folder's."""
    names = [output_name(scan) for scan in scans]
    resolved = [scan.resolve() for scan in scans]
    if len(set(names)) < len(names):
        names = [f"{path.parent.name}_{name}" if names.count(name) > 1 else name for path, name in zip(resolved, names)]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigurationError(f"two inputs would both be written as {twice}; segment them into different folders")
    return names
