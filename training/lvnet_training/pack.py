"""A pack: all scans of a run in one small file, for training on another computer.

A zip archive of `pack.json` and two NumPy arrays per case.  HU are clipped to the range that the run can use and
quantised; labels are fractions (see :mod:`.gridding`).  Every array is verified against its SHA-256 when it is read,
and nothing in the file is ever executed.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple

import numpy as np
from lvnet.errors import ConfigurationError, ImageError
from lvnet.files import whole_file
from lvnet.volume import Volume

from .case import FULL_SHARE, Case, Grid, box_of
from .config import Config
from .validation import Pair

#: The format's identifier in the file.
FORMAT, VERSION = "lvnet-training-pack", 1
#: Quantisation step of the stored values in HU.
STEP = 4
# Margin of air around the body in voxels, and the HU above which a voxel is not air.
_MARGIN, _AIR = 4, -150
TRAINING, VALIDATION = "training", "validation"
_LARGEST_JSON = 2**22
_MOST_VOXELS = 2**29


@dataclass(frozen=True)
class Pack:
    """The contents of a pack.

    Attributes:
        cases: training cases.
        pairs: validation scans and labels, on the grid.
        grid: (z, y, x) mm to which the cases were resampled.
    """

    cases: List[Case]
    pairs: List[Pair]
    grid: Grid


def reach(config: Config) -> Tuple[int, int]:
    """Lowest and highest HU that a run can use: its window, widened by the offset and contrast of augmentation."""
    low, high = config.preprocessing.window
    a = config.augmentation
    wider = (a.shift + a.contrast * (high - low)) / max(0.1, 1 - a.contrast)
    return int(np.floor(min(low - wider, a.floor[0]))), int(np.ceil(high + wider))


def write_pack(
    path: Path,
    training: Sequence[Case],
    validation: Sequence[Case],
    config: Config,
    on_case: Callable[[str], None] = lambda _: None,
) -> int:
    """Writes the cases of a run, already on the configuration's grid, completely or not at all.

    Args:
        on_case: called with the name of every case.

    Returns:
        The size of the file in bytes.

    Raises:
        ConfigurationError: the configuration has no grid, or two cases share a name.
    """
    if config.grid is None:
        raise ConfigurationError("a pack contains resampled scans; set `grid` in the configuration")
    names = [case.name for case in (*training, *validation)]
    if len(set(names)) < len(names):
        raise ConfigurationError("two cases have the same name; names must be unique in a pack")
    low, high = reach(config)
    entries: List[Dict[str, Any]] = []
    with whole_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_LZMA) as archive:
        for part, cases in ((TRAINING, training), (VALIDATION, validation)):
            for case in cases:
                on_case(case.name)
                image, shares = _cropped(case)
                stored = np.rint((np.clip(image, low, high) - low) / STEP).astype(np.uint8 if high - low < 1020
                                                                                   else np.uint16)  # fmt: skip
                sums = {}
                for kind, array in (("image", stored), ("label", shares)):
                    data = _bytes_of(array)
                    sums[kind] = hashlib.sha256(data).hexdigest()
                    archive.writestr(f"{len(entries)}-{kind}.npy", data)
                entries.append({"name": case.name, "part": part, "spacing": case.spacing, "sha256": sums})
        facts = {"format": FORMAT, "version": VERSION, "grid": config.grid, "low": low, "step": STEP,
                 "classes": [c.name for c in config.classes], "cases": entries}  # fmt: skip
        archive.writestr("pack.json", json.dumps(facts))
    return path.stat().st_size


def _cropped(case: Case) -> Tuple[np.ndarray, np.ndarray]:
    """HU and fractions in the bounding box of body and organ, with an in-plane margin; all slices are kept."""
    image, shares = np.asarray(case.image), np.asarray(case.label)
    box = box_of((image > _AIR) | (shares.max(axis=0) > 0))
    if box is None:
        return image, shares
    (_, y0, x0), (_, y1, x1) = box
    rows, columns = slice(max(0, y0 - _MARGIN), y1 + 1 + _MARGIN), slice(max(0, x0 - _MARGIN), x1 + 1 + _MARGIN)
    return image[:, rows, columns], shares[:, :, rows, columns]


def read_pack(path: Path, config: Config) -> Pack:
    """Reads a file that :func:`write_pack` wrote.

    Raises:
        ImageError: the file is damaged or not a pack.
        ConfigurationError: it was made for another grid or other classes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            facts = _facts(archive)
            cases, pairs = [], []
            for number, entry in enumerate(facts["cases"]):
                case = _case(archive, number, entry, facts)
                if entry["part"] == VALIDATION:
                    pairs.append(_pair(case, config))
                else:
                    cases.append(case)
    except (OSError, EOFError, KeyError, TypeError, ValueError, RuntimeError, RecursionError, NotImplementedError,
            zipfile.BadZipFile, zlib.error, LZMAError, MemoryError) as error:  # fmt: skip
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is damaged, or not a pack"
        raise ImageError(f"cannot read the pack {path}: {reason}") from error
    if list(facts["classes"]) != [c.name for c in config.classes]:
        raise ConfigurationError(f"the pack {path} was made for other classes: {', '.join(facts['classes'])}")
    grid = tuple(float(step) for step in facts["grid"])
    if config.grid is None or not np.allclose(grid, config.grid):
        shown = ", ".join(f"{step:g}" for step in grid)
        raise ConfigurationError(f"the pack {path} has another grid; set `grid: [{shown}]`")
    return Pack(cases, pairs, (grid[0], grid[1], grid[2]))


