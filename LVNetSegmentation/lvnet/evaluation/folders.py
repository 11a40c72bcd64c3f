"""Scoring two folders matched by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from ..errors import ImageError, LVNetError
from ..metrics import Metrics
from ..metrics.presets import preset_named
from ..progress import CancelCheck, Progress, never_cancelled, raise_if_cancelled, silent
from .pair import PathLike, Scores, check_label, score, written

#: The metrics that a folder's summary covers.
SUMMARISED = ("dice", "voe", "rvd", "absolute_rvd", "assd_mm", "mssd_mm")
#: Of several label maps in one case's folder, the one that holds the organ.
ORGAN_STEM = "liver"


def evaluate_folders(
    prediction_dir: PathLike,
    reference_dir: PathLike,
    *,
    preset: str = "lits",
    label: Optional[int] = None,
    resample: bool = False,
    progress: Progress = silent,
    cancelled: CancelCheck = never_cancelled,
) -> Dict[str, Any]:
    """Scores every prediction in a folder against the reference of the same name.

    A case is a label map's file (`case.nii.gz`; the suffix does not matter) or a folder (`case/`)
    that holds one, or one that is named `liver`.  A case that fails does not stop the others.

    Args:
        prediction_dir: folder of predictions.
        reference_dir: folder of references.
        preset: as for :func:`~lvnet.evaluation.evaluate`.
        label: as for :func:`~lvnet.evaluation.evaluate`.
        resample: as for :func:`~lvnet.evaluation.evaluate`.
        progress: told the share of cases that are done.
        cancelled: asked before each case.

    Returns:
        Valid JSON: `preset`; `cases`, by name what :func:`~lvnet.evaluation.evaluate` answers (all
        of them flat or, where the cases together hold several labels, all with `labels`, but for
        cases with none); `failed`, messages by name; `unmatched_predictions` and
        `unmatched_references`, lists of names; `summary`, for each metric `mean`, `sd` (of the
        sample), `median`, `count` of the values in them and `undefined`, the number of values that
        are not; under `labels` where there are several.

    Raises:
        ImageError: a folder cannot be listed, or no name is in both.
        ConfigurationError: no such preset, or label 0.
        Cancelled: `cancelled` answered True.
    """
    preset_named(preset)
    check_label(label)
    failed: Dict[str, str] = {}
    predictions, references = _cases(prediction_dir, failed), _cases(reference_dir, failed)
    matched = sorted(set(predictions) & set(references) - set(failed))
    if not matched and not failed:
        raise ImageError(
            "no prediction has a reference of the same name; name them alike, as in predictions/case1.nii.gz and "
            "references/case1.nii.gz"
        )
    scored: Dict[str, Tuple[Scores, List[str]]] = {}
    for number, name in enumerate(matched):
        raise_if_cancelled(cancelled)
        progress(number / len(matched), f"evaluating {name}")
        try:
            scored[name] = score(predictions[name], references[name], preset, label, resample)
        except LVNetError as error:
            failed[name] = str(error)
    progress(1.0, "evaluated")
    several = len({value for scores, _ in scored.values() for value in scores if value is not None}) > 1
    return {
        "preset": preset,
        "cases": {name: written(scores, notes, preset, several) for name, (scores, notes) in scored.items()},
        "failed": dict(sorted(failed.items())),
        "unmatched_predictions": sorted(set(predictions) - set(references) - set(failed)),
        "unmatched_references": sorted(set(references) - set(predictions) - set(failed)),
        "summary": _summary([scores for scores, _ in scored.values()], several),
    }


def _summary(all_scores: Sequence[Scores], several: bool) -> Dict[str, Any]:
    if not several:
        return _statistics([metrics for scores in all_scores for metrics in scores.values()])
    values = sorted({value for scores in all_scores for value in scores if value is not None})
    return {
        "labels": {
            str(value): _statistics([scores[value] for scores in all_scores if value in scores]) for value in values
        }
    }


def _statistics(cases: Sequence[Metrics]) -> Dict[str, Any]:
    summary: Dict[str, Any] = {}
    for name in SUMMARISED:
        values = np.array([getattr(metrics, name) for metrics in cases], np.float64)
        defined = values[np.isfinite(values)]
        entry: Dict[str, Any] = {"mean": None, "sd": None, "median": None}
        if defined.size:
            entry["mean"], entry["median"] = float(defined.mean()), float(np.median(defined))
        else:
            entry["mean_reason"] = entry["median_reason"] = "no case has a value"
        if defined.size > 1:
            entry["sd"] = float(defined.std(ddof=1))
        else:
            entry["sd_reason"] = "fewer than two cases have a value"
        summary[name] = {**entry, "count": int(defined.size), "undefined": int(values.size - defined.size)}
    return summary


def _cases(folder: PathLike, failed: Dict[str, str]) -> Dict[str, Path]:
    """Label maps by case name; a name that stands for two files goes to `failed`."""
    from ..image_io import READABLE_SUFFIXES, output_name
    from ..image_io.names import shown, suffix_of

    def files_in(place: Path) -> List[Path]:
        return sorted(
            entry
            for entry in place.iterdir()
            if entry.is_file() and not entry.name.startswith(".") and suffix_of(entry, READABLE_SUFFIXES)
        )

    found: Dict[str, List[Path]] = {}
    try:
        for file in files_in(Path(folder)):
            found.setdefault(output_name(file), []).append(file)
        for place in sorted(entry for entry in Path(folder).iterdir() if entry.is_dir()):
            files = files_in(place)
            organs = [file for file in files if output_name(file) == ORGAN_STEM]
            for file in organs or files:
                found.setdefault(place.name, []).append(file)
    except OSError as error:
        raise ImageError(f"{shown(folder)} cannot be listed as a folder: {error.strerror}") from error
    cases: Dict[str, Path] = {}
    for name, files in found.items():
        cases[name] = files[0]
        if len(files) > 1:
            listed = ", ".join(file.name for file in files)
            failed[name] = f"{shown(folder)} holds several files for this case ({listed}); leave one of them"
    return cases
