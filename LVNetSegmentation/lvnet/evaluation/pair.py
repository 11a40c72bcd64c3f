"""Evaluating one prediction."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Dict, FrozenSet, List, Mapping, Optional, Sequence, Set, Tuple, Union

import numpy as np

from ..boxes import Box, bounding_box, union
from ..errors import GeometryError, ImageError
from ..metrics import Metrics, compare
from ..recipe import LIVER
from ..volume import Segment, Volume
from .common_grid import on_one_grid
from .matching import Comparison, as_requested, by_value, match
from .reference_sets import reference_set
from .settings import Settings, recipe_names
from .sides import PathLike, Side, names_beside, side_of

#: Metrics by key of the comparison (see :class:`Comparison`); None if each side is one mask without a name.
Scores = Dict[Optional[str], Metrics]

#: A label map with more values than this is probably an image given by mistake.
MOST_LABELS = 255


def evaluate(
    prediction: Union[PathLike, Volume],
    reference: Union[PathLike, Volume],
    *,
    preset: str = "lits",
    label: Optional[int] = None,
    labels: Optional[str] = None,
    reference_set: Optional[str] = None,
    weights: Optional[PathLike] = None,
    threshold: Optional[float] = None,
    resample: bool = False,
    hd95: bool = False,
    surface_dice_tolerance_mm: Optional[float] = None,
) -> Dict[str, Any]:
    """Evaluates one prediction.

    Labels are matched by :mod:`lvnet.evaluation.matching`: as specified by `label` or `labels`,
    else by name, else by value; an ambiguous match is an error.

    Args:
        prediction: a label map's file, or a volume.
        reference: the same.
        preset: the definition of the metrics, a name from `lvnet.metrics.PRESETS`.
        label: evaluate only this label value, the same on both sides.
        labels: the comparisons, `PREDICTION=REFERENCE[,...]`, each side a label value or a
            name, or several joined by `+`, for example `1=5` or `liver=liver+tumour`.
        reference_set: the data set whose label values the reference uses, a name from
            `lvnet.evaluation.REFERENCE_SETS`.
        weights: the checkpoint that made the prediction; its recipe names the prediction's labels.
        threshold: probability threshold for a voxel to belong to the organ, if a file contains
            probabilities; None takes 0.5.
        resample: resample the reference to the prediction's grid (nearest neighbour), enlarged to contain
            both, if they differ by more than whole voxels; otherwise that is an error.
        hd95: also compute the 95th percentile of the surface distances, `hd95_mm`.
        surface_dice_tolerance_mm: also compute the fraction of both surfaces within this distance of
            each other, `surface_dice`; the result contains the distance under this name.

    Returns:
        Valid JSON: with one comparison the numbers of :meth:`lvnet.metrics.Metrics.to_dict` (`dice`,
        `voe`, `rvd`, `absolute_rvd`, `assd_mm`, `mssd_mm`, `prediction_ml`, `reference_ml`,
        `preset`); with several, one such object each under `labels`, keyed by the label value as a
        string or by the organ's name, and `preset`.  `notes`, if there are any, is a list of
        sentences.

    Raises:
        ImageError: a file cannot be read or is not a label map.
        GeometryError: the grids differ and `resample` is False.
        ConfigurationError: an unknown preset or reference set, label 0, a negative tolerance, or an
            ambiguous match of labels.
    """
    settings = Settings(
        preset, label, resample, hd95, surface_dice_tolerance_mm, labels, reference_set, threshold,
        recipe_names(weights),
    )  # fmt: skip
    settings.check()
    scores, notes, _ = score(prediction, reference, settings)
    return written(scores, notes, settings)


def score(
    prediction: Union[PathLike, Volume], reference: Union[PathLike, Volume], settings: Settings
) -> Tuple[Scores, List[str], Tuple[FrozenSet[int], FrozenSet[int]]]:
    """The results of :func:`evaluate`: metrics by comparison, notes, and the label values of both sides."""
    pair = load_pair(prediction, reference, settings)
    scores: Scores = {}
    for comparison in pair.comparisons:
        one, other = comparison.masks(pair.prediction.array[pair.box], pair.reference.array[pair.box])
        scores[comparison.key] = compare(
            one,
            other,
            pair.prediction.spacing,
            preset=settings.preset,
            hd95=settings.hd95,
            surface_dice_tolerance_mm=settings.surface_dice_tolerance_mm,
        )
    return scores, pair.notes, pair.values


@dataclass(frozen=True)
class Pair:
    """A prediction and its reference on one grid.

    Attributes:
        prediction: label map.
        reference: label map on the same grid.
        box: bounding box of all labels, with a margin of one voxel.
        comparisons: at least one.
        notes: sentences for the user.
        values: the label values that occur in the prediction, and in the reference.
    """

    prediction: Volume
    reference: Volume
    box: Box
    comparisons: List[Comparison]
    notes: List[str]
    values: Tuple[FrozenSet[int], FrozenSet[int]]


def load_pair(prediction: Union[PathLike, Volume], reference: Union[PathLike, Volume], settings: Settings) -> Pair:
    """Reads both and brings them to one grid.

    Raises:
        ImageError: a file cannot be read or is not a label map.
        GeometryError: the grids differ and `settings.resample` is False.
    """
    from ..image_io.segmentations import needs_grid

    if needs_grid(prediction):
        referred = _label_map(reference, "reference", settings)
        predicted = _label_map(prediction, "prediction", settings, referred)
    else:
        predicted = _label_map(prediction, "prediction", settings)
        referred = _label_map(reference, "reference", settings, predicted)
    notes = [*predicted.notes, *(note for note in referred.notes if note not in predicted.notes)]
    segments = predicted.segments, referred.segments
    predicted, referred, note = on_one_grid(predicted, referred, settings.resample)
    notes.extend(note)

    box = _with_rim(union(bounding_box(predicted.array), bounding_box(referred.array)), predicted.shape)
    left = _side("prediction", prediction, segments[0], predicted.array[box], dict(settings.recipe), notes)
    names = reference_set(settings.reference_set) if settings.reference_set is not None else {}
    right = _side("reference", reference, segments[1], referred.array[box], names, notes)
    comparisons, extra = _comparisons(left, right, settings)
    return Pair(predicted, referred, box, comparisons, [*notes, *extra], (left.values, right.values))


def side_in(path: PathLike, volume: Volume, set_name: Optional[str] = None) -> Side:
    """The labels of one label map, with the names in its file or beside it.

    Args:
        path: the file.
        volume: its contents.
        set_name: the data set whose label values it uses, if it has no names.
    """
    names = reference_set(set_name) if set_name is not None else {}
    return _side("reference", path, volume.segments, volume.array, names, [])


def _side(
    role: str,
    source: Union[PathLike, Volume],
    segments: Tuple[Segment, ...],
    array: np.ndarray,
    names: Mapping[int, str],
    notes: List[str],
) -> Side:
    """The labels of one side, with the requested names, or those in its file or beside it."""
    regions: Mapping[str, Tuple[int, ...]] = {}
    if not segments and not names and isinstance(source, (str, os.PathLike)):
        # A folder of predictions may be inside that of a data set whose label values the network does not use.
        names, regions, said = names_beside(source, above=role == "reference")
        notes.extend(said)
    return side_of(role, segments, _values(array, role, MOST_LABELS if not segments else None), names, regions)


def _comparisons(prediction: Side, reference: Side, settings: Settings) -> Tuple[List[Comparison], List[str]]:
    recipe = dict(settings.recipe) or {LIVER.value: LIVER.name}
    if settings.labels is not None:
        return as_requested(settings.labels, prediction, reference, recipe)
    if settings.label is not None:
        label = settings.label
        neither = label not in prediction.values | reference.values
        return by_value([label], prediction, reference), [f"label {label} occurs in neither"] if neither else []
    values = prediction.values | reference.values
    if settings.by_value and values:
        return by_value(sorted(values), prediction, reference), []
    return match(prediction, reference, recipe)


def written(scores: Scores, notes: Sequence[str], settings: Settings, several: Optional[bool] = None) -> Dict[str, Any]:
    """The JSON object of one pair; `several` says whether to use `labels` (None: depending on their number)."""
    result: Dict[str, Any]
    if None not in scores and (several or (several is None and len(scores) > 1)):
        labels = {key: _plain(metrics, settings) for key, metrics in scores.items() if key is not None}
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


def _label_map(source: Union[PathLike, Volume], role: str, settings: Settings, like: Optional[Volume] = None) -> Volume:
    if not isinstance(source, Volume):
        from ..image_io import read_segments
        from ..image_io.given import given_volume

        def read(path: PathLike) -> Volume:
            return read_segments(path, threshold=settings.threshold, like=like)

        source = given_volume(source, f"the {role}", read)
    array = source.array
    if array.ndim != 3:
        raise GeometryError(f"the {role} has {array.ndim} dimensions; a 3D label map is needed")
    if array.dtype != np.bool_ and not np.issubdtype(array.dtype, np.integer):
        raise ImageError(
            f"the {role} is not a label map: it contains {array.dtype} values; give one integer value per organ"
        )
    return source


def _values(array: np.ndarray, role: str, most: Optional[int]) -> FrozenSet[int]:
    """The values except 0, plane by plane, so that an image is detected early."""
    found: Set[int] = set()
    for plane in array:
        found.update(int(value) for value in np.unique(plane[plane != 0]))
        if most is not None and len(found) > most:
            raise ImageError(
                f"the {role} is not a label map: it contains more than {most} different values; "
                "give the segmentation rather than the scan"
            )
    return frozenset(found)


def _with_rim(box: Optional[Box], shape: Tuple[int, int, int]) -> Box:
    """The box with a margin of one voxel, so that only the image's own border counts as a border."""
    if box is None:
        return slice(0, 1), slice(0, 1), slice(0, 1)
    z, y, x = (slice(max(0, side.start - 1), min(size, side.stop + 1)) for side, size in zip(box, shape))
    return z, y, x
