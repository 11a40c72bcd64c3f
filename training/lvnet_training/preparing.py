"""Checking a data set before training: a report with all cases, pictures, and unusable ones."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from lvnet.anatomy import WRONG, Limits
from lvnet.errors import GeometryError, ImageError
from lvnet.files import write_whole
from lvnet.recipe import Recipe
from lvnet.report.document import document
from lvnet.report.parts import picture, sentences, text_table
from lvnet.report.png import png
from lvnet.report.portrait import portrait
from lvnet.scanchecks import NOTE, check_input
from lvnet.volume import Volume

from .case import Case
from .dataset import cached_case, left_out
from .sources import Source

#: Plausible mean HU of soft organs with and without contrast; otherwise the label may be misplaced.
_ORGAN_HU = Limits((-20.0, 260.0), (-20.0, 260.0))

#: Pixels of the sides of one view in a picture.
_SIDE = 280
_HEADS = ("case", "z, y, x", "spacing (mm)", "labelled (ml)", "HU", "mean HU labelled", "remarks")
_CSS = "td:last-child { white-space: normal; text-align: left; overflow-wrap: anywhere; }"


@dataclass(frozen=True)
class Row:
    """A usable case in the report; lengths in mm, volumes in ml, values in HU.

    Attributes:
        volumes: by class name.
        means: mean HU by class name; without classes that do not occur.
        remarks: warnings; the case is used nevertheless.
    """

    name: str
    shape: Tuple[int, ...]
    spacing: Tuple[float, ...]
    lowest: int
    highest: int
    volumes: Mapping[str, float]
    means: Mapping[str, float]
    remarks: Tuple[str, ...]


def prepare(
    sources: Sequence[Source],
    cache: Path,
    report: Optional[Path] = None,
    recipe: Optional[Recipe] = None,
    labels: Optional[Mapping[int, str]] = None,
    pictures: bool = True,
    done: Callable[[Row], None] = lambda _: None,
) -> Tuple[List[Row], List[str]]:
    """Checks every case, fills the cache and writes the report.

    Args:
        report: folder for index.html with a picture of each case, and report.json; None writes none.
        recipe: of the network to be trained: its classes and their anatomy; None is for the liver.
        labels: from the configuration.
        pictures: draw the labels on every scan.
        done: called after every usable case.

    Returns:
        The usable cases, and a sentence for each that was left out.
    """
    wanted = Recipe() if recipe is None else recipe
    rows: List[Row] = []
    refused: List[str] = []
    drawn: Dict[str, bytes] = {}
    for source in sources:
        try:
            case = cached_case(source, cache, wanted.classes, labels)
        except (GeometryError, ImageError) as error:
            refused.append(left_out(source, error))
            continue
        if report is not None and pictures:
            drawn[case.name] = _picture(case)
        rows.append(describe(case, wanted))
        done(rows[-1])
    if report is not None:
        _write(report, rows, refused, drawn)
    return rows, refused


def describe(case: Case, recipe: Recipe) -> Row:
    """The report's row of a case."""
    voxel = float(np.prod(case.spacing)) / 1000
    volumes: Dict[str, float] = {}
    means: Dict[str, float] = {}
    image, label = np.asarray(case.image), np.asarray(case.label)
    remarks = [f.sentence for f in check_input(Volume(image, case.spacing), recipe) if f.severity != NOTE]
    for number, organ in enumerate(recipe.classes, start=1):
        values = image[label == number]
        volumes[organ.name] = round(len(values) * voxel, 1)
        if len(values):
            means[organ.name] = round(float(values.mean()), 1)
            known = recipe.expects.of(organ.value)
            usual = _ORGAN_HU if known is None or known.median_hu is None else known.median_hu
            if usual.verdict(float(values.mean())) == WRONG:
                remarks.append(
                    f"the mean within {organ.name} is {values.mean():.0f} HU: check the position of the label"
                )
    if not label.any():
        remarks.append("no voxel is labelled: used as a scan that does not show the organ")
    lowest, highest = int(image.min()), int(image.max())
    return Row(case.name, case.image.shape, case.spacing, lowest, highest, volumes, means, tuple(remarks))


def _picture(case: Case) -> bytes:
    scan = Volume(np.asarray(case.image), case.spacing)
    return png(portrait(scan, scan.with_array(np.asarray(case.label)), body=False, side=_SIDE))


def _write(report: Path, rows: Sequence[Row], refused: Sequence[str], drawn: Mapping[str, bytes]) -> None:
    report.mkdir(parents=True, exist_ok=True)
    lines = [
        (
            row.name,
            " x ".join(map(str, row.shape)),
            " x ".join(f"{step:.2f}" for step in row.spacing),
            ", ".join(f"{volume:.0f}" for volume in row.volumes.values()),
            f"{row.lowest} to {row.highest}",
            ", ".join(f"{mean:.0f}" for mean in row.means.values()) or "-",
            "; ".join(row.remarks),
        )
        for row in rows
    ]
    parts = [
        sentences("Left out", refused),
        f"<h2>Cases ({len(rows)})</h2>",
        text_table(_HEADS, lines, "cases"),
        "<h2>Pictures</h2>" if drawn else "",
        *(picture(data, "the labels on the scan, in three planes", name) for name, data in drawn.items()),
    ]
    lead = f'<p class="lead">{len(rows)} cases ready, {len(refused)} left out</p>'
    page = document("Data set", lead, parts, "For research; not a medical device.", _CSS)
    data = json.dumps({"cases": [asdict(row) for row in rows], "left_out": list(refused)}, indent=2)
    for name, text in (("index.html", page), ("report.json", data)):
        write_whole(report / name, text.encode("utf-8", "backslashreplace"))
