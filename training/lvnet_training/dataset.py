"""Cases for training: scans with their labels, checked, and kept ready in a cache."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from lvnet.errors import GeometryError, ImageError, ResourceError
from lvnet.files import passing_folder
from lvnet.image_io import read_image, read_labels
from lvnet.orientation import to_canonical
from lvnet.recipe import LIVER, LabelClass
from lvnet.volume import Volume

from .labels import label_map, to_classes
from .sources import Source

#: HU beyond these are clipped in the cache: no window of interest reaches farther.
CACHE_RANGE = (-1024, 1024)
#: A scan whose values span less was normalised or is no CT.
LEAST_HU_RANGE = 100


@dataclass(frozen=True, eq=False)
class Case:
    """A scan and its label in canonical orientation, (z, y, x), memory-mapped from the cache.

    Attributes:
        image: int16 HU.
        label: uint8 class values.
        spacing: (z, y, x) mm.
        box: first and last voxel of the organ along (z, y, x); None where there is none.
        classes: classes including background.
    """

    name: str
    image: np.ndarray
    label: np.ndarray
    spacing: Tuple[float, float, float]
    box: Optional[Tuple[Tuple[int, ...], Tuple[int, ...]]]
    classes: int = 2


def make_case(
    name: str, scan: Volume, label: Volume, classes: int = 2, labels: Optional[Mapping[int, int]] = None
) -> Case:
    """Checks a scan with its label and brings both to canonical orientation.

    Args:
        classes: classes including background.
        labels: class by value of the label; None where the values are the classes.

    Raises:
        GeometryError: the grids differ.
        ImageError: the label holds unknown values, or the scan cannot be a CT in HU.
    """
    if not scan.same_grid(label):
        raise GeometryError(f"{name}: scan and label lie on different grids; resample the label onto the scan")
    mapping = {value: value for value in range(classes)} if labels is None else labels
    moved, orientation = to_canonical(scan)
    values = np.ascontiguousarray(to_classes(name, orientation.apply(label.array), mapping))
    low, high = float(moved.array.min()), float(moved.array.max())
    if not np.isfinite(low + high) or high - low < LEAST_HU_RANGE:
        raise ImageError(f"{name}: the scan's values run from {low:g} to {high:g}, which cannot be a CT in HU")
    image = np.clip(moved.array, *CACHE_RANGE).astype(np.int16)
    return Case(name, np.ascontiguousarray(image), values, moved.spacing, _box(values), classes)


def _box(values: np.ndarray) -> Optional[Tuple[Tuple[int, ...], Tuple[int, ...]]]:
    touched = [np.flatnonzero(values.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    if any(len(t) == 0 for t in touched):
        return None
    return tuple(int(t[0]) for t in touched), tuple(int(t[-1]) for t in touched)


def cached_case(source: Source, cache: Path, classes: Sequence[LabelClass] = (LIVER,),
                labels: Optional[Mapping[int, str]] = None) -> Case:  # fmt: skip
    """One case by way of the cache; the cache is refreshed when the files behind it change.

    Args:
        classes: of the configuration.
        labels: of the configuration, see :func:`.labels.label_map`.

    Raises:
        GeometryError, ImageError: the case cannot be used.
        ConfigurationError: classes and labels of the data set have nothing in common.
    """
    scan, label = pair_of(source)
    mapping = label_map(labels or {}, classes, source.label_names)
    stamps = [(str(p.resolve()), p.stat().st_mtime_ns, p.stat().st_size) for p in (scan, label)]
    place = hashlib.sha256(json.dumps([p[0] for p in stamps]).encode()).hexdigest()[:8]
    files = hashlib.sha256(json.dumps(stamps).encode()).hexdigest()[:8]
    key = hashlib.sha256(json.dumps([sorted(mapping.items()), CACHE_RANGE]).encode()).hexdigest()[:8]
    # What the same files held before they were changed is of no use any more.
    for old in cache.glob(f"{glob.escape(source.name)}-{place}-*"):
        if not old.name.startswith(f"{source.name}-{place}-{files}"):
            shutil.rmtree(old, ignore_errors=True)
    count = len(classes) + 1
    return cached(
        source.name,
        cache / f"{source.name}-{place}-{files}-{key}",
        lambda: make_case(source.name, read_image(scan), read_labels(label), count, mapping),
        count,
    )


def pair_of(source: Source) -> Tuple[Path, Path]:
    """The files of a case.

    Raises:
        ImageError: one of them is missing.
    """
    if source.problem:
        raise ImageError(f"{source.name}: {source.problem}")
    return source.scan, source.label


def cached(name: str, target: Path, make: Callable[[], Case], classes: int = 2) -> Case:
    """The case stored in the folder `target`, made and stored first where it is not there."""
    description = target / "case.json"
    if not description.exists():
        _store(make(), target)
    facts = json.loads(description.read_text(encoding="utf-8"))
    return Case(
        name,
        np.load(target / "image.npy", mmap_mode="r"),
        np.load(target / "label.npy", mmap_mode="r"),
        tuple(facts["spacing"]),
        None if facts["box"] is None else (tuple(facts["box"][0]), tuple(facts["box"][1])),
        classes,
    )


def _store(case: Case, target: Path) -> None:
    """Writes a case beside its place and moves it there, since several processes may do so at once."""
    target.parent.mkdir(parents=True, exist_ok=True)
    needed, free = case.image.nbytes + case.label.nbytes, shutil.disk_usage(target.parent).free
    if needed > free:
        raise ResourceError(
            f"the cache {target.parent} has {free / 1e9:.1f} GB left, and {case.name} takes {needed / 1e9:.1f} GB; give"
            " another --cache"
        )
    try:
        with passing_folder(target.parent) as temporary:
            np.save(temporary / "image.npy", case.image)
            np.save(temporary / "label.npy", case.label)
            text = json.dumps({"spacing": case.spacing, "box": case.box})
            (temporary / "case.json").write_text(text, encoding="utf-8")
            if target.exists() and not (target / "case.json").exists():
                shutil.rmtree(target, ignore_errors=True)
            with contextlib.suppress(OSError):
                # Fails where another process was faster; its files are the same.
                os.replace(temporary, target)
        if not (target / "case.json").exists():
            raise ResourceError(f"cannot write the cache {target}; is the disk full?")
    except OSError as error:
        raise ResourceError(f"cannot write the cache {target}: {error.strerror or error}") from error


def load_cases(sources: Sequence[Source], cache: Path, classes: Sequence[LabelClass] = (LIVER,),
               labels: Optional[Mapping[int, str]] = None) -> Tuple[List[Case], List[str]]:  # fmt: skip
    """All usable cases, and a sentence for each that was left out."""
    cases, refused = [], []
    for source in sources:
        try:
            cases.append(cached_case(source, cache, classes, labels))
        except (GeometryError, ImageError) as error:
            refused.append(left_out(source, error))
    return cases, refused


def left_out(source: Source, error: Exception) -> str:
    """The sentence about a case that is not used."""
    return f"{source.name} is left out: {str(error).removeprefix(source.name + ': ')}"
