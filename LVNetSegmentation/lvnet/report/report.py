"""From an evaluation's result and its files to the page."""

from __future__ import annotations

import datetime
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

from ..evaluation import matched_files
from ..evaluation.matching import titled
from ..evaluation.settings import Settings, recipe_names
from ..evaluation.workers import run_all
from ..progress import CancelCheck, Progress, never_cancelled, silent
from .content import Content
from .page import page
from .pictures import Pictures, PictureTask, draw
from .rows import Row, metrics_of, rows_of
from .scan import find_images

PathLike = Union[str, "os.PathLike[str]"]


def write_report(
    result: Mapping[str, Any],
    prediction: PathLike,
    reference: PathLike,
    path: PathLike,
    *,
    label: Optional[int] = None,
    labels: Optional[str] = None,
    reference_set: Optional[str] = None,
    weights: Optional[PathLike] = None,
    threshold: Optional[float] = None,
    resample: bool = False,
    images: Optional[PathLike] = None,
    title: str = "Evaluation of segmentations",
    jobs: int = 1,
    dated: bool = True,
    progress: Progress = silent,
    cancelled: CancelCheck = never_cancelled,
) -> None:
    """Writes a result of :func:`~lvnet.evaluation.evaluate` or :func:`~lvnet.evaluation.evaluate_folders` as a page.

    The label maps are read again, a case at a time, for the pictures: of every case the three axial
    slices with the largest disagreement, of the worst case both surfaces, coloured by their distance.

    Args:
        result: the result.
        prediction: the file or the folder that it was made from.
        reference: the same.
        path: the HTML file to write, whole or not at all; an existing one is replaced.
        label: as it was given for the result.
        labels: as they were given for the result.
        reference_set: as it was given for the result.
        weights: as they were given for the result.
        threshold: as it was given for the result.
        resample: as it was given for the result.
        images: the scans behind the outlines: a folder with a scan for each case, by the same name;
            for a single pair also the scan itself.  None takes a file named `ct` (`ct.nii.gz` and
            the like) in a case's own folder, where there is one; cases without a scan show masks.
        title: of the page.
        jobs: processes that draw at a time; each holds one case in memory.
        dated: whether the page says when it was made.
        progress: told the share of cases that are drawn.
        cancelled: asked before each case.

    Raises:
        ImageError: the file cannot be written there, or there are no scans in `images`.
        Cancelled: `cancelled` answered True.
    """
    from ..image_io import output_name
    from ..image_io.write import atomic_file

    prediction, reference = Path(prediction), Path(reference)
    folders = "cases" in result
    single = output_name(prediction)
    rows = rows_of(result, single)
    files = matched_files(prediction, reference) if folders else {single: (prediction, reference)}
    files = {name: pair for name, pair in files.items() if any(row.case == name for row in rows)}
    scans, notes = find_images(None if images is None else Path(images), files, folders)
    settings = Settings(
        result["preset"], label, resample, labels=labels, reference_set=reference_set, threshold=threshold,
        recipe=recipe_names(weights),
    )  # fmt: skip
    tasks = _tasks(rows, files, scans, settings)
    pictures: Dict[str, Pictures]
    pictures, undrawn = run_all(draw, tasks, {name: f"drawing {name}" for name in tasks}, jobs, progress, cancelled)
    progress(1.0, "drawn")
    other = result.get("comparison")
    content = Content(
        title=title,
        when=datetime.datetime.now().strftime("%Y-%m-%d %H:%M") if dated else "",
        prediction=_name(prediction),
        reference=_name(reference),
        result=result,
        rows=rows,
        metrics=metrics_of(result, rows),
        pictures=pictures,
        undrawn=undrawn,
        notes=notes,
        other_rows=rows_of({"cases": other["other_cases"]}, "") if other else (),
    )
    with atomic_file(path) as file:
        file.write(page(content).encode("utf-8"))


def _tasks(
    rows: List[Row], files: Mapping[str, Tuple[Path, Path]], scans: Mapping[str, Path], settings: Settings
) -> Dict[str, PictureTask]:
    """One a case that has something to show, in the order of the cases."""
    mapped = _mapped(rows)
    tasks = {}
    for name, pair in files.items():
        labels = tuple(row.label for row in rows if row.case == name)
        surfaces = tuple(label for case, label in mapped if case == name)
        # Several label values as keys: the cases together may have settled what this one leaves open.
        numbered = len(labels) > 1 and all(label is not None and titled(label) != label for label in labels)
        asked = replace(settings, by_value=numbered)
        tasks[name] = PictureTask(*pair, scans.get(name), asked, labels, surfaces)
    return tasks


def _mapped(rows: List[Row]) -> List[Tuple[str, Optional[str]]]:
    """The worst case of each label whose surfaces have a distance, unless they are the same."""
    found: Dict[Optional[str], str] = {}
    for row in rows:
        if row.number("mssd_mm"):
            found.setdefault(row.label, row.case)
    return [(case, label) for label, case in found.items()]


def _name(path: Path) -> str:
    """A file's or folder's own name, without where it lies."""
    return path.resolve().name
