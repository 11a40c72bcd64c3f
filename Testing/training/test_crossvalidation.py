"""Cross-validation: every case is tested once, by a network that was not trained on any scan of the same patient."""

import csv
import json

import numpy as np
import pytest
import torch
import yaml
from lvnet.errors import ConfigurationError
from lvnet.image_io import write_image, write_labels
from lvnet.recipe import LIVER
from lvnet.volume import Volume
from lvnet_training import crossvalidation
from lvnet_training.cli import main
from lvnet_training.splits import make_folds, read_patients, read_split

NAMES = ("a1", "a2", "b", "c", "none")
SETTINGS = {
    "samples_per_epoch": 24,
    "architecture": {"widths": [4, 6, 8, 8, 10], "expansion": 1, "kernel_size": 3},
    "preprocessing": {"window": [-120, 240], "mean": 22.0, "std": 86.0, "in_plane_spacing": [8, 8], "slice_spacing": 8},
    "stages": [{"epochs": 2, "spacing": [8, 8, 8], "patch": [16, 32, 32], "batch": 2, "learning_rate": 5e-3}],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Four scans with a bright block, one without, a configuration and the patients."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("crossvalidation")
    for number, name in enumerate(NAMES):
        image = np.random.default_rng(number).integers(-30, 30, (20, 36, 40)).astype(np.int16)
        label = np.zeros(image.shape, np.uint8)
        if name != "none":
            label[5:15, 10:26, 8 + number : 22 + number] = 1
        image[label > 0] += 150
        image[:, :3] -= 150
        (folder / "data" / name).mkdir(parents=True)
        write_image(Volume(image, (8.0, 8.0, 8.0)), folder / "data" / name / "ct.nii.gz")
        write_labels(Volume(label, (8.0, 8.0, 8.0)), folder / "data" / name / "liver.nii.gz", [LIVER])
    (folder / "c.yaml").write_text(yaml.safe_dump(SETTINGS))
    (folder / "patients.csv").write_text("case,patient\na1,A\na2,A\nb,\n")
    return folder


def arguments(place, output, *more):
    return ["crossvalidate", str(place / "data"), "--config", str(place / "c.yaml"), "--output", str(output),
            "--folds", "2", "--patients", str(place / "patients.csv"), "--cache", str(place / "cache"),
            "--device", "cpu", *more]  # fmt: skip


@pytest.fixture(scope="module")
def whole(place):
    """An uninterrupted cross-validation."""
    assert main(arguments(place, place / "whole")) == 0
    return place / "whole"


def test_every_case_is_in_one_fold_and_a_patient_on_one_side():
    cases, patients = [f"case{n}" for n in range(11)], {"case3": "A", "case4": "A", "case7": "A", "case9": "B"}
    folds = make_folds(cases, 3, 5, patients)
    assert sorted(case for fold in folds for case in fold.test) == sorted(cases)
    for fold in folds:
        assert sorted(fold.train + fold.test) == sorted(cases) and fold.validation == ()
        assert len({case in fold.test for case in ("case3", "case4", "case7")}) == 1
        assert 3 <= len(fold.test) <= 4
    assert folds == make_folds(cases[::-1], 3, 5, patients) != make_folds(cases, 3, 6, patients)


@pytest.mark.parametrize("count", [0, 1, 6])
def test_more_folds_than_patients_or_fewer_than_two_are_refused(count):
    with pytest.raises(ConfigurationError, match="5 patients can be divided into 2 to 5 folds"):
        make_folds(["a", "b", "c", "d", "e", "f"], count, 1, {"a": "A", "b": "A"})


def test_scores_are_those_of_a_network_that_has_not_seen_the_case(whole):
    scores = json.loads((whole / "scores.json").read_text())
    assert set(scores) == set(NAMES)
    for name, case in scores.items():
        split = read_split(whole / f"fold-{case['fold']}" / "split.yaml")
        assert name in split.test and name not in split.train
    assert scores["a1"]["fold"] == scores["a2"]["fold"]
    with (whole / "scores.csv").open(newline="") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert set(rows) == set(NAMES)
    assert float(rows["b"]["dice"]) == pytest.approx(scores["b"]["dice"], abs=1e-4) and float(rows["b"]["dice"]) > 0.5
    assert scores["none"]["stray_ml"] == pytest.approx(scores["none"]["prediction_ml"], abs=1.0)


def test_what_is_found_without_the_organ_is_said_apart_and_lowers_no_mean(place, whole, capsys):
    assert main(arguments(place, whole)) == 0
    *_, shown, empty = capsys.readouterr().out.strip().splitlines()
    scores = json.loads((whole / "scores.json").read_text())
    mean = np.mean([scores[name]["dice"] for name in NAMES if name != "none"])
    assert shown.startswith(f"4 cases with the organ: DICE {mean:.4f} +- ")
    assert empty.startswith("cases without it: 1") and f"none {scores['none']['stray_ml']:.1f} ml" in empty


def test_an_interrupted_one_goes_on_and_ends_with_the_same_scores(place, whole, monkeypatch):
    real, calls = crossvalidation.score, []

    def interrupted(*arguments, **more):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*arguments, **more)

    monkeypatch.setattr(crossvalidation, "score", interrupted)
    assert main(arguments(place, place / "again")) == 130
    assert not (place / "again" / "scores.json").exists()
    first = (place / "again" / "fold-1" / "last.pt").stat().st_mtime_ns
    assert main(arguments(place, place / "again")) == 0
    assert (place / "again" / "fold-1" / "last.pt").stat().st_mtime_ns == first
    assert json.loads((place / "again" / "scores.json").read_text()) == json.loads((whole / "scores.json").read_text())


@pytest.mark.parametrize("more", [["--seed", "2"], ["--folds", "3"]])
def test_a_folder_of_other_folds_is_refused_and_left_as_it_was(place, whole, more, capsys):
    before = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    assert main(arguments(place, whole, *more)) == 2
    assert "choose another --output" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before} == before


def test_patients_come_from_a_table_or_a_mapping(tmp_path):
    (tmp_path / "p.csv").write_text("case,patient,more\na,A,1\nb,,2\n")
    (tmp_path / "p.yaml").write_text("{a: A}")
    assert read_patients(tmp_path / "p.csv") == read_patients(tmp_path / "p.yaml") == {"a": "A"}
    (tmp_path / "wrong.csv").write_text("name,patient\na,A\n")
    with pytest.raises(ConfigurationError, match="it has no column 'case'"):
        read_patients(tmp_path / "wrong.csv")
