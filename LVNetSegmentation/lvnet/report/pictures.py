"""The pictures of one case, made in whichever process has time."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import numpy as np

from ..errors import LVNetError
from ..evaluation.pair import Settings, load_pair
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
        labels: the values to draw; None stands for the only one.
        mapped: the values of which a surface-distance map is wanted too.
    """

    prediction: Path
    reference: Path
    scan: Optional[Path]
    settings: Settings
    labels: Tuple[Optional[int], ...]
    mapped: Tuple[Optional[int], ...] = ()


@dataclass
class Pictures:
    """What was drawn of one case.

    Attributes:
        slices: (SVG, caption as HTML) by label value.
        maps: surface-distance maps by label value.
        on_scan: whether the slices show the scan.
        notes: what there is to say about it, by no means as HTML.
    """

    slices: Dict[Optional[int], List[Tuple[str, str]]] = field(default_factory=dict)
    maps: Dict[Optional[int], DistanceMap] = field(default_factory=dict)
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
    for label in task.labels:
        value = pair.values[0] if label is None and pair.values else label
        one, other = ((array != 0) if value is None else (array == value) for array in maps)
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
    pictures: Pictures, label: Optional[int], one: np.ndarray, other: np.ndarray, grid: Volume, preset: str
) -> None:
    try:
        pictures.maps[label] = distance_map(one, other, grid, preset)
    except LVNetError as error:
        pictures.notes.append(f"there is no surface-distance map: {error}")
