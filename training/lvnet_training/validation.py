"""Evaluation on whole scans, with the same inference that users run."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from lvnet.acceleration import accelerate
from lvnet.evaluation import evaluate
from lvnet.image_io import read_image, read_labels
from lvnet.inference import Model
from lvnet.pipeline.python import segment
from lvnet.postprocessing import postprocess
from lvnet.progress import Progress, silent
from lvnet.recipe import LIVER, LabelClass, Recipe
from lvnet.volume import Volume
from scipy import ndimage
from torch import nn

from .dataset import pair_of
from .labels import label_map, to_classes
from .networks import channels_last
from .sources import Source

#: Distance from the organ in mm beyond which false positives are unrelated to its border.
STRAY_MM = 20.0
Pair = Tuple[str, Volume, Volume]
#: Called with the name of a case, its scan, its label and its segmentation.
Seen = Callable[[str, Volume, Volume, Volume], None]


def load_pairs(sources: Sequence[Source], classes: Sequence[LabelClass] = (LIVER,),
               labels: Optional[Mapping[int, str]] = None) -> List[Pair]:  # fmt: skip
    """Scans and labels (with class values), kept in memory because validation needs them in every epoch."""
    values = np.array([0, *(c.value for c in classes)], np.uint8)
    pairs = []
    for source in sources:
        scan, label = pair_of(source)
        found = read_labels(label)
        numbers = to_classes(source.name, found.array, label_map(labels or {}, classes, source.label_names))
        pairs.append((source.name, read_image(scan), found.with_array(values[numbers])))
    return pairs


def score(
    model: Model,
    pairs: Sequence[Pair],
    overlap: float = 0.5,
    progress: Progress = silent,
    seen: Optional[Seen] = None,
    strays: bool = False,
) -> Dict[str, Dict[str, Any]]:
    """The five metrics of every case.

    Args:
        strays: also compute `stray_ml`, see :func:`stray_ml`, before postprocessing.

    Returns:
        By case name, the result of :func:`lvnet.evaluation.evaluate`; with several classes, `labels` contains it
        by class name.
    """
    scores: Dict[str, Dict[str, Any]] = {}
    classes = model.recipe.classes
    for number, (name, scan, label) in enumerate(pairs):
        progress(number / len(pairs), name)
        raw = segment(scan, model=model, overlap=overlap, postprocess=not strays).labels
        found = raw.with_array(postprocess(raw.array)) if strays else raw
        if seen is not None:
            seen(name, scan, label, found)
        by_class = {c.name: evaluate(found, label, label=c.value) for c in classes}
        if strays:
            for c in classes:
                by_class[c.name]["stray_ml"] = stray_ml(raw, label, c.value)
        scores[name] = by_class[classes[0].name] if len(classes) == 1 else {"labels": by_class}
    return scores


def score_table(scores: Mapping[str, Mapping[str, Any]], strays: bool = False) -> List[str]:
    """Lines of a table of the results of :func:`score`."""
    names = ("dice", "voe", "rvd", "assd_mm", "mssd_mm", *(("stray_ml",) if strays else ()))
    lines = [f"{'case':<24}" + "".join(f"{name:>10}" for name in names)]
    for case, values in scores.items():
        for label, metrics in by_label(values).items():
            cells = ("-" if metrics[name] is None else f"{metrics[name]:.4f}" for name in names)
            lines.append(f"{f'{case} {label}'.strip():<24}" + "".join(f"{cell:>10}" for cell in cells))
    return lines


def stray_ml(found: Volume, label: Volume, value: int = 1) -> float:
    """False positives in ml farther than :data:`STRAY_MM` from the organ, or anywhere if there is no organ."""
    wrong = (found.array == value) & (label.array != value)
    if wrong.any() and (label.array == value).any():
        apart = ndimage.distance_transform_edt(label.array != value, sampling=label.spacing)
        wrong &= apart > STRAY_MM
    return float(np.count_nonzero(wrong)) * found.voxel_volume_ml


def by_label(case: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """The metrics of a case by class name; under an empty name if there is only one class."""
    entries: Mapping[str, Mapping[str, Any]] = case.get("labels", {"": case})
    return entries


def dice_of(case: Mapping[str, Any]) -> float:
    """DICE of a case; with several classes, their mean."""
    entries = by_label(case).values()
    return sum(float(entry["dice"]) for entry in entries) / len(entries)


def model_of(network: nn.Module, recipe: Recipe) -> Model:
    """Any network as a model for inference; only LV-Net itself has fast paths."""
    channels_last(network.eval())
    return Model(network, recipe, next(network.parameters()).device, "", fast=accelerate(network))


def validate(network: nn.Module, recipe: Recipe, pairs: Sequence[Pair], overlap: float = 0.25,
             seen: Optional[Seen] = None) -> Dict[str, float]:  # fmt: skip
    """Mean DICE over cases as `dice`, and each case's as `dice_NAME`."""
    scores = score(model_of(network, recipe), pairs, overlap, seen=seen)
    result = {f"dice_{name}": dice_of(case) for name, case in scores.items()}
    return {"dice": sum(result.values()) / len(result), **result}
