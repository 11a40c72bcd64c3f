"""Rebuilding the folder of training scans from downloaded data sets, and verifying it against the manifest.

The result is DATA/train/CASE and DATA/val/CASE, each with ct.nii.gz and liver.nii.gz.  A case is complete
or absent, and an existing one is not built again.  Voxels are compared by checksums that do not depend on
the file's compression or the order of its axes.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from lvnet.errors import ConfigurationError, GeometryError, ImageError, ResourceError
from lvnet.files import passing_folder, sha256_of, write_whole
from lvnet.image_io import write_image, write_labels
from lvnet.recipe import LIVER

from .manifest import Entry, Facts, measure
from .originals import KNOWN, Downloads, Original, find_original
from .preparation_steps import take_steps

#: Written beside the files of a case: its sources, and the result of the comparison.
STAMP = "rebuilt.json"
#: Incremented when the same original would result in other voxels.
_VERSION = 1
_SAME, _OTHER, _NONE = "same voxels", "other voxels", "none"


@dataclass(frozen=True)
class Verdict:
    """The comparison of a case with the manifest.

    Attributes:
        made: whether the folder now contains it.
        scan, label: `same voxels`, `other voxels`, `none`; empty if nothing was built.
        liver_ml: volume of the label, None without one.
        manifest_ml: volume in the manifest.
        ratio: label voxels divided by those in the manifest, independent of an estimated spacing; None without label.
        remarks: why it differs, or why it is left out.
    """

    split: str
    case: str
    made: bool
    scan: str = ""
    label: str = ""
    liver_ml: Optional[float] = None
    manifest_ml: float = 0.0
    ratio: Optional[float] = None
    remarks: Tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """One line for the user."""
        words = [f"scan: {self.scan}", f"label: {self.label}"] if self.made else ["left out"]
        if self.made and self.liver_ml is not None and self.label != _SAME:
            words.append(f"{self.liver_ml:.0f} ml, manifest {self.manifest_ml:.0f} ml")
        if self.ratio is not None and self.label != _SAME:
            words.append(f"{self.ratio:.3f} of its label voxels")
        return f"{self.split}/{self.case}: " + "; ".join([*words, *self.remarks])


def rebuild(
    entries: Sequence[Entry],
    folders: Mapping[str, Path],
    data: Path,
    again: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> List[Verdict]:
    """Builds all possible cases, and writes DATA/rebuilt.csv.

    Args:
        entries: the entries of the manifest to build.
        folders: folders of the downloaded data sets, by the manifest's name of the source.
        data: the folder to build.
        again: rebuild existing cases too.
        say: called with one line per finished case.

    Returns:
        A verdict for every entry, in order.

    Raises:
        ConfigurationError: a source is unknown, or its folder does not exist.
        ResourceError: the disk is full, or read-only.
    """
    downloads: Dict[str, Downloads] = {}
    for source, folder in folders.items():
        if source not in KNOWN:
            raise ConfigurationError(f"{source!r} is not a source in the manifest; the sources are {', '.join(KNOWN)}")
        downloads[source] = Downloads(folder)
    verdicts = []
    for number, entry in enumerate(entries, start=1):
        verdicts.append(_case(entry, downloads, data / entry.split / entry.case, again))
        say(f"[{number}/{len(entries)}] {verdicts[-1].line}")
    if any(verdict.made for verdict in verdicts):
        _write_table(data / "rebuilt.csv", verdicts)
    return verdicts


def _case(entry: Entry, downloads: Mapping[str, Downloads], target: Path, again: bool) -> Verdict:
    try:
        if target.exists() and not (target / STAMP).exists():
            # The user's own files, or the manifest's scans themselves.
            return _found_there(entry, target)
        original, remarks = _original(entry, downloads)
        stamp = _stamp_of(entry, original)
        kept = _kept(target, stamp)
        if kept is not None and not again:
            return kept
        return _make(entry, original, remarks, target, stamp)
    except (GeometryError, ImageError) as error:
        return Verdict(entry.split, entry.case, False, manifest_ml=entry.made.liver_ml, remarks=(str(error),))


def _original(entry: Entry, downloads: Mapping[str, Downloads]) -> Tuple[Original, List[str]]:
    """The original, from its own source or from another one with the same scan."""
    problem = f"needs --from {_quoted(entry.source)}=FOLDER"
    for source, case in _places(entry):
        if source not in downloads:
            continue
        try:
            original = find_original(source, case, downloads[source])
        except (GeometryError, ImageError) as error:
            problem = str(error)
            continue
        return original, [] if source == entry.source else [f"from {source} {case}, the same scan with its own label"]
    raise ImageError(problem)


def _places(entry: Entry) -> Iterator[Tuple[str, str]]:
    yield entry.source, entry.source_case
    match = re.fullmatch(r"(\S+) (.+)", entry.same_scan_as)
    if match:
        yield match[1], match[2]


def _quoted(source: str) -> str:
    return f'"{source}"' if " " in source else source


def _make(entry: Entry, original: Original, remarks: Sequence[str], target: Path, stamp: str) -> Verdict:
    said = list(remarks)
    scan = original.read_scan()
    label = None
    if entry.label_origin.startswith("empty"):
        label = scan.with_array(np.zeros(scan.shape, np.uint8), notes=())
    elif original.label is not None:
        label, remark = original.read_label(scan)
        said += [remark] if remark else []
        if not _public_label(entry):
            said.append(f"the label differs: the manifest's was made {entry.label_origin}, and is not public")
    else:
        said.append(f"no label: the manifest's was made {entry.label_origin}, and is not available")
    pair = take_steps(entry.steps, scan, label)
    verdict = _compare(entry, measure(pair.scan, pair.label), said)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with passing_folder(target.parent) as temporary:
            write_image(pair.scan, temporary / "ct.nii.gz")
            if pair.label is not None:
                write_labels(pair.label, temporary / "liver.nii.gz", (LIVER,))
            files = {path.name: sha256_of(path) for path in sorted(temporary.iterdir())}
            text = json.dumps({"stamp": stamp, "files": files, "verdict": asdict(verdict)}, indent=2)
            (temporary / STAMP).write_text(text, encoding="utf-8")
            if target.exists():
                _check_own(target)
                shutil.rmtree(target)
            os.replace(temporary, target)
    except OSError as error:
        raise ResourceError(f"cannot write {target}: {error.strerror or error}") from error
    except ImageError as error:
        # A full disk does not concern this case only; the next ones would fail as well.
        if isinstance(error.__cause__, OSError):
            raise ResourceError(str(error)) from error
        raise
    return verdict


def _public_label(entry: Entry) -> bool:
    """Whether the original's label is the manifest's label."""
    return entry.label_origin.startswith("by hand") or entry.label_origin == "by TotalSegmentator v1"


def _compare(entry: Entry, found: Facts, said: Sequence[str]) -> Verdict:
    wanted = entry.made
    remarks = list(said)
    if found.size != wanted.size:
        sizes = (" x ".join(map(str, size)) for size in (found.size, wanted.size))
        remarks.append("its size is {}, in the manifest {}".format(*sizes))
    elif found.ct_digest != wanted.ct_digest and entry.hu != "true HU":
        remarks.append(f"the manifest's scan was made from pictures ({entry.hu})")
    elif found.ct_digest != wanted.ct_digest:
        remarks.append("the scan should be the same: check the case, and the version of the data set")
    if not np.allclose(found.spacing, wanted.spacing, rtol=2e-3):
        steps = (" x ".join(f"{step:.3f}" for step in spacing) for spacing in (found.spacing, wanted.spacing))
        remarks.append("its spacing is {} mm, in the manifest {}".format(*steps))
    labelled = bool(found.label_digest)
    return Verdict(
        entry.split,
        entry.case,
        True,
        _SAME if found.ct_digest == wanted.ct_digest else _OTHER,
        _NONE if not labelled else _SAME if found.label_digest == wanted.label_digest else _OTHER,
        round(found.liver_ml, 1) if labelled else None,
        wanted.liver_ml,
        round(found.label_voxels / wanted.label_voxels, 4) if labelled and wanted.label_voxels else None,
        tuple(remarks),
    )


def _found_there(entry: Entry, target: Path) -> Verdict:
    files = {target / "ct.nii.gz": entry.ct_sha256, target / "liver.nii.gz": entry.label_sha256}
    if all(path.is_file() and sha256_of(path) == digest for path, digest in files.items()):
        ml = entry.made.liver_ml
        return Verdict(entry.split, entry.case, True, _SAME, _SAME, ml, ml, None, ("existing files",))
    raise ImageError(f"{target} exists and was not made by this command; move it away")


def _stamp_of(entry: Entry, original: Original) -> str:
    """The inputs of a case: the manifest's row, and the files of the original."""
    files = []
    for path in (original.scan, original.label):
        inside = sorted(path.rglob("*")) if path is not None and path.is_dir() else [path]
        files += [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in inside if p is not None]
    facts = [_VERSION, asdict(entry), original.values, files]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _kept(target: Path, stamp: str) -> Optional[Verdict]:
    """The verdict of a case that was already built from the same inputs, and is complete."""
    try:
        kept = json.loads((target / STAMP).read_text(encoding="utf-8"))
        if kept["stamp"] != stamp or any(sha256_of(target / name) != sum_ for name, sum_ in kept["files"].items()):
            return None
        return Verdict(**{**kept["verdict"], "remarks": tuple(kept["verdict"]["remarks"])})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _check_own(target: Path) -> None:
    """Refuses to replace a folder that contains a user's file, such as a label for a scan without one."""
    try:
        own = {STAMP, *json.loads((target / STAMP).read_text(encoding="utf-8"))["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        own = {STAMP, "ct.nii.gz", "liver.nii.gz"}
    foreign = sorted(path.name for path in target.iterdir() if path.name not in own)
    if foreign:
        raise ImageError(
            f"{target} must be rebuilt but contains {foreign[0]}, which this command did not make; move it away"
        )


def _write_table(path: Path, verdicts: Sequence[Verdict]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = list(asdict(verdicts[0]))
    writer.writerow(names)
    for verdict in verdicts:
        values = asdict(verdict)
        values["remarks"] = "; ".join(verdict.remarks)
        writer.writerow(["" if values[name] is None else values[name] for name in names])
    write_whole(path, text.getvalue().encode("utf-8"))


def of_split(entries: Sequence[Entry], part: str) -> List[Entry]:
    """The entries of `train`, `val` or `both`."""
    return [entry for entry in entries if part in ("both", entry.split)]


def summary(verdicts: Sequence[Verdict], data: Path) -> str:
    """A one-line summary; an error if nothing was built.

    Raises:
        ImageError: no case could be built.
    """
    made = [verdict for verdict in verdicts if verdict.made]
    if not made:
        reason = verdicts[0].remarks[0] if verdicts else "the manifest does not contain such a case"
        raise ImageError(f"no case could be built: {reason}")
    same = sum(verdict.scan == _SAME and verdict.label == _SAME for verdict in made)
    bare = sum(verdict.label == _NONE for verdict in made)
    return (
        f"{len(made)} of {len(verdicts)} cases in {data}: {same} with exactly the manifest's voxels, {bare} without a"
        f" label; {len(verdicts) - len(made)} left out; {data / 'rebuilt.csv'} says why"
    )
