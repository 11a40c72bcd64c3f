"""Batches of scans: which result goes to which file."""

from __future__ import annotations

import os
import stat
from collections import Counter
from pathlib import Path
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple, Union

from .errors import ConfigurationError, ImageError
from .image_io import IMAGE_SUFFIXES, LABEL_SUFFIXES, check_output_path, output_name
from .image_io.dicom_header import read_dicom_header
from .image_io.dicom_seg import SEG_SUFFIX, load_highdicom
from .image_io.names import shown
from .inputs import Inputs, LeftOut, Scan, find_inputs

#: File types of results: label maps, or DICOM SEG for DICOM input.
OUTPUT_SUFFIXES = (*LABEL_SUFFIXES, SEG_SUFFIX)


class Job(NamedTuple):
    """One scan and its output files.

    Attributes:
        scan: what is segmented.
        target: the file for the labels.
        maps: files for the probabilities and the uncertainty, by name; only those that are wanted.
    """

    scan: Scan
    target: Path
    maps: Mapping[str, Path] = {}


class Plan(NamedTuple):
    """The scans to segment.

    Attributes:
        jobs: in their order.
        left_out: inputs that are not segmented, and why.
        batch: whether the results go to a folder, whatever their number.
    """

    jobs: List[Job]
    left_out: List[LeftOut]
    batch: bool

    def left_out_entries(self) -> List[Dict[str, Optional[str]]]:
        """The inputs that are not segmented, as entries for the JSON output."""
        return [{"input": str(one.path), "output": None, "left_out": one.reason} for one in self.left_out]

    def summary(self, failed: int) -> str:
        """A one-line summary of all inputs."""
        done = len(self.jobs) - failed
        total = len(self.jobs) + len(self.left_out)
        parts = [f"{done} done"] + ([f"{failed} failed"] if failed else [])
        reasons = Counter(one.reason for one in self.left_out)
        parts += [f"{count} left out because {reason}" for reason, count in sorted(reasons.items())]
        return f"{total} input{'' if total == 1 else 's'}: {', '.join(parts)}"


def plan_folder(source: Union[str, Path], target: Union[str, Path], suffix: str) -> Plan:
    """The scans of a folder, and the output file of each.

    Args:
        source: a folder of images, or of DICOM folders.
        target: a folder, created if necessary.
        suffix: of the results, one of `OUTPUT_SUFFIXES`.

    Raises:
        LVNetError: there is nothing to segment, or the folder is not writable.
    """
    source, target = Path(source), Path(target)
    if suffix not in OUTPUT_SUFFIXES:
        raise ConfigurationError(f"the results' file type must be one of {' '.join(OUTPUT_SUFFIXES)}, not {suffix!r}")
    if not os.path.isdir(source):
        raise ImageError(f"{source} is not a folder; choose the folder that contains the scans")
    found = _inputs_of(source)
    return Plan(_into_folder(found.scans, target, suffix), found.left_out, True)


def plan(inputs: Sequence[str], output: str, suffix: str, maps: Optional[Mapping[str, str]] = None) -> Plan:
    """The scans in files and folders, and the output files of each, for `lvnet segment`.

    Args:
        inputs: scans, DICOM folders, folders of scans.
        output: a file for one scan, a folder for several.
        suffix: of the results in a folder.
        maps: files for the probabilities and the uncertainty of one scan, or folders for those of several, by name;
            a folder may be that of the results.

    Raises:
        LVNetError: an input or the output cannot be used.
    """
    if suffix not in OUTPUT_SUFFIXES:
        raise ConfigurationError(f"--format must be one of {' '.join(OUTPUT_SUFFIXES)}, not {suffix!r}")
    target = Path(output)
    wanted = {name: Path(path) for name, path in (maps or {}).items()}
    is_file = target.name.lower().endswith(OUTPUT_SUFFIXES) and not os.path.isdir(target)
    scans: List[Scan] = []
    left_out: List[LeftOut] = []
    batch = len(inputs) > 1
    for given in map(Path, inputs):
        if not os.path.isdir(given):
            scans.append(Scan(given, output_name(given)))
            continue
        found = _inputs_of(given)
        one = len(found.scans) == 1 and found.scans[0].files is None and os.path.isdir(found.scans[0].path)
        if one and (is_file or found.scans[0].path == given):
            scans.append(Scan(given, output_name(given)))  # a folder of DICOM, at whatever depth
        else:
            scans += found.scans
            batch = True
        left_out += found.left_out
    if is_file and len(scans) == 1 and len(inputs) == 1:
        check_output_path(target, OUTPUT_SUFFIXES)
        refuse_overwriting([scans[0].path], [target])
        return Plan([Job(scans[0], target, wanted)], left_out, False)
    if is_file:
        raise ConfigurationError(f"{len(scans)} scans need an output folder, not the file {target}")
    if target.suffix and not os.path.isdir(target) and not output.endswith(("/", "\\")) and not batch:
        # A mistyped suffix must not quietly become a folder.
        check_output_path(target, OUTPUT_SUFFIXES)
    if not batch and wanted:  # one scan by its own name, into a folder
        jobs = [job._replace(maps=wanted) for job in _into_folder(scans, target, suffix)]
        return Plan(jobs, left_out, batch)
    return Plan(_into_folder(scans, target, suffix, wanted), left_out, batch)


