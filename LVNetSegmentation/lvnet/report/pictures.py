"""Drawing the pictures of one case, possibly in another process."""

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
    """What to draw for one case.

    Attributes:
        prediction: label map's file.
        reference: the reference's file.
        scan: file or DICOM folder, or None.
        settings: the settings of the evaluation.
        labels: the keys of the comparisons to draw; None means the only one.
        mapped: the keys of those that also get a surface-distance map.
    """

    prediction: Path
    reference: Path
    scan: Optional[Path]
    settings: Settings
    labels: Tuple[Optional[str], ...]
    mapped: Tuple[Optional[str], ...] = ()


@dataclass
class Pictures:
    """The pictures of one case.

    Attributes:
        slices: (SVG, caption as HTML) by label.
        maps: surface-distance maps by label.
        on_scan: whether the slices show the scan.
        notes: sentences as plain text, never as HTML.
    """

    slices: Dict[Optional[str], List[Tuple[str, str]]] = field(default_factory=dict)
    maps: Dict[Optional[str], DistanceMap] = field(default_factory=dict)
    on_scan: bool = False
    notes: List[str] = field(default_factory=list)


def draw(task: PictureTask) -> Pictures:
    """Draws one case.

    Raises:
        LVNetError: a label map can no longer be read.
    """
    pair = load_pair(task.prediction, task.reference, task.settings)
    grid, orientation = to_canonical(pair.prediction)
    maps = grid.array, orientation.apply(pair.reference.array)
    pictures = Pictures()
    backdrop = _backdrop(task.scan, grid, pictures)
    by_key = {comparison.key: comparison for comparison in pair.comparisons}
    for label in task.labels:
        # A single comparison without a label has no key.
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
        pictures.notes.append("the scan is not shown: it does not overlap with the label maps")
        return None
    if not backdrop.same_grid:
        pictures.notes.append("the scan has another grid than the prediction and was interpolated for the pictures")
    pictures.on_scan = True
    return backdrop


def _draw_map(
    pictures: Pictures, label: Optional[str], one: np.ndarray, other: np.ndarray, grid: Volume, preset: str
) -> None:
    try:
        pictures.maps[label] = distance_map(one, other, grid, preset)
    except LVNetError as error:
        pictures.notes.append(f"there is no surface-distance map: {error}")
