"""Checking a data set before training: a report with all cases, pictures, and unusable ones."""

from __future__ import annotations

import html
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from lvnet.errors import GeometryError, ImageError
from lvnet.files import write_whole
from lvnet.inputcheck import NOTE, check_input
from lvnet.recipe import LIVER, LabelClass
from lvnet.volume import Volume

from .case import Case
from .dataset import cached_case, left_out
from .sources import Source

#: Plausible mean HU of soft organs with and without contrast; otherwise the label may be misplaced.
_ORGAN_HU = (-20.0, 260.0)

_PAGE = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Data set</title>
<style>body{font-family:sans-serif;margin:2em}table{border-collapse:collapse}td,th{padding:.2em .7em;text-align:right;
border-bottom:1px solid #ccc}td:first-child,th:first-child,td:last-child,th:last-child{text-align:left}
img{max-width:100%%}</style>
<h1>Data set</h1><p>%(ready)d cases ready, %(refused)d left out.</p>%(left)s
<table><tr><th>case<th>z, y, x<th>spacing mm<th>labelled ml<th>HU<th>mean HU labelled<th>remarks</tr>
%(rows)s</table>
%(pictures)s</html>
"""


@dataclass(frozen=True)
class Row:
    """A usable case in the report; lengths in mm, volumes in ml, values in HU.

    Attributes:
        volumes: by class name.
        means: mean HU by class name; without classes that do not occur.
        remarks: warnings; the case is used nevertheless.
        picture: file beside the report, or empty.
    """

    name: str
    shape: Tuple[int, ...]
    spacing: Tuple[float, ...]
    lowest: int
    highest: int
    volumes: Mapping[str, float]
    means: Mapping[str, float]
    remarks: Tuple[str, ...]
    picture: str = ""


def prepare(
    sources: Sequence[Source],
    cache: Path,
    report: Optional[Path] = None,
    classes: Sequence[LabelClass] = (LIVER,),
    labels: Optional[Mapping[int, str]] = None,
    pictures: bool = True,
    done: Callable[[Row], None] = lambda _: None,
) -> Tuple[List[Row], List[str]]:
    """Checks every case, fills the cache and writes the report.

    Args:
        report: folder for index.html, report.json and one picture per case; None writes none.
        classes, labels: from the configuration.
        pictures: draw the labels on every scan.
        done: called after every usable case.

    Returns:
        The usable cases, and a sentence for each that was left out.
    """
    rows: List[Row] = []
    refused: List[str] = []
    for source in sources:
        try:
            case = cached_case(source, cache, classes, labels)
        except (GeometryError, ImageError) as error:
            refused.append(left_out(source, error))
            continue
        picture = _picture(case, report) if report is not None and pictures else ""
        rows.append(describe(case, classes, picture))
        done(rows[-1])
    if report is not None:
        _write(report, rows, refused)
    return rows, refused


def describe(case: Case, classes: Sequence[LabelClass], picture: str = "") -> Row:
    """The report's row of a case."""
    voxel = float(np.prod(case.spacing)) / 1000
    volumes: Dict[str, float] = {}
    means: Dict[str, float] = {}
    image, label = np.asarray(case.image), np.asarray(case.label)
    remarks = [f.sentence for f in check_input(Volume(image, case.spacing)) if f.severity != NOTE]
    for number, organ in enumerate(classes, start=1):
        values = image[label == number]
        volumes[organ.name] = round(len(values) * voxel, 1)
        if len(values):
            means[organ.name] = round(float(values.mean()), 1)
            if not _ORGAN_HU[0] <= values.mean() <= _ORGAN_HU[1]:
                remarks.append(
                    f"the mean within {organ.name} is {values.mean():.0f} HU: check the position of the label"
                )
    if not label.any():
        remarks.append("no voxel is labelled: used as a scan that does not show the organ")
    lowest, highest = int(image.min()), int(image.max())
    return Row(case.name, case.image.shape, case.spacing, lowest, highest, volumes, means, tuple(remarks), picture)


def _picture(case: Case, report: Path) -> str:
    from .pictures import overlay_picture

    report.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w.-]", "_", case.name) + ".png"
    scan = Volume(np.asarray(case.image), case.spacing)
    overlay_picture(scan, scan.with_array(np.asarray(case.label)), report / name, title=case.name)
    return name


def _write(report: Path, rows: Sequence[Row], refused: Sequence[str]) -> None:
    report.mkdir(parents=True, exist_ok=True)
    lines, pictures = [], []
    for row in rows:
        cells = (
            row.name,
            " x ".join(map(str, row.shape)),
            " x ".join(f"{step:.2f}" for step in row.spacing),
            ", ".join(f"{volume:.0f}" for volume in row.volumes.values()),
            f"{row.lowest} to {row.highest}",
            ", ".join(f"{mean:.0f}" for mean in row.means.values()) or "-",
            "; ".join(row.remarks),
        )
        lines.append("<tr>" + "".join(f"<td>{html.escape(cell)}" for cell in cells) + "</tr>")
        if row.picture:
            pictures.append(f'<h2>{html.escape(row.name)}</h2><img src="{html.escape(row.picture)}" alt="">')
    left = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in refused)
    page = _PAGE % {
        "ready": len(rows),
        "refused": len(refused),
        "left": left,
        "rows": "\n".join(lines),
        "pictures": "\n".join(pictures),
    }
    data = json.dumps({"cases": [asdict(row) for row in rows], "left_out": list(refused)}, indent=2)
    for name, text in (("index.html", page), ("report.json", data)):
        write_whole(report / name, text.encode("utf-8"))