def _inputs_of(folder: Path) -> Inputs:
    found = find_inputs(folder)
    if not found.scans:
        raise ImageError(f"{folder} contains neither DICOM nor scans ({' '.join(IMAGE_SUFFIXES)})")
    return found


def _into_folder(
    scans: Sequence[Scan], target: Path, suffix: str, maps: Optional[Mapping[str, Path]] = None
) -> List[Job]:
    if suffix == SEG_SUFFIX:
        load_highdicom()
    wanted = maps or {}
    for name, folder in wanted.items():
        if folder.name.lower().endswith(IMAGE_SUFFIXES) and not os.path.isdir(folder):
            raise ConfigurationError(
                f"the {name} of several scans need a folder, not the file {shown(folder)}; give --{name} a folder"
            )
    for folder in (target, *wanted.values()):
        _make_folder(folder)
    # What is no label map cannot be written as one.
    soft = suffix if suffix in IMAGE_SUFFIXES else ".nrrd"
    jobs = [
        Job(scan, target / f"{name}{suffix}", {key: into / f"{name}_{key}{soft}" for key, into in wanted.items()})
        for scan, name in zip(scans, distinct_names(scans))
    ]
    for job in jobs:
        check_output_path(job.target, OUTPUT_SUFFIXES)
        for path in job.maps.values():
            check_output_path(path, IMAGE_SUFFIXES)
    refuse_overwriting(
        [scan.path for scan in scans], [path for job in jobs for path in (job.target, *job.maps.values())]
    )
    return jobs


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name holds a null character"
        raise ImageError(f"cannot make the output folder {folder}: {reason}; choose another") from error


def refuse_overwriting(scans: Sequence[Path], outputs: Sequence[Path], what: str = "the scan itself") -> None:
    """Fails if a result would overwrite a scan, even through links or another spelling of its path.

    Args:
        scans: files, or DICOM folders.
        outputs: the files to be written.
        what: what would be lost, for the message.

    Raises:
        ConfigurationError: an output is a scan, a slice of one, or another output.
    """
    taken = {key for key in map(_identity, scans) if key is not None}
    # Looked at once: for thousands of scans, asking for each output whether each scan is a folder takes minutes.
    folders = {os.path.realpath(scan) for scan in scans if os.path.isdir(scan)}
    seen: Set[str] = set()
    for output in outputs:
        real = os.path.realpath(output)
        if _identity(output) in taken or (_lies_in(real, folders) and _is_slice(real)):
            raise ConfigurationError(f"{shown(output)} is {what}, which would be overwritten; choose another output")
        if real in seen:
            raise ConfigurationError(f"two results would both be written to {shown(output)}; give each its own file")
        seen.add(real)


def _identity(path: Path) -> Optional[Tuple[int, int]]:
    """An identity that all names of one file share; None for a folder, or if it does not exist."""
    try:
        facts = os.stat(path)
    except (OSError, ValueError):
        return None
    return None if stat.S_ISDIR(facts.st_mode) else (facts.st_dev, facts.st_ino)


def _lies_in(real: str, folders: Set[str]) -> bool:
    """Whether any folder above a path is one of these; all without links."""
    above = os.path.dirname(real)
    while above not in folders:
        if above == os.path.dirname(above):
            return False
        above = os.path.dirname(above)
    return True


def _is_slice(path: str) -> bool:
    """Whether a file is DICOM but not a segmentation (which an earlier run may have written there)."""
    header = read_dicom_header(path)
    return header is not None and header.fields["modality"].upper() != "SEG"


def distinct_names(scans: Sequence[Scan]) -> List[str]:
    """A name for each result; scans with the same name, such as case1/ct.nii.gz, are named after their folder."""
    names = [scan.name for scan in scans]
    resolved = [Path(os.path.realpath(scan.path)) for scan in scans]
    if len(set(names)) < len(names):
        names = [f"{path.parent.name}_{name}" if names.count(name) > 1 else name for path, name in zip(resolved, names)]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigurationError(f"two inputs would both be written as {twice}; segment them into different folders")
    return names


def is_dicom_seg(target: Path) -> bool:
    """Whether a result of this name is a DICOM SEG."""
    return target.name.lower().endswith(SEG_SUFFIX)