def _facts(archive: zipfile.ZipFile) -> Mapping[str, Any]:
    if archive.getinfo("pack.json").file_size > _LARGEST_JSON:
        raise ValueError("its list of cases is too long")
    facts = json.loads(archive.read("pack.json"))
    if (facts["format"], facts["version"]) != (FORMAT, VERSION):
        raise ValueError("another format")
    return dict(facts)


def _case(archive: zipfile.ZipFile, number: int, entry: Mapping[str, Any], facts: Mapping[str, Any]) -> Case:
    arrays = {}
    for kind in ("image", "label"):
        name = f"{number}-{kind}.npy"
        if archive.getinfo(name).file_size > _MOST_VOXELS:
            raise ValueError("a case is larger than any patient")
        data = archive.read(name)
        if hashlib.sha256(data).hexdigest() != entry["sha256"][kind]:
            raise ValueError(f"{name} has a wrong checksum")
        arrays[kind] = np.load(io.BytesIO(data), allow_pickle=False)
    stored, shares = arrays["image"], arrays["label"]
    classes = len(facts["classes"])
    if stored.ndim != 3 or shares.shape != (classes, *stored.shape) or shares.dtype != np.uint8:
        raise ValueError("scan and label do not belong together")
    image = (stored.astype(np.int16) * np.int16(facts["step"]) + np.int16(facts["low"])).astype(np.int16)
    z, y, x = (float(step) for step in entry["spacing"])
    if min(z, y, x) <= 0:
        raise ValueError("a spacing is not positive")
    box = box_of(shares.max(axis=0) > FULL_SHARE // 2)
    return Case(str(entry["name"]), image, shares, (z, y, x), box, classes + 1, shares=True)


def _pair(case: Case, config: Config) -> Pair:
    """Scan and label map on the grid, for validation."""
    labels = np.zeros(case.image.shape, np.uint8)
    everything = tuple(slice(0, side) for side in case.image.shape)
    for number, entry in enumerate(config.classes, start=1):
        labels[case.share(number, everything) > 0.5] = entry.value
    scan = Volume(case.image, case.spacing, name=case.name)
    return case.name, scan, scan.with_array(labels)


def _bytes_of(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()
