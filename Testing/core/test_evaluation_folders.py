"""Evaluation of two folders of predictions and references."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from lvnet.errors import Cancelled, ConfigurationError, ImageError
from lvnet.evaluation import evaluate, evaluate_folders, write_csv

sitk = pytest.importorskip("SimpleITK")


def save(path, *boxes, spacing=1.0):
    """Saves a label map of boxes (value, size) that share a corner."""
    array = np.zeros((8, 9, 10), np.uint8)
    for value, size in boxes:
        array[1 : 1 + size, 1 : 1 + size, 1 : 1 + size] = value
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((spacing,) * 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "predictions").mkdir()
    (tmp_path / "references").mkdir()
    return tmp_path / "predictions", tmp_path / "references"


def test_cases_are_matched_by_name_whatever_their_suffix(folders):
    predictions, references = folders
    save(predictions / "a.nii.gz", (1, 4))
    save(references / "a.nrrd", (1, 5))
    save(predictions / "b.mha", (1, 4))
    save(references / "b" / "liver.nii.gz", (1, 4))
    save(references / "b" / "ct.nii.gz", (7, 4))
    save(predictions / "c" / "output.nii.gz", (1, 3))
    save(references / "c.nii.gz", (1, 3))
    (predictions / "notes.txt").write_text("not a label map")
    (predictions / ".hidden.nii.gz").write_text("not a label map")
    result = evaluate_folders(*folders)
    assert list(result["cases"]) == ["a", "b", "c"]
    assert result["cases"]["a"] == evaluate(predictions / "a.nii.gz", references / "a.nrrd")
    assert result["cases"]["b"]["dice"] == result["cases"]["c"]["dice"] == 1
    assert result["failed"] == {}
    assert result["unmatched_predictions"] == result["unmatched_references"] == []


def test_results_of_segmenting_scans_in_folders_are_matched_with_these(folders):
    predictions, references = folders
    save(predictions / "a_ct.nii.gz", (1, 4))
    save(references / "a" / "liver.nii.gz", (1, 4))
    save(predictions / "b.nii.gz", (1, 4))
    save(predictions / "b_ct.nii.gz", (1, 3))
    save(references / "b.nii.gz", (1, 4))
    result = evaluate_folders(*folders)
    assert [case["dice"] for case in result["cases"].values()] == [1, 1]
    assert list(result["cases"]) == ["a", "b"]
    assert result["unmatched_predictions"] == ["b_ct"]


def test_cases_without_a_partner_are_listed(folders):
    predictions, references = folders
    for folder, name in ((predictions, "both"), (references, "both"), (predictions, "mine"), (references, "yours")):
        save(folder / f"{name}.nii.gz", (1, 4))
    result = evaluate_folders(*folders)
    assert result["unmatched_predictions"] == ["mine"]
    assert result["unmatched_references"] == ["yours"]
    assert list(result["cases"]) == ["both"]


def test_a_case_that_fails_is_listed_and_stops_nobody(folders):
    predictions, references = folders
    for name in ("a", "b", "broken"):
        save(predictions / f"{name}.nii.gz", (1, 4))
        save(references / f"{name}.nii.gz", (1, 4), spacing=2.0 if name == "b" else 1.0)
    (references / "broken.nii.gz").write_bytes(b"nothing of use")
    result = evaluate_folders(*folders)
    assert list(result["cases"]) == ["a"]
    assert set(result["failed"]) == {"b", "broken"}
    assert "spacing" in result["failed"]["b"]
    assert list(evaluate_folders(*folders, resample=True)["cases"]) == ["a", "b"]


def test_two_files_for_one_case_are_a_failure_of_that_case(folders):
    predictions, references = folders
    for file in (predictions / "a.nii.gz", predictions / "a.nrrd", references / "a.nrrd"):
        save(file, (1, 4))
    result = evaluate_folders(*folders)
    assert result["cases"] == {}
    assert "a.nii.gz, a.nrrd" in result["failed"]["a"]
    assert result["summary"]["dice"]["mean"] is None
    json.dumps(result, allow_nan=False)


def test_the_summary_leaves_out_what_is_undefined_and_counts_it(folders):
    predictions, references = folders
    for name, size, reference in (("a", 3, 4), ("b", 4, 4), ("c", 5, 4), ("d", 0, 4)):
        save(predictions / f"{name}.nii.gz", (1, size))
        save(references / f"{name}.nii.gz", (1, reference))
    result = evaluate_folders(*folders)
    rvd = np.array([27 / 64 - 1, 0, 125 / 64 - 1, -1])
    assert result["summary"]["rvd"]["mean"] == pytest.approx(rvd.mean())
    assert result["summary"]["rvd"]["sd"] == pytest.approx(rvd.std(ddof=1))
    assert result["summary"]["rvd"]["median"] == pytest.approx(np.median(rvd))
    assert result["summary"]["absolute_rvd"]["mean"] == pytest.approx(np.abs(rvd).mean())
    assert result["summary"]["assd_mm"]["count"] == 3
    assert result["summary"]["assd_mm"]["undefined"] == 1
    json.dumps(result, allow_nan=False)


def test_one_case_has_no_standard_deviation_and_says_so(folders):
    for folder in folders:
        save(folder / "a.nii.gz", (1, 4))
    summary = evaluate_folders(*folders)["summary"]["dice"]
    assert summary["sd"] is None
    assert "fewer than two" in summary["sd_reason"]


def test_several_labels_among_the_cases_give_labels_everywhere(folders):
    predictions, references = folders
    save(predictions / "a.nii.gz", (2, 5), (1, 3))
    save(references / "a.nii.gz", (2, 5), (1, 2))
    save(predictions / "b.nii.gz", (1, 3))
    save(references / "b.nii.gz", (1, 3))
    save(predictions / "nothing.nii.gz")
    save(references / "nothing.nii.gz")
    result = evaluate_folders(*folders)
    assert set(result["cases"]["a"]["labels"]) == {"1", "2"}
    assert set(result["cases"]["b"]["labels"]) == {"1"}
    assert result["cases"]["nothing"]["dice"] == 1
    assert result["summary"]["labels"]["1"]["dice"]["count"] == 2
    assert result["summary"]["labels"]["2"]["dice"]["count"] == 1
    assert "labels" not in evaluate_folders(*folders, label=1)["summary"]


def test_progress_is_reported_and_cancelling_stops(folders):
    for folder in folders:
        for name in "ab":
            save(folder / f"{name}.nii.gz", (1, 4))
    told = []
    evaluate_folders(*folders, progress=lambda share, stage: told.append((share, stage)))
    assert told == [(0.0, "evaluating a"), (0.5, "evaluating b"), (1.0, "evaluated")]
    with pytest.raises(Cancelled):
        evaluate_folders(*folders, cancelled=lambda: True)


def test_folders_without_a_common_name_or_at_all_are_refused(folders, tmp_path):
    predictions, references = folders
    save(predictions / "a.nii.gz", (1, 4))
    save(references / "b.nii.gz", (1, 4))
    with pytest.raises(ImageError, match=r"no prediction has a reference of the same name \(a; b\).*_0000"):
        evaluate_folders(*folders)
    with pytest.raises(ImageError, match="cannot be listed"):
        evaluate_folders(tmp_path / "absent", references)
    with pytest.raises(ConfigurationError, match="preset"):
        evaluate_folders(*folders, preset="nothing")


def test_the_table_has_a_row_for_each_case_and_reasons_for_gaps(folders, tmp_path):
    predictions, references = folders
    for name, size in (("a", 4), ("missed", 0)):
        save(predictions / f"{name}.nii.gz", (1, size))
        save(references / f"{name}.nii.gz", (1, 4))
    save(predictions / "alone.nii.gz", (1, 4))
    save(predictions / "bad.nii.gz", (1, 4))
    save(references / "bad.nii.gz", (1, 4), spacing=3.0)
    write_csv(evaluate_folders(*folders), tmp_path / "table.csv")
    with open(tmp_path / "table.csv", newline="", encoding="utf-8") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["a", "missed", "bad", "alone"]
    assert float(rows["a"]["dice"]) == 1
    assert rows["missed"]["assd_mm"] == ""
    assert rows["missed"]["assd_mm_reason"] == "the prediction is empty"
    assert "different grids" in rows["bad"]["error"]
    assert rows["alone"]["error"] == "no reference"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["predictions", "references", "table.csv"]


@pytest.mark.parametrize(
    ("prediction", "reference", "words"),
    [
        ("liver_0_0000", "liver_0", "channel number"),
        ("FLARE22_Tr_0001_0000", "FLARE22_Tr_0001", "channel number"),
        ("volume-0", "segmentation-0", "LiTS"),
        ("segmentation-0", "volume-0", "LiTS"),
        ("volume-10", "labels-10", "LiTS"),
        ("img0001", "label0001", "LiTS"),
        ("case_7_pred", "case_7", "kind of file"),
        ("Case7", "case7_gt", "kind of file"),
        ("case1_ct", "case1", "_ct"),
    ],
)
def test_names_as_data_sets_have_them_are_paired_and_the_rule_is_said(folders, prediction, reference, words):
    predictions, references = folders
    save(predictions / f"{prediction}.nii.gz", (1, 4))
    save(references / f"{reference}.nii.gz", (1, 4))
    result = evaluate_folders(*folders)
    assert {name: case["dice"] for name, case in result["cases"].items()} == {reference: 1}
    assert words in result["notes"][0] and f"{prediction} with {reference}" in result["notes"][0]


def test_many_cases_of_lits_are_paired_by_their_numbers(folders):
    predictions, references = folders
    for number in (1, 10, 11, 100):
        save(predictions / f"volume-{number}.nii.gz", (1, 3 + (number == 11)))
        save(references / f"segmentation-{number}.nii.gz", (1, 3))
    result = evaluate_folders(*folders)
    scores = {name: case["dice"] for name, case in result["cases"].items()}
    assert len(scores) == 4 and scores["segmentation-11"] < scores["segmentation-1"] == 1
    assert result["unmatched_predictions"] == result["unmatched_references"] == []


def test_names_that_several_cases_could_mean_are_not_paired(folders):
    predictions, references = folders
    for name in ("both", "volume-0", "pred-0"):
        save(predictions / f"{name}.nii.gz", (1, 4))
    for name in ("both", "segmentation-0"):
        save(references / f"{name}.nii.gz", (1, 4))
    result = evaluate_folders(*folders)
    assert list(result["cases"]) == ["both"]
    assert result["unmatched_predictions"] == ["pred-0", "volume-0"]


def test_a_folder_a_case_as_totalsegmentator_and_others_have_it(folders):
    predictions, references = folders
    save(predictions / "s0001.nii.gz", (1, 4))
    save(references / "s0001" / "ct.nii.gz", (7, 5))
    save(references / "s0001" / "segmentations" / "liver.nii.gz", (1, 4))
    save(references / "s0001" / "segmentations" / "spleen.nii.gz", (1, 2))
    save(predictions / "s0002_ct.nii.gz", (1, 4))
    save(references / "s0002" / "ct.nii.gz", (7, 5))
    save(references / "s0002" / "organs.nii.gz", (1, 4))
    result = evaluate_folders(*folders)
    assert {name: case["dice"] for name, case in result["cases"].items()} == {"s0001": 1, "s0002": 1}
    assert result["failed"] == {}
