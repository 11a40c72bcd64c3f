"""Cases for training: folders with a scan and its label, checked, and kept ready in a cache."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, List, Optional, Sequence, Tuple, Union

import numpy as np
from lvnet.errors import GeometryError, ImageError
from lvnet.image_io import read_image, read_labels
from lvnet.orientation import to_canonical
from lvnet.volume import Volume

#: HU beyond these are clipped in the cache: no window of interest reaches farther.
CACHE_RANGE = (-1024, 1024)


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


def find_cases(folder: Union[str, Path]) -> List[Path]:
    """The case folders, sorted by name, that hold `ct.nii.gz` and `liver.nii.gz`.

    Raises:
        ImageError: there is none.
    """
    cases = sorted(p.parent for p in Path(folder).glob("*/ct.nii.gz") if (p.parent / "liver.nii.gz").exists())
    if not cases:
        raise ImageError(f"no case in {folder}: a case is a folder with ct.nii.gz and liver.nii.gz")
    return cases


def make_case(name: str, scan: Volume, label: Volume, classes: int = 2) -> Case:
    """Checks a scan with its label and brings both to canonical orientation.

    Raises:
        GeometryError: the grids differ.
        ImageError: the label holds values beyond the classes.
    """
    if not scan.same_grid(label):
        raise GeometryError(f"{name}: scan and label lie on different grids; resample the label onto the scan")
    highest = int(label.array.max(initial=0))
    if highest >= classes or int(label.array.min(initial=0)) < 0:
        raise ImageError(f"{name}: the label holds the value {highest}, but there are {classes} classes from 0")
    moved, orientation = to_canonical(scan)
    image = np.clip(moved.array, *CACHE_RANGE).astype(np.int16)
    values = np.ascontiguousarray(orientation.apply(label.array)).astype(np.uint8)
    return Case(name, np.ascontiguousarray(image), values, moved.spacing, _box(values), classes)


def _box(values: np.ndarray) -> Optional[Tuple[Tuple[int, ...], Tuple[int, ...]]]:
    touched = [np.flatnonzero(values.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    if any(len(t) == 0 for t in touched):
        return None
    return tuple(int(t[0]) for t in touched), tuple(int(t[-1]) for t in touched)


def cached_case(folder: Path, cache: Path, classes: int = 2) -> Case:
    """One case by way of the cache; the cache is refreshed when the files behind it change."""
    scan, label = folder / "ct.nii.gz", folder / "liver.nii.gz"
    stamps = [(str(p.resolve()), p.stat().st_mtime_ns, p.stat().st_size) for p in (scan, label)]
    key = hashlib.sha256(json.dumps([stamps, classes, CACHE_RANGE]).encode()).hexdigest()[:16]
    return cached(folder.name, cache / f"{folder.name}-{key}", lambda: (read_image(scan), read_labels(label)), classes)


def cached(name: str, target: Path, make: Callable[[], Tuple[Volume, Volume]], classes: int = 2) -> Case:
    """The case stored in the folder `target`, made and stored first where it is not there."""
    description = target / "case.json"
    if not description.exists():
        case = make_case(name, *make(), classes)
        target.mkdir(parents=True, exist_ok=True)
        np.save(target / "image.npy", case.image)
        np.save(target / "label.npy", case.label)
        # Written last: a cache that was interrupted is made again.
        description.write_text(json.dumps({"spacing": case.spacing, "box": case.box}), encoding="utf-8")
    facts = json.loads(description.read_text(encoding="utf-8"))
    return Case(
        name,
        np.load(target / "image.npy", mmap_mode="r"),
        np.load(target / "label.npy", mmap_mode="r"),
        tuple(facts["spacing"]),
        None if facts["box"] is None else (tuple(facts["box"][0]), tuple(facts["box"][1])),
        classes,
    )


def load_cases(folders: Sequence[Path], cache: Path, classes: int = 2) -> Tuple[List[Case], List[str]]:
    """All usable cases, and a sentence for each that was left out."""
    cases, refused = [], []
    for folder in folders:
        try:
            cases.append(cached_case(folder, cache, classes))
        except (GeometryError, ImageError) as error:
            refused.append(f"{folder.name} is left out: {error}")
    return cases, refused
