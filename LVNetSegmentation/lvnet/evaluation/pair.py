"""Scoring one prediction."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np

from ..errors import ConfigurationError, GeometryError, ImageError
from ..metrics import Metrics, compare
from ..metrics.bits import Box, bounding_box, union
from ..metrics.presets import preset_named
from ..volume import Volume
from .grids import on_one_grid

PathLike = Union[str, "os.PathLike[str]"]
#: Metrics by label value; the key None stands for "no label occurs in either".
Scores = Dict[Optional[int], Metrics]

#: A label map with more values than this is taken for an image given by mistake.
MOST_LABELS = 100


@dataclass(frozen=True)
class Settings:
    """What is asked of every pair; the fields are those of :func:`evaluate`."""

    preset: str = "lits"
    label: Optional[int] = None
    resample: bool = False
    hd95: bool = False
    surface_dice_tolerance_mm: Optional[float] = None

    def check(self) -> None:
        """Refuses settings that make no sense before anything is read.

        Raises:
            ConfigurationError: no such preset, label 0, or no tolerance.
        """
        preset_named(self.preset)
        if self.label == 0:
            raise ConfigurationError("label 0 is the background; give the value of an organ")
        tolerance = self.surface_dice_tolerance_mm
        if tolerance is not None and not (math.isfinite(tolerance) and tolerance >= 0):
            raise ConfigurationError(f"a tolerance of {tolerance} mm makes no sense; give 0 or more")


def evaluate(
    prediction: Union[PathLike, Volume],
    reference: Union[PathLike, Volume],
    *,
    preset: str = "lits",
    label: Optional[int] = None,
    resample: bool = False,
    hd95: bool = False,
    surface_dice_tolerance_mm: Optional[float] = None,
) -> Dict[str, Any]:
    """Scores one prediction.

    Args:
        prediction: a label map's file, or a volume.
        reference: the same.
        preset: whose definitions of the metrics to take, a name from `lvnet.metrics.PRESETS`.
        label: the one label value to score; None scores every value but 0 that occurs in either.
        resample: bring the reference to the prediction's grid (nearest neighbour), made larger to hold
            both, where the two differ by more than whole voxels; otherwise that is an error.
        hd95: also the 95th percentile of the surface distances, `hd95_mm`.
        surface_dice_tolerance_mm: also the share of both surfaces within this distance of each
            other, `surface_dice`; the distance stands beside it under this name.

    Returns:
        Valid JSON: with one label the numbers of :meth:`lvnet.metrics.Metrics.to_dict` (`dice`,
        `voe`, `rvd`, `absolute_rvd`, `assd_mm`, `mssd_mm`, `prediction_ml`, `reference_ml`,
        `preset`); with several, one such object a label under `labels`, keyed by the value as a
        string, and `preset`.  `notes`, where there is something to say, is a list of sentences.

    Raises:
        ImageError: a file cannot be read or is no label map.
        GeometryError: the grids differ and `resample` is False.
        ConfigurationError: no such preset, label 0, or a negative tolerance.
    """
    settings = Settings(preset, label, resample, hd95, surface_dice_tolerance_mm)
    settings.check()
    scores, notes = score(prediction, reference, settings)
    return written(scores, notes, settings)


def score(
    prediction: Union[PathLike, Volume], reference: Union[PathLike, Volume], settings: Settings
) -> Tuple[Scores, List[str]]:
    """What :func:`evaluate` computes: metrics by label value, and notes."""
    pair = load_pair(prediction, reference, settings)
    scores: Scores = {}
    values: Sequence[Optional[int]] = pair.values or (None,)
    for value in values:
        one, other = pair.masks(value)
        scores[value] = compare(
            one,
            other,
            pair.prediction.spacing,
            preset=settings.preset,
            hd95=settings.hd95,
            surface_dice_tolerance_mm=settings.surface_dice_tolerance_mm,
        )
    return scores, pair.notes


@dataclass(frozen=True)
class Pair:
    """A prediction and its reference on one grid.

    Attributes:
        prediction: label map.
        reference: label map on the same grid.
        box: part of the grid that holds every label, and one voxel around it.
        values: the label values to score; empty where neither holds any.
        notes: what there is to say.
    """

    prediction: Volume
    reference: Volume
    box: Box
    values: List[int]
    notes: List[str]

    def masks(self, value: Optional[int]) -> Tuple[np.ndarray, np.ndarray]:
        """(z, y, x) bool within the box: where the prediction and the reference have the value."""
        one, other = self.prediction.array[self.box], self.reference.array[self.box]
        return (one != 0, other != 0) if value is None else (one == value, other == value)


def load_pair(prediction: Union[PathLike, Volume], reference: Union[PathLike, Volume], settings: Settings) -> Pair:
    """Reads both and brings them to one grid.

    Raises:
        ImageError: a file cannot be read or is no label map.
        GeometryError: the grids differ and `settings.resample` is False.
    """
    predicted, referred = _label_map(prediction, "prediction"), _label_map(reference, "reference")
    notes = [*predicted.notes, *(note for note in referred.notes if note not in predicted.notes)]
    predicted, referred, note = on_one_grid(predicted, referred, settings.resample)
    notes.extend(note)

    box = _with_rim(union(bounding_box(predicted.array), bounding_box(referred.array)), predicted.shape)
    one, other = predicted.array[box], referred.array[box]
    if settings.label is not None:
        values, extra = [settings.label], []
        if not (one == settings.label).any() and not (other == settings.label).any():
            extra = [f"label {settings.label} occurs in neither"]
    else:
        in_one, in_other = _values(one, "prediction"), _values(other, "reference")
        values, extra = sorted(in_one | in_other), _about_values(in_one, in_other)
    return Pair(predicted, referred, box, values, [*notes, *extra])


def written(scores: Scores, notes: Sequence[str], settings: Settings, several: Optional[bool] = None) -> Dict[str, Any]:
    """The JSON object of one pair; `several` says whether to use `labels` (None: by their number)."""
    result: Dict[str, Any]
    if None not in scores and (several or (several is None and len(scores) > 1)):
        labels = {str(value): _plain(metrics, settings) for value, metrics in scores.items() if value is not None}
        result = {"preset": settings.preset, "labels": labels}
    else:
        (metrics,) = scores.values()
        result = _plain(metrics, settings)
    if notes:
        result["notes"] = list(notes)
    return result


def _plain(metrics: Metrics, settings: Settings) -> Dict[str, Any]:
    result = metrics.to_dict()
    if settings.surface_dice_tolerance_mm is not None:
        result["surface_dice_tolerance_mm"] = settings.surface_dice_tolerance_mm
    return result


def _label_map(source: Union[PathLike, Volume], role: str) -> Volume:
    if not isinstance(source, Volume):
        from ..image_io import read_labels
        from ..image_io.given import given_volume

        source = given_volume(source, f"the {role}", read_labels)
    array = source.array
    if array.ndim != 3:
        raise GeometryError(f"the {role} has {array.ndim} dimensions; a 3D label map is needed")
    if array.dtype != np.bool_ and not np.issubdtype(array.dtype, np.integer):
        raise ImageError(
            f"the {role} is no label map: it holds {array.dtype} values; give whole numbers, one for each organ"
        )
    return source


def _values(array: np.ndarray, role: str) -> set[int]:
    """The label values but 0, plane by plane, so that an image is noticed soon."""
    found: set[int] = set()
    for plane in array:
        found.update(int(value) for value in np.unique(plane[plane != 0]))
        if len(found) > MOST_LABELS:
            raise ImageError(
                f"the {role} is no label map: it holds more than {MOST_LABELS} different values; "
                "give the segmentation rather than the scan"
            )
    return found


def _about_values(prediction: set[int], reference: set[int]) -> List[str]:
    if prediction and reference and not prediction & reference:
        return [
            f"the prediction holds label {_listed(prediction)} and the reference label {_listed(reference)}: "
            "they have no value in common, so nothing can overlap"
        ]
    return []


def _listed(values: set[int]) -> str:
    return ", ".join(str(value) for value in sorted(values))


def _with_rim(box: Optional[Box], shape: Tuple[int, int, int]) -> Box:
    """The box and one voxel around it, so that only the image's own border is a border."""
    if box is None:
        return slice(0, 1), slice(0, 1), slice(0, 1)
    z, y, x = (slice(max(0, side.start - 1), min(size, side.stop + 1)) for side, size in zip(box, shape))
    return z, y, x
