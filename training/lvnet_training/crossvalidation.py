"""Cross-validation: a network for each fold, evaluated on the cases that it has not seen."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional

import numpy as np
import torch
from lvnet.errors import ConfigurationError
from lvnet.files import write_whole
from lvnet.progress import Progress, silent

from .config import Config
from .dataset import load_cases
from .loop import Hardware, fit
from .materials import gather, part_of
from .sources import find_cases
from .splits import Split, keep_split, make_folds
from .state import Run
from .validation import by_label, dice_of, load_pairs, model_of, score

#: Columns of scores.csv.
COLUMNS = ("fold", "case", "label", "dice", "voe", "rvd", "assd_mm", "mssd_mm", "stray_ml", "reference_ml")


def cross_validate(
    config: Config,
    data: Path,
    output: Path,
    folds: int = 3,
    seed: int = 1,
    patients: Optional[Mapping[str, str]] = None,
    cache: Optional[Path] = None,
    device: Optional[torch.device] = None,
    progress: Progress = silent,
    report: Callable[[str], None] = print,
) -> Dict[str, Dict[str, Any]]:
    """For every fold, trains a network from random weights on the other folds and evaluates it on this fold.

    The moving average after the last epoch is evaluated, so no epoch is selected on the evaluated cases.  Finished
    folds and epochs are not repeated: the same call resumes where it stopped.

    Args:
        data: data set; unusable cases are reported and left out.
        output: folder for `fold-1` and so on, each with `split.yaml`, the files of its run and `scores.json`; and for
            `scores.json` and `scores.csv` of all folds.
        folds: number of folds.
        seed: random seed; the same seed and cases give the same folds.
        patients: patient by case; a patient's cases are in one fold.
        cache: by default a folder within `output`.
        progress: of all folds together.

    Returns:
        By case name, the result of :func:`.validation.score`, with `fold`, counted from 1, and `stray_ml`.

    Raises:
        ConfigurationError: the folder contains another cross-validation, or there are fewer patients than folds.
        ImageError: the data set contains no case.
    """
    cache, device = cache or output / "cache", device or torch.device("cpu")
    sources = find_cases(data)
    usable, refused = load_cases(sources, cache, config.classes, config.labels)
    for sentence in refused:
        report(sentence)
    parts = make_folds([case.name for case in usable], folds, seed, patients or {})
    if any(output.glob(f"fold-{folds + 1}")):
        raise ConfigurationError(f"{output} contains a cross-validation with more folds; choose another --output")
    for number, split in enumerate(parts, start=1):
        keep_split(split, output / f"fold-{number}" / "split.yaml")
    scores: Dict[str, Dict[str, Any]] = {}
    for number, split in enumerate(parts, start=1):
        report(f"fold {number} of {folds}: {len(split.train)} training cases, {len(split.test)} test cases")

        def advance(share: float, stage: str, done: int = number - 1) -> None:
            progress((done + share) / folds, f"fold {done + 1}, {stage}")

        fold = _one_fold(config, data, output / f"fold-{number}", split, cache, device, advance, report)
        scores.update({case: {**values, "fold": number} for case, values in fold.items()})
    write_whole(output / "scores.json", json.dumps(scores, indent=2).encode("utf-8"))
    write_whole(output / "scores.csv", _table(scores).encode("utf-8"))
    return scores


def _one_fold(
    config: Config, data: Path, folder: Path, split: Split, cache: Path, device: torch.device, progress: Progress,
    report: Callable[[str], None],
) -> Dict[str, Dict[str, Any]]:  # fmt: skip
    run = Run.start(config, torch.device("cpu"))
    last, done = folder / "last.pt", folder / "scores.json"
    if last.exists():
        run.restore(last)
    if not run.finished:
        done.unlink(missing_ok=True)
        material = gather(config, folder, data, split=folder / "split.yaml", cache=cache)
        fit(run, material.cases, material.phantoms, folder, None, 1, lambda share, stage: progress(0.95 * share, stage),
            report, hardware=Hardware(device))  # fmt: skip
    if done.exists():
        return dict(json.loads(done.read_text(encoding="utf-8")))
    model = model_of(run.averaged_network().to(device), config.recipe())
    sources = part_of(find_cases(data), split.test)
    scores: Dict[str, Dict[str, Any]] = {}
    for number, source in enumerate(sources):
        progress(0.95 + 0.05 * number / len(sources), f"evaluating {source.name}")
        # One scan at a time: a fold of a large data set does not fit into memory.
        scores.update(score(model, load_pairs([source], config.classes, config.labels), strays=True))
    write_whole(done, json.dumps(scores, indent=2).encode("utf-8"))
    return scores


def summary(scores: Mapping[str, Mapping[str, Any]]) -> List[str]:
    """Lines with the mean over the cases that show the organ, and the false positives in those that do not."""
    shown: Dict[str, Mapping[str, Any]] = {}
    empty: Dict[str, Mapping[str, Any]] = {}
    for name, case in scores.items():
        (shown if any(entry["reference_ml"] for entry in by_label(case).values()) else empty)[name] = case
    lines = []
    if shown:
        values = np.array([dice_of(case) for case in shown.values()])
        worst = min(shown, key=lambda name: dice_of(shown[name]))
        lines.append(
            f"{len(shown)} cases with the organ: DICE {values.mean():.4f} +- {values.std():.4f}, median"
            f" {np.median(values):.4f}, lowest {values.min():.4f} ({worst})"
        )
    if empty:
        found = ", ".join(f"{name} {_strays(case):.1f} ml" for name, case in empty.items())
        lines.append(f"cases without it: {len(empty)}; false positives before postprocessing: {found}")
    return lines


def _strays(case: Mapping[str, Any]) -> float:
    return float(sum(entry["stray_ml"] for entry in by_label(case).values()))


def _table(scores: Mapping[str, Mapping[str, Any]]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for name, case in scores.items():
        for label, values in by_label(case).items():
            rounded = {key: round(value, 4) if isinstance(value, float) else value for key, value in values.items()}
            writer.writerow({**rounded, "fold": case["fold"], "case": name, "label": label})
    return file.getvalue()
