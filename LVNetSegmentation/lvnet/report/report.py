"""Making the page from an evaluation's result and its files."""

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
    """Writes a report of a result of :func:`~lvnet.evaluation.evaluate` or
    :func:`~lvnet.evaluation.evaluate_folders`.

    The label maps are read again, one case at a time, for the pictures: for every case the three axial
    slices with the largest disagreement, for the worst case both surfaces, coloured by their distance.

    Args:
        result: the result.
        prediction: the predictions' file or folder.
        reference: the references' file or folder.
        path: the HTML file to write, completely or not at all; an existing one is replaced.
        label: as given for the result.
        labels: as given for the result.
        reference_set: as given for the result.
        weights: as given for the result.
        threshold: as given for the result.
        resample: as given for the result.
        images: the scans behind the outlines: a folder with a scan for each case under the same name;
            for a single pair also the scan itself.  None takes a file named `ct` (`ct.nii.gz` and
            the like) in a case's own folder, if there is one; cases without a scan show masks.
        title: the page's title.
        jobs: number of parallel processes; each has one case in memory.
        dated: whether the page contains its date.
        progress: called with the fraction of cases drawn.
        cancelled: called before each case.

    Raises:
        ImageError: the file cannot be written, or there are no scans in `images`.
        Cancelled: `cancelled` returned True.
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
    """One drawing task for each case with something to show, in the order of the cases."""
    mapped = _mapped(rows)
    tasks = {}
    for name, pair in files.items():
        labels = tuple(row.label for row in rows if row.case == name)
        surfaces = tuple(label for case, label in mapped if case == name)
        # Several label values as keys: the cases together may have resolved what is ambiguous in this one.
        numbered = len(labels) > 1 and all(label is not None and titled(label) != label for label in labels)
        asked = replace(settings, by_value=numbered)
        tasks[name] = PictureTask(*pair, scans.get(name), asked, labels, surfaces)
    return tasks


def _mapped(rows: List[Row]) -> List[Tuple[str, Optional[str]]]:
    """The worst case of each label that has two different surfaces."""
    found: Dict[Optional[str], str] = {}
    for row in rows:
        if row.number("mssd_mm"):
            found.setdefault(row.label, row.case)
    return [(case, label) for label, case in found.items()]


def _name(path: Path) -> str:
    """The name of a file or folder without its path."""
    return path.resolve().name
