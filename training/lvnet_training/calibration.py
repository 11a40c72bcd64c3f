"""Fitting the model of the expected DICE to results with a known DICE.

The results should include good and bad ones, on scans that the network has not seen: from a cross-validation or a
stress set.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import List, Mapping, Optional, Sequence, Tuple

import numpy as np
from lvnet.errors import ConfigurationError, ImageError
from lvnet.evaluation import evaluate
from lvnet.files import write_whole
from lvnet.inference import Model
from lvnet.pipeline.python import segment
from lvnet.progress import Progress, silent
from lvnet.quality import FEATURES, Quality

from .sources import Source, find_cases
from .stress import original_of
from .validation import load_pairs

#: A DICE below the first should be flagged, one of at least the second should not.
BAD, GOOD = 0.90, 0.94
# Largest fraction of the good results that may be flagged.
_FALSE_ALARMS = 0.08
_RIDGE = 1.0
_FEWEST = 30
_SMALLEST_ERROR = 1e-3


@dataclass(frozen=True)
class Judged:
    """One result with its DICE and its features.

    Attributes:
        group: the same for all scans of one patient, and for scans that were derived from them.
    """

    case: str
    group: str
    dice: float
    features: Mapping[str, float]


def collect(
    model: Model,
    folders: Sequence[Path],
    scores: Path,
    patients: Optional[Mapping[str, str]] = None,
    progress: Progress = silent,
) -> List[Judged]:
    """Segments every labelled case of some data sets and measures the results.

    Args:
        folders: data sets, such as those that :func:`.stress.make_stress_set` writes; cases without the organ are
            left out.
        scores: CSV file of the results; cases that are already in it are not segmented again.
        patients: patient by case.

    Raises:
        ImageError: a folder contains no case.
        ConfigurationError: the file contains something else.
    """
    known = {row.case: row for row in read_scores(scores)} if scores.exists() else {}
    work: List[Tuple[str, Source]] = [
        (f"{folder.name}/{source.name}", source) for folder in folders for source in find_cases(folder)
    ]
    for number, (case, source) in enumerate(work):
        progress(number / len(work), case)
        if case in known or source.problem:
            continue
        pair = load_pairs([source])[0]
        if not pair[2].array.any():
            continue
        result = segment(pair[1], model=model)
        value = model.recipe.classes[0].value
        measured = result.measured.get(value, {})
        if not measured:
            continue
        dice = evaluate(result.labels, pair[2], label=value)["dice"]
        known[case] = Judged(case, _group(source, patients or {}), float(dice), measured)
        write_whole(scores, _table(list(known.values())).encode("utf-8"))
    return [known[case] for case, _ in work if case in known]


def _group(source: Source, patients: Mapping[str, str]) -> str:
    name = original_of(source)
    return patients.get(name) or name


def read_scores(path: Path) -> List[Judged]:
    """Reads the file that :func:`collect` wrote.

    Raises:
        ConfigurationError: the file cannot be read or contains something else.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [
                Judged(row["case"], row["group"], float(row["dice"]), {n: float(row[n]) for n in FEATURES})
                for row in csv.DictReader(file)
            ]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{path} does not contain scores of `lvnet-train calibrate`: {error}") from error


def _table(rows: Sequence[Judged]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["case", "group", "dice", *FEATURES])
    for row in rows:
        writer.writerow([row.case, row.group, f"{row.dice:.5f}", *(f"{row.features[n]:.6g}" for n in FEATURES)])
    return file.getvalue()


def fit_quality(
    rows: Sequence[Judged], features: Sequence[str] = FEATURES, value: int = 1, origin: str = ""
) -> Quality:
    """A model of the expected DICE: ridge regression of log10(1 - DICE) on standardised features.

    The interval and the limits come from predictions of results whose patients the fit has not seen.

    Raises:
        ConfigurationError: there are too few results, or they are all good or all bad.
    """
    _check(rows)
    model = _fit(rows, features, value, origin)
    expected = np.array([e for e, _, _ in held_out(rows, features)])
    errors = _log_error(np.array([row.dice for row in rows]))
    residuals = errors - np.log10(1 - expected)
    low, high = np.quantile(residuals, (0.1, 0.9))
    dice = np.array([row.dice for row in rows])
    # Flag as many of the good results as allowed: the more are flagged, the fewer bad ones are missed.
    look = float(np.quantile(expected[dice >= GOOD], _FALSE_ALARMS))
    # Nine of ten results with an expected DICE below this limit are below BAD.
    wrong = 1 - 10 ** min(0.0, np.log10(1 - BAD) - min(0.0, float(low)))
    return replace(
        model,
        interval=(min(0.0, float(low)), max(0.0, float(high))),
        look_below=round(look, 4),
        wrong_below=round(min(look, float(wrong)), 4),
    )


