"""The pictures of one case, made in whichever process has time."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import numpy as np

from ..errors import LVNetError
from ..evaluation.pair import load_pair
from ..evaluation.settings import Settings
from ..orientation import to_canonical
from ..volume import Volume
from .distance_map import DistanceMap, distance_map
from .scan import Backdrop
from .slices import slice_figures


@dataclass(frozen=True)
class PictureTask:
    """What is to be drawn of one case.

    Attributes:
        prediction: label map's file.
        reference: the same.
        scan: file or folder of DICOM, or None.
        settings: those of the evaluation.
        labels: the keys of the comparisons to draw; None stands for the only one.
        mapped: the keys of those of which a surface-distance map is wanted too.
    """

    prediction: Path
    reference: Path
    scan: Optional[Path]
    settings: Settings
    labels: Tuple[Optional[str], ...]
    mapped: Tuple[Optional[str], ...] = ()


@dataclass
class Pictures:
    """What was drawn of one case.

    Attributes:
        slices: (SVG, caption as HTML) by label.
        maps: surface-distance maps by label.
        on_scan: whether the slices show the scan.
        notes: what there is to say about it, by no means as HTML.
    """

    slices: Dict[Optional[str], List[Tuple[str, str]]] = field(default_factory=dict)
    maps: Dict[Optional[str], DistanceMap] = field(default_factory=dict)
    on_scan: bool = False
    notes: List[str] = field(default_factory=list)


def draw(task: PictureTask) -> Pictures:
    """Draws one case.

    Raises:
        LVNetError: a label map cannot be read any more.
    """
    pair = load_pair(task.prediction, task.reference, task.settings)
    grid, orientation = to_canonical(pair.prediction)
    maps = grid.array, orientation.apply(pair.reference.array)
    pictures = Pictures()
    backdrop = _backdrop(task.scan, grid, pictures)
    by_key = {comparison.key: comparison for comparison in pair.comparisons}
    for label in task.labels:
        # A case alone in its folder's summary goes by no key.
        comparison = by_key.get(label, pair.comparisons[0])
        one, other = comparison.masks(*maps)
        pictures.slices[label] = slice_figures(one, other, grid, backdrop)
        if label in task.mapped:
            _draw_map(pictures, label, one, other, grid, task.settings.preset)
    return pictures


def _backdrop(scan: Optional[Path], grid: Volume, pictures: Pictures) -> Optional[Backdrop]:
    if scan is None:
        return None
    from ..image_io import read_image

    try:
        backdrop = Backdrop(read_image(scan), grid)
        middle = backdrop.plane(grid.shape[0] // 2, slice(0, grid.shape[1]), slice(0, grid.shape[2]))
    except LVNetError as error:
        pictures.notes.append(f"the scan is not shown: {error}")
        return None
    if middle is None:
        pictures.notes.append("the scan is not shown: it shows another place than the label maps")
        return None
    if not backdrop.same_grid:
        pictures.notes.append("the scan lies on another grid than the prediction and was interpolated for the pictures")
    pictures.on_scan = True
    return backdrop


def _draw_map(
    pictures: Pictures, label: Optional[str], one: np.ndarray, other: np.ndarray, grid: Volume, preset: str
) -> None:
    try:
        pictures.maps[label] = distance_map(one, other, grid, preset)
    except LVNetError as error:
        pictures.notes.append(f"there is no surface-distance map: {error}")
