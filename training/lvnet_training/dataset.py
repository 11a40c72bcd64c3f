"""Training cases: scans with their labels, checked and stored in a cache."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Callable, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from lvnet.errors import GeometryError, ImageError, ResourceError
from lvnet.files import passing_folder
from lvnet.image_io import read_image, read_labels
from lvnet.recipe import LIVER, LabelClass

from .case import CACHE_RANGE, Case, Grid, make_case
from .gridding import gridded
from .labels import label_map
from .sources import Source


def cached_case(source: Source, cache: Path, classes: Sequence[LabelClass] = (LIVER,),
                labels: Optional[Mapping[int, str]] = None, grid: Optional[Grid] = None) -> Case:  # fmt: skip
    """One case from the cache, which is updated if the case's files have changed.

    Args:
        classes: from the configuration.
        labels: from the configuration, see :func:`.labels.label_map`.
        grid: from the configuration, see :mod:`.gridding`; None keeps the scan's own voxels.

    Raises:
        GeometryError, ImageError: the case cannot be used.
        ConfigurationError: classes and labels of the data set have nothing in common.
    """
    scan, label = pair_of(source)
    mapping = label_map(labels or {}, classes, source.label_names)
    stamps = [(str(p.resolve()), p.stat().st_mtime_ns, p.stat().st_size) for p in (scan, label)]
    place = hashlib.sha256(json.dumps([p[0] for p in stamps]).encode()).hexdigest()[:8]
    files = hashlib.sha256(json.dumps(stamps).encode()).hexdigest()[:8]
    settings: List[object] = [sorted(mapping.items()), CACHE_RANGE]
    key = hashlib.sha256(json.dumps(settings if grid is None else [*settings, grid]).encode()).hexdigest()[:8]
    # Remove entries of earlier versions of the same files.
    for old in cache.glob(f"{glob.escape(source.name)}-{place}-*"):
        if not old.name.startswith(f"{source.name}-{place}-{files}"):
            shutil.rmtree(old, ignore_errors=True)
    count = len(classes) + 1
    return cached(
        source.name,
        cache / f"{source.name}-{place}-{files}-{key}",
        lambda: gridded(make_case(source.name, read_image(scan), read_labels(label), count, mapping), grid),
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
    """The case in the cache folder `target`, which is created if necessary."""
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
        bool(facts.get("shares", False)),
    )


def _store(case: Case, target: Path) -> None:
    """Writes a case to a temporary folder and renames it, since several processes may do so at once."""
    target.parent.mkdir(parents=True, exist_ok=True)
    needed, free = case.image.nbytes + case.label.nbytes, shutil.disk_usage(target.parent).free
    if needed > free:
        raise ResourceError(
            f"the cache {target.parent} has {free / 1e9:.1f} GB left, {case.name} needs {needed / 1e9:.1f} GB; choose"
            " another --cache"
        )
    try:
        with passing_folder(target.parent) as temporary:
            np.save(temporary / "image.npy", case.image)
            np.save(temporary / "label.npy", case.label)
            text = json.dumps({"spacing": case.spacing, "box": case.box, "shares": case.shares})
            (temporary / "case.json").write_text(text, encoding="utf-8")
            if target.exists() and not (target / "case.json").exists():
                shutil.rmtree(target, ignore_errors=True)
            with contextlib.suppress(OSError):
                # Fails if another process was faster; its files are the same.
                os.replace(temporary, target)
        if not (target / "case.json").exists():
            raise ResourceError(f"cannot write the cache {target}; is the disk full?")
    except OSError as error:
        raise ResourceError(f"cannot write the cache {target}: {error.strerror or error}") from error


def load_cases(sources: Sequence[Source], cache: Path, classes: Sequence[LabelClass] = (LIVER,),
               labels: Optional[Mapping[int, str]] = None,
               grid: Optional[Grid] = None) -> Tuple[List[Case], List[str]]:  # fmt: skip
    """All usable cases, and a sentence for each that was left out."""
    cases, refused = [], []
    for source in sources:
        try:
            cases.append(cached_case(source, cache, classes, labels, grid))
        except (GeometryError, ImageError) as error:
            refused.append(left_out(source, error))
    return cases, refused


def left_out(source: Source, error: Exception) -> str:
    """The sentence about a case that is left out."""
    return f"{source.name} is left out: {str(error).removeprefix(source.name + ': ')}"