def held_out(rows: Sequence[Judged], features: Sequence[str] = FEATURES) -> List[Tuple[float, float, float]]:
    """Expected DICE with its interval for every result, by a fit without its patient.

    The interval comes from the residuals of the other patients, each also from a fit without that patient.
    """
    groups = np.array([row.group for row in rows])
    expected = np.zeros(len(rows))
    for group in np.unique(groups):
        mine = np.flatnonzero(groups == group)
        model = _fit([row for row in rows if row.group != group], features, 1, "")
        expected[mine] = [np.log10(1 - _expect(model, rows[int(number)])) for number in mine]
    differences = _log_error(np.array([row.dice for row in rows])) - expected
    answers: List[Tuple[float, float, float]] = []
    for number, middle in enumerate(expected.tolist()):
        low, high = np.quantile(differences[groups != groups[number]], (0.1, 0.9))
        answers.append((1 - 10**middle, 1 - 10 ** min(0.0, middle + high), 1 - 10 ** (middle + low)))
    return answers


def report(rows: Sequence[Judged], quality: Quality) -> List[str]:
    """Lines with the accuracy of the model on results of unseen patients."""
    answers = np.array(held_out(rows, quality.features))
    dice = np.array([row.dice for row in rows])
    flagged = answers[:, 0] < quality.look_below
    bad, good = dice < BAD, dice >= GOOD
    covered = (dice >= answers[:, 1]) & (dice <= answers[:, 2])
    rank = np.corrcoef(np.argsort(np.argsort(dice)), np.argsort(np.argsort(answers[:, 0])))[0, 1]
    return [
        f"{len(rows)} results of {len({row.group for row in rows})} patients, each predicted without its patient",
        f"flagged of those with DICE < {BAD}: {int((flagged & bad).sum())} of {int(bad.sum())}"
        f" ({_share(flagged, bad)}); of those >= {GOOD}: {int((flagged & good).sum())} of {int(good.sum())}"
        f" ({_share(flagged, good)})",
        f"DICE within the interval: {covered.mean():.0%} (80 % expected); mean absolute error"
        f" {np.abs(dice - answers[:, 0]).mean():.3f}; rank correlation {rank:.2f}",
        f"review below {quality.look_below:.3f}, wrong below {quality.wrong_below:.3f}",
    ]


def _share(flagged: np.ndarray, of: np.ndarray) -> str:
    return f"{flagged[of].mean():.0%}" if of.any() else "-"


def _check(rows: Sequence[Judged]) -> None:
    dice = [row.dice for row in rows]
    if len(rows) < _FEWEST or not any(d < BAD for d in dice) or not any(d >= GOOD for d in dice):
        raise ConfigurationError(
            f"a calibration needs at least {_FEWEST} results, some with a DICE below {BAD} and some of at least {GOOD};"
            f" there are {len(rows)}, from {min(dice, default=0):.2f} to {max(dice, default=0):.2f}"
        )
    if len({row.group for row in rows}) < 3:
        raise ConfigurationError("a calibration needs results of at least three patients")


def _log_error(dice: np.ndarray) -> np.ndarray:
    return np.asarray(np.log10(np.maximum(1 - dice, _SMALLEST_ERROR)))


def _fit(rows: Sequence[Judged], features: Sequence[str], value: int, origin: str) -> Quality:
    values = np.array([[row.features[name] for name in features] for row in rows])
    target = _log_error(np.array([row.dice for row in rows]))
    centre, scale = values.mean(axis=0), np.maximum(values.std(axis=0), 1e-9)
    scaled = (values - centre) / scale
    bias = float(target.mean())
    weight = np.linalg.solve(scaled.T @ scaled + _RIDGE * np.eye(len(features)), scaled.T @ (target - bias))

    def numbers(array: np.ndarray) -> Tuple[float, ...]:
        return tuple(float(f"{number:.6g}") for number in array)

    return Quality(
        tuple(features), numbers(centre), numbers(scale), numbers(weight), numbers(values.min(axis=0)),
        numbers(values.max(axis=0)), bias, (0.0, 0.0), 0.0, 0.0, value, origin,
    )  # fmt: skip


def _expect(model: Quality, row: Judged) -> float:
    expected = model.expect(row.features)
    if expected is None:
        raise ImageError(f"{row.case}: a feature is missing")
    return expected.dice
