"""Evaluating two folders whose files are paired by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, FrozenSet, List, Mapping, Optional, Sequence, Tuple, Union

from ..errors import ImageError
from ..progress import CancelCheck, Progress, never_cancelled, silent
from .case_names import paired
from .cases import cases_in
from .matching import UnclearLabelsError, all_by_value, sorted_keys
from .pair import PathLike, Scores, score, written
from .settings import Settings, recipe_names
from .statistics import BOOTSTRAP, compared, summarised
from .workers import check_jobs, run_all

#: The metrics in a folder's summary, and those that are included on request.
SUMMARISED = ("dice", "voe", "rvd", "absolute_rvd", "assd_mm", "mssd_mm")
EXTRAS = ("hd95_mm", "surface_dice")

_Scored = Dict[str, Tuple[Scores, List[str]]]
_Values = Tuple[FrozenSet[int], FrozenSet[int]]


def evaluate_folders(
    prediction_dir: PathLike,
    reference_dir: PathLike,
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
    compare_dir: Optional[PathLike] = None,
    jobs: int = 1,
    progress: Progress = silent,
    cancelled: CancelCheck = never_cancelled,
) -> Dict[str, Any]:
    """Evaluates every prediction in a folder against the reference of the same name.

    A case is a label map's file (`case.nii.gz`, with any supported suffix) or a folder (`case/`)
    that contains one, or one named `liver`.  Names may differ by the usual additions of data sets, see
    :mod:`lvnet.evaluation.case_names`.  A case that fails does not stop the others.

    Args:
        prediction_dir: folder of predictions.
        reference_dir: folder of references.
        preset: as for :func:`~lvnet.evaluation.evaluate`.
        label: as for :func:`~lvnet.evaluation.evaluate`.
        labels: as for :func:`~lvnet.evaluation.evaluate`.
        reference_set: as for :func:`~lvnet.evaluation.evaluate`.
        weights: as for :func:`~lvnet.evaluation.evaluate`.
        threshold: as for :func:`~lvnet.evaluation.evaluate`.
        resample: as for :func:`~lvnet.evaluation.evaluate`.
        hd95: as for :func:`~lvnet.evaluation.evaluate`.
        surface_dice_tolerance_mm: as for :func:`~lvnet.evaluation.evaluate`.
        compare_dir: folder of another method's predictions, to be compared case by case.
        jobs: number of parallel processes; each has one case in memory.  A script that uses more
            than one must guard its main code with `if __name__ == "__main__"`.
        progress: called with the fraction of cases done.
        cancelled: called before each case.

    Returns:
        Valid JSON: `preset`; `cases`, the results of :func:`~lvnet.evaluation.evaluate` by name (all
        of them flat or, if the cases together contain several labels, all with `labels`, except
        cases without any); `failed`, messages by name; `unmatched_predictions` and
        `unmatched_references`, lists of names; `notes`, if different names were paired; `summary`,
        for each metric `mean`, `sd` (of the sample) and `median`, the 95 % bootstrap intervals
        `mean_ci95` and `median_ci95`, `count` of the values included and `undefined`, the number of
        those that are not; under `labels` if there are several; `bootstrap`, the method of the
        intervals.

        With `compare_dir` also `comparison`: `method` and `other_method`, the folders' names;
        `other_cases`, `other_failed`, `other_unmatched_predictions` and
        `other_unmatched_references`, as above; `other_summary`; and
        `metrics`, for each metric over the cases that both methods have `mean`, `other_mean`,
        `mean_difference` (method minus other), `mean_difference_ci95`, `wilcoxon_p` (signed-rank,
        two-sided), `count` and `undefined`; under `labels` if there are several.

    Raises:
        ImageError: a folder cannot be listed, or no name occurs in both.
        ConfigurationError: an unknown preset, label 0, or fewer than one job.
        Cancelled: `cancelled` returned True.
    """
    settings = Settings(
        preset, label, resample, hd95, surface_dice_tolerance_mm, labels, reference_set, threshold,
        recipe_names(weights),
    )  # fmt: skip
    settings.check()
    check_jobs(jobs)
    methods = [_Method(prediction_dir, reference_dir)]
    if compare_dir is not None:
        methods.append(_Method(compare_dir, reference_dir))
    pairs = {(i, name): (*m.files(name), settings) for i, m in enumerate(methods) for name in m.matched}
    names = {key: f"evaluating {key[1]}" for key in pairs}
    found, failures = run_all(_score_task, pairs, names, jobs, progress, cancelled)
    unclear = {key: outcome for key, outcome in found.items() if isinstance(outcome, UnclearLabelsError)}
    if unclear and all(_same_numbers(found, method) for method in range(len(methods))):
        # What is ambiguous in single cases is clear for all together: both folders use the same label values.
        again = {key: (*pairs[key][:2], replace(settings, by_value=True)) for key in unclear}
        more, failed = run_all(_score_task, again, names, jobs, progress, cancelled)
        found, failures, unclear = {**found, **more}, {**failures, **failed}, {}
    failures.update({key: str(outcome) for key, outcome in unclear.items()})
    progress(1.0, "evaluated")
    for (i, name), message in failures.items():
        methods[i].failed[name] = message
    scored: List[_Scored] = [
        {name: found[i, name][:2] for name in method.matched if (i, name) in found and (i, name) not in failures}
        for i, method in enumerate(methods)
    ]
    keys = sorted_keys(key for part in scored for scores, _ in part.values() for key in scores)
    several = len(keys) > 1
    covered = SUMMARISED + tuple(
        name for name, wanted in zip(EXTRAS, (hd95, surface_dice_tolerance_mm is not None)) if wanted
    )

    def cases(part: _Scored) -> Dict[str, Any]:
        return {name: written(scores, notes, settings, several) for name, (scores, notes) in part.items()}

    result = {
        "preset": preset,
        "cases": cases(scored[0]),
        **methods[0].listed(),
        **({"notes": methods[0].notes} if methods[0].notes else {}),
        "summary": _summary(scored[0], keys, covered),
        "bootstrap": dict(BOOTSTRAP),
    }
    if compare_dir is not None:
        result["comparison"] = {
            **_method_names(prediction_dir, compare_dir),
            "other_cases": cases(scored[1]),
            **{f"other_{key}": value for key, value in methods[1].listed().items()},
            "other_summary": _summary(scored[1], keys, covered),
            "metrics": _comparison(scored[0], scored[1], keys, covered),
        }
    return result


def matched_files(prediction_dir: PathLike, reference_dir: PathLike) -> Dict[str, Tuple[Path, Path]]:
    """Files of prediction and reference by case name, for the cases that both folders contain once.

    Raises:
        ImageError: a folder cannot be listed, or no name occurs in both.
    """
    method = _Method(prediction_dir, reference_dir)
    return {name: method.files(name) for name in method.matched}


class _Method:
    """One folder of predictions with the references."""

    def __init__(self, prediction_dir: PathLike, reference_dir: PathLike) -> None:
        self.failed: Dict[str, str] = {}
        self._predictions = cases_in(prediction_dir, self.failed)
        self._references = cases_in(reference_dir, self.failed)
        self.notes: List[str] = []
        self._match_names()
        self.matched = sorted(set(self._predictions) & set(self._references) - set(self.failed))
        if not self.matched and not self.failed:
            names = f"{_some(self._predictions)}; {_some(self._references)}"
            raise ImageError(
                f"no prediction has a reference of the same name ({names}); use the same names, as in"
                " predictions/case1.nii.gz and references/case1.nii.gz; nnU-Net's _0000, LiTS's volume- and"
                " segmentation-, and words such as label, mask, pred or ct may differ"
            )

    def _match_names(self) -> None:
        """Renames every prediction to the name of its reference."""
        pairs, self.notes = paired(self._predictions, self._references)
        for name, case in pairs.items():
            if name != case:
                self._predictions[case] = self._predictions.pop(name)
                if name in self.failed:
                    self.failed[case] = self.failed.pop(name)

    def files(self, name: str) -> Tuple[Path, Path]:
        return self._predictions[name], self._references[name]

    def listed(self) -> Dict[str, Any]:
        alone, missing = set(self._predictions), set(self._references)
        return {
            "failed": dict(sorted(self.failed.items())),
            "unmatched_predictions": sorted(alone - missing - set(self.failed)),
            "unmatched_references": sorted(missing - alone - set(self.failed)),
        }


def _some(names: Mapping[str, Path]) -> str:
    return ", ".join(sorted(names)[:3]) + (", ..." if len(names) > 3 else "") or "none"


def _score_task(task: Tuple[Path, Path, Settings]) -> Union[Tuple[Scores, List[str], _Values], UnclearLabelsError]:
    try:
        return score(*task)
    except UnclearLabelsError as question:
        return question


def _same_numbers(found: Mapping[Any, Any], method: int) -> bool:
    """Whether the values that occur in all cases of a method are the same as in the references."""
    values = [
        outcome.values if isinstance(outcome, UnclearLabelsError) else outcome[2]
        for (number, _), outcome in found.items()
        if number == method
    ]
    prediction, reference = (frozenset().union(*side) for side in zip(*values)) if values else (frozenset(),) * 2
    return all_by_value(prediction, reference) and min(len(prediction), len(reference)) > 1


def _summary(scored: _Scored, labels: Sequence[str], covered: Sequence[str]) -> Dict[str, Any]:
    def over(rows: Sequence[Any]) -> Dict[str, Any]:
        return {name: summarised([getattr(metrics, name) for metrics in rows]) for name in covered}

    every = [scores for scores, _ in scored.values()]
    if len(labels) < 2:
        return over([metrics for scores in every for metrics in scores.values()])
    return {"labels": {value: over([s[value] for s in every if value in s]) for value in labels}}


def _comparison(one: _Scored, other: _Scored, labels: Sequence[str], covered: Sequence[str]) -> Dict[str, Any]:
    both = [(one[name][0], other[name][0]) for name in one if name in other]

    def over(rows: Sequence[Tuple[Any, Any]]) -> Dict[str, Any]:
        return {
            name: compared([getattr(a, name) for a, _ in rows], [getattr(b, name) for _, b in rows]) for name in covered
        }

    if len(labels) < 2:
        # With one label a case has one score; for two empty masks it has no label.
        return over([(next(iter(a.values())), next(iter(b.values()))) for a, b in both])
    # A label that only one method found is also in the other's scores if the reference has it; if neither the
    # reference nor the other method has it, there is nothing to pair.
    return {"labels": {v: over([(a[v], b[v]) for a, b in both if v in a and v in b]) for v in labels}}


def _method_names(one: PathLike, other: PathLike) -> Dict[str, str]:
    names = [Path(folder).resolve().name for folder in (one, other)]
    if names[0] == names[1]:
        names = ["method 1", "method 2"]
    return {"method": names[0], "other_method": names[1]}
