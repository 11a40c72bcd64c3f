"""Splits into training, validation and test cases, grouped by patient and reproducible by a seed."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Dict, List, Mapping, Sequence, Tuple

import numpy as np
from lvnet.errors import ConfigurationError
from lvnet.files import write_whole

from .sources import by_number
from .yamlfiles import read_mapping

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """A split: the case names of each part.

    Attributes:
        seed: the random seed of the split.
        patients: patient by case, if a patient has several cases.
    """

    train: Tuple[str, ...]
    validation: Tuple[str, ...]
    test: Tuple[str, ...]
    seed: int = 0
    patients: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        place: Dict[str, str] = {}
        for part in PARTS:
            for case in getattr(self, part):
                if case in place:
                    raise ConfigurationError(f"the split contains the case {case} twice")
                place[case] = part
        of_patient: Dict[str, str] = {}
        for case, patient in self.patients.items():
            if case in place and of_patient.setdefault(patient, place[case]) != place[case]:
                raise ConfigurationError(
                    f"the patient {patient} is in {of_patient[patient]} and in {place[case]} of the split; keep the"
                    " cases of a patient together"
                )


def make_split(cases: Sequence[str], counts: str, seed: int, patients: Mapping[str, str]) -> Split:
    """A random split that keeps the cases of a patient together.

    Args:
        cases: names, in any order.
        counts: numbers of training, validation and test cases, such as `90/10/31`; used as proportions if
            they do not add up to the number of cases.
        seed: the same seed gives the same split.
        patients: patient by case; a case without an entry is a patient of its own.

    Raises:
        ConfigurationError: the counts are invalid, or a patient's cases do not fit into any part.
    """
    room = _sizes(counts, len(cases))
    rng = np.random.default_rng(seed)
    parts: Tuple[List[str], ...] = ([], [], [])
    # Choose a part with a probability in proportion to its free places.
    for group in _groups(cases, patients, rng):
        fits = [i for i in range(3) if room[i] >= len(group)]
        if not fits:
            raise ConfigurationError(
                f"the split {counts} has no room for the {len(group)} cases of one patient ({group[0]} ...)"
            )
        weights = np.array([room[i] for i in fits], float)
        chosen = int(rng.choice(fits, p=weights / weights.sum()))
        parts[chosen].extend(group)
        room[chosen] -= len(group)
    train, validation, test = (tuple(sorted(part, key=by_number)) for part in parts)
    return Split(train, validation, test, seed, {c: patients[c] for c in sorted(cases, key=by_number) if c in patients})


def make_folds(cases: Sequence[str], count: int, seed: int, patients: Mapping[str, str]) -> List[Split]:
    """Splits for a cross-validation: every case is in exactly one test part, all cases of a patient in the same.

    Args:
        cases: names, in any order.
        count: number of folds, at least 2.
        seed: the same seed gives the same folds.
        patients: patient by case; a case without an entry is a patient of its own.

    Raises:
        ConfigurationError: there are fewer patients than folds.
    """
    groups = _groups(cases, patients, np.random.default_rng(seed))
    if not 2 <= count <= len(groups):
        raise ConfigurationError(f"{len(groups)} patients can be divided into 2 to {len(groups)} folds, not {count}")
    parts: List[List[str]] = [[] for _ in range(count)]
    for group in groups:
        min(parts, key=len).extend(group)
    known = {case: patients[case] for case in sorted(cases, key=by_number) if case in patients}
    folds = []
    for part in parts:
        rest = sorted(set(cases) - set(part), key=by_number)
        folds.append(Split(tuple(rest), (), tuple(sorted(part, key=by_number)), seed, known))
    return folds


def _groups(cases: Sequence[str], patients: Mapping[str, str], rng: np.random.Generator) -> List[List[str]]:
    """The cases of every patient, in random order but large groups first, so that they still fit."""
    groups: Dict[str, List[str]] = {}
    for case in sorted(cases, key=by_number):
        groups.setdefault(f"patient {patients[case]}" if case in patients else f"case {case}", []).append(case)
    names = list(groups)
    return sorted((groups[names[i]] for i in rng.permutation(len(names))), key=len, reverse=True)


def _sizes(counts: str, total: int) -> List[int]:
    try:
        wanted = [int(part) for part in counts.split("/")]
    except ValueError:
        wanted = []
    if len(wanted) != 3 or min(wanted) < 0 or sum(wanted) == 0:
        raise ConfigurationError(f"a split must be three numbers such as 90/10/31, not {counts!r}")
    if sum(wanted) == total:
        return wanted
    exact = [total * w / sum(wanted) for w in wanted]
    sizes = [int(e) for e in exact]
    for i in sorted(range(3), key=lambda i: sizes[i] - exact[i])[: total - sum(sizes)]:
        sizes[i] += 1
    return sizes


def write_split(split: Split, path: Path) -> None:
    """Writes a split as JSON if the name ends in .json, else as YAML, completely or not at all."""
    data = {
        "seed": split.seed,
        **{part: list(getattr(split, part)) for part in PARTS},
        "patients": dict(split.patients),
    }
    if path.suffix == ".json":
        text = json.dumps(data, indent=2)
    else:
        import yaml

        text = yaml.safe_dump(data, sort_keys=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode("utf-8"))


def read_split(path: Path) -> Split:
    """Reads a split file, YAML or JSON.

    Raises:
        ConfigurationError: it cannot be read, or contains a case twice or a patient in two parts.
    """
    data = read_mapping(path, "split")
    unknown = sorted(set(data) - set(asdict(Split((), (), ()))))
    if unknown:
        raise ConfigurationError(
            f"the split {path} has an unknown part {unknown[0]!r}; the parts are {', '.join(PARTS)}"
        )
    try:
        train, validation, test = (tuple(str(case) for case in data.get(part) or ()) for part in PARTS)
        patients = {str(case): str(patient) for case, patient in (data.get("patients") or {}).items()}
        return Split(train, validation, test, int(data.get("seed", 0)), patients)
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(f"the split {path} cannot be used: {error}") from error


def keep_split(split: Split, path: Path) -> None:
    """Writes a split if there is none yet.

    Raises:
        ConfigurationError: there is a different one.
    """
    if not path.exists():
        write_split(split, path)
        return
    found = read_split(path)
    if any(getattr(found, part) != getattr(split, part) for part in PARTS):
        raise ConfigurationError(f"{path} has other cases, folds or seed; choose another --output")


def read_patients(path: Path) -> Dict[str, str]:
    """Patient by case.

    Args:
        path: YAML or JSON such as `{volume-0: A, volume-1: A}`, or a CSV with the columns `case` and `patient`.

    Raises:
        ConfigurationError: it cannot be read.
    """
    if path.suffix.lower() != ".csv":
        return {str(case): str(patient) for case, patient in read_mapping(path, "patients").items()}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {row["case"]: row["patient"] for row in csv.DictReader(file) if row["patient"]}
    except (OSError, ValueError, KeyError, csv.Error) as error:
        reason = f"it has no column {error}" if isinstance(error, KeyError) else error
        raise ConfigurationError(f"the patients {path} cannot be read: {reason}") from error
