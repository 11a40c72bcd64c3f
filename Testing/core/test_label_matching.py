"""Matching labels of prediction and reference: as requested, by name, by value, or an error if ambiguous."""

from __future__ import annotations

import json

import numpy as np
import pytest
from lvnet.cli import main
from lvnet.errors import ConfigurationError
from lvnet.evaluation import REFERENCE_SETS, evaluate, evaluate_folders
from lvnet.evaluation.organ_names import canonical
from lvnet.evaluation.reference_sets import reference_set
from lvnet.image_io import write_labels
from lvnet.recipe import LIVER, LabelClass
from lvnet.volume import Segment, Volume

SHAPE = (8, 12, 12)
LIVER_BOX = (slice(1, 7), slice(2, 10), slice(2, 10))
TUMOUR_BOX = (slice(3, 5), slice(4, 7), slice(4, 7))
OTHER_BOX = (slice(1, 7), slice(10, 12), slice(0, 12))
SPLEEN = LabelClass(1, "spleen", "78961009", "Spleen")


def volume(liver=1, tumour=None, other=None, segments=()):
    array = np.zeros(SHAPE, np.uint8)
    array[LIVER_BOX] = liver
    if tumour is not None:
        array[TUMOUR_BOX] = tumour
    if other is not None:
        array[OTHER_BOX] = other
    return Volume(array, segments=segments)


def named(**names):
    return tuple(Segment(value, name.replace("_", " "), "", (value,)) for name, value in names.items())


def save(path, image, classes=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = [int(v) for v in np.unique(image.array) if v]
    write_labels(image, path, classes or [LabelClass(value, f"organ {value}") for value in values])
    return path


OURS = volume()
LITS = volume(tumour=2)
#: The formats in which references of this liver are distributed, each with the single option that it needs.
FORMS = {
    "lits": (LITS, {"reference_set": "lits"}),
    "msd": (LITS, {"reference_set": "msd"}),
    "btcv": (volume(6, other=1), {"reference_set": "btcv"}),
    "synapse": (volume(6, other=1), {"reference_set": "synapse"}),
    "totalsegmentator": (volume(5, other=1), {"reference_set": "totalsegmentator"}),
    "totalsegmentator v1": (volume(5, other=1), {"reference_set": "TotalSegmentator_v1"}),
    "amos": (volume(6, other=1), {"reference_set": "amos"}),
    "flare": (volume(1, other=3), {"reference_set": "flare"}),
    "word": (volume(1, other=2), {"reference_set": "word"}),
    "lits by number": (LITS, {"labels": "1=1+2"}),
    "btcv by number": (volume(6, other=1), {"labels": "1=6"}),
    "by name and number": (volume(6, other=1), {"labels": "liver=6"}),
    "mask": (volume(255), {}),
    "chaos": (volume(255), {"reference_set": "chaos"}),
    "ircadb": (volume(255), {"reference_set": "3d-ircadb"}),
    "names": (volume(2, other=1, segments=named(Spleen=1, Liver=2)), {}),
    "names with tumour": (volume(4, 7, 1, named(spleen=1, Liver=4, liver_tumor=7)), {}),
    "code": (volume(2, other=1, segments=(Segment(2, "Segment_2", "Liver", (2,)),)), {}),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_perfect_liver_scores_1_by_at_most_one_option(form):
    reference, options = FORMS[form]
    result = evaluate(OURS, reference, **options)
    assert result["dice"] == 1
    assert result["reference_ml"] == result["prediction_ml"] > 0


@pytest.mark.parametrize("reference", [LITS, volume(6, other=1), volume(5, other=1), volume(1, other=2)])
def test_where_there_is_no_telling_both_sides_are_shown_and_an_option_that_helps(reference, tmp_path, capsys):
    one, other = save(tmp_path / "ours.nii.gz", OURS), save(tmp_path / "theirs.nii.gz", reference)
    assert main(["evaluate", str(one), str(other)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    held = ", ".join(str(v) for v in np.unique(reference.array) if v)
    assert printed.err.count("\n") == 1
    assert f"the prediction contains label 1, the reference labels {held}" in printed.err
    proposed = printed.err.split("--reference-set ")[1].split(",")[0].split(" or ")
    scores = [evaluate(one, other, reference_set=name)["dice"] for name in proposed]
    assert max(scores) == 1
    assert main(["evaluate", str(one), str(other), "--reference-set", proposed[scores.index(1)]]) == 0


def test_tumours_in_the_liver_count_as_liver_and_that_is_said():
    result = evaluate(OURS, LITS, reference_set="lits")
    assert result["notes"] == [
        "label 1 (liver) of the prediction against labels 1 (liver), 2 (liver tumour) of the reference: tumours in the "
        "liver count as liver"
    ]


def test_a_network_with_tumours_is_scored_for_the_whole_liver_and_for_them():
    segments = named(liver=1, tumour=2)
    result = evaluate(volume(tumour=2, segments=segments), LITS, reference_set="lits")
    assert result["dice"] == 1  # only the liver has a name in both: "tumour" could be in any organ
    result = evaluate(volume(tumour=2, segments=named(liver=1, liver_tumor=2)), LITS, reference_set="lits")
    assert {key: entry["dice"] for key, entry in result["labels"].items()} == {"liver": 1, "liver tumour": 1}
    whole, tumour = (result["labels"][key]["reference_ml"] for key in ("liver", "liver tumour"))
    assert (whole, tumour) == pytest.approx((6 * 8 * 8 / 1000, 2 * 3 * 3 / 1000))


def test_a_tumour_of_another_organ_is_no_liver():
    reference = volume(6, tumour=9, other=1, segments=named(kidney=1, liver=6, tumor=9))
    result = evaluate(OURS, reference)
    assert result["reference_ml"] == pytest.approx((6 * 8 * 8 - 2 * 3 * 3) / 1000)
    assert "labels 1 (kidney), 9 (tumor) of the reference" in result["notes"][1]


def test_labels_as_said_are_taken_literally():
    reference = volume(tumour=2, segments=named(liver=1, tumour=2))
    literal = evaluate(OURS, reference, labels="1=liver")
    assert literal["reference_ml"] < evaluate(OURS, reference, labels="1=liver+tumour")["reference_ml"]
    several = evaluate(OURS, reference, labels="1=1, liver=2")["labels"]
    assert list(several) == ["1", "liver"]
    assert several["liver"]["reference_ml"] == pytest.approx(2 * 3 * 3 / 1000)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"labels": "1=hepar2"}, "the reference has no label 'hepar2'; it contains labels 1, 2"),
        ({"labels": "1=2=3"}, "are invalid; write PREDICTION=REFERENCE"),
        ({"labels": "1="}, "are invalid; write PREDICTION=REFERENCE"),
        ({"labels": "1=1,1=2"}, "twice"),
        ({"labels": "0=1"}, "background"),
        ({"labels": "1=1", "label": 1}, "give only one of them"),
        ({"reference_set": "mine"}, "choose one of lits, msd, btcv"),
        ({"threshold": 2.0}, "threshold"),
    ],
)
def test_options_that_make_no_sense_are_one_line(options, words):
    with pytest.raises(ConfigurationError, match=words) as caught:
        evaluate(OURS, LITS, **options)
    assert "\n" not in str(caught.value)


def test_a_label_that_does_not_occur_is_said():
    (note,) = evaluate(OURS, LITS, labels="1=7")["notes"]
    assert note == "label 7 does not occur in the reference, which contains labels 1, 2"


def test_masks_of_two_organs_are_not_compared():
    with pytest.raises(ConfigurationError, match=r"label 1 \(liver\), the reference label 1 \(spleen\)"):
        evaluate(volume(segments=named(liver=1)), volume(segments=named(spleen=1)))
    result = evaluate(volume(segments=named(liver_by_AI=1)), volume(3, segments=named(Segment_1=3)))
    assert result["dice"] == 1
    assert "(liver by AI)" in result["notes"][0] and "(Segment 1)" in result["notes"][0]


def test_an_organ_that_a_named_prediction_missed_counts_as_missed():
    names = named(liver=1, spleen=2)
    result = evaluate(volume(segments=names), volume(other=2, segments=names))
    assert {key: entry["dice"] for key, entry in result["labels"].items()} == {"liver": 1, "spleen": 0}


def test_an_empty_prediction_is_a_score_of_0_for_the_liver():
    result = evaluate(Volume(np.zeros(SHAPE, np.uint8)), LITS, reference_set="lits")
    assert (result["dice"], result["assd_mm_reason"]) == (0, "the prediction is empty")
    assert result["reference_ml"] == pytest.approx(6 * 8 * 8 / 1000)


def test_names_of_seg_nrrd_files_are_matched_not_their_values(tmp_path):
    ours = save(tmp_path / "ours.seg.nrrd", OURS, [LIVER])
    classes = [SPLEEN, LabelClass(2, "liver", LIVER.code, LIVER.meaning)]
    theirs = save(tmp_path / "theirs.seg.nrrd", volume(2, other=1), classes)
    result = evaluate(ours, theirs)
    assert result["dice"] == 1
    assert result["notes"][1].startswith("not compared: label 1 (spleen)")
    assert evaluate(ours, theirs, labels="liver=spleen")["dice"] == 0


@pytest.mark.parametrize(
    "labels",
    [
        {"background": 0, "spleen": 1, "liver": 6},
        {"0": "background", "1": "spleen", "6": "Liver"},
        {"background": 0, "spleen": 1, "liver": [6, 7], "tumour": 7},
    ],
)
@pytest.mark.parametrize("place", ["labelsTr/case.nii.gz", "case.nii.gz"])
def test_a_dataset_json_names_the_labels_of_the_files_beside_and_below_it(tmp_path, labels, place):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset.json").write_text(json.dumps({"labels": labels}), encoding="utf-8")
    reference = volume(6, tumour=7 if "tumour" in labels else None, other=1)
    assert evaluate(OURS, save(tmp_path / "data" / place, reference))["dice"] == 1


def test_a_dataset_json_above_a_folder_of_predictions_does_not_name_their_labels(tmp_path):
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"spleen": 1, "liver": 6}}), encoding="utf-8")
    ours, theirs = (
        save(tmp_path / "ours" / "a.nii.gz", OURS),
        save(tmp_path / "labelsTr" / "a.nii.gz", volume(6, None, 1)),
    )
    assert evaluate(ours, theirs)["dice"] == 1


@pytest.mark.parametrize("text", ["{", "[]", '{"labels": 3}', '{"labels": {"liver": "x"}}', '{"labels": {"a": [[1]]}}'])
def test_a_dataset_json_that_cannot_be_used_is_said(tmp_path, text):
    (tmp_path / "dataset.json").write_text(text, encoding="utf-8")
    (note,) = evaluate(OURS, save(tmp_path / "a.nii.gz", OURS))["notes"]
    assert note == "dataset.json beside a.nii.gz contains no readable labels"


def test_folders_by_one_option_and_a_report_with_the_same_masks(tmp_path, capsys):
    for case, reference in {"a": LITS, "b": OURS, "c": LITS}.items():
        save(tmp_path / "ours" / f"{case}.nii.gz", OURS)
        save(tmp_path / "lits" / f"{case}.nii.gz", reference)
    folders = [str(tmp_path / "ours"), str(tmp_path / "lits")]
    assert main(["evaluate", *folders]) == 2
    assert "not evaluated: a: it is unclear which labels belong together" in capsys.readouterr().err
    page = tmp_path / "page.html"
    assert main(["evaluate", *folders, "--reference-set", "lits", "--report", str(page), "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [case["dice"] for case in result["cases"].values()] == [1, 1, 1]
    assert result["summary"]["dice"]["mean"] == 1
    assert "missed: in the reference only" in page.read_text(encoding="utf-8")


def test_what_one_case_leaves_open_all_cases_together_settle(tmp_path):
    """A two-label prediction without a tumour in one case does not make its label 1 ambiguous."""
    save(tmp_path / "ours" / "a.nii.gz", volume(tumour=2))
    save(tmp_path / "ours" / "b.nii.gz", OURS)
    for case in "ab":
        save(tmp_path / "theirs" / f"{case}.nii.gz", LITS)
    result = evaluate_folders(tmp_path / "ours", tmp_path / "theirs")
    assert result["failed"] == {}
    assert {key: entry["dice"] for key, entry in result["cases"]["a"]["labels"].items()} == {"1": 1, "2": 1}
    assert result["cases"]["b"]["labels"]["2"]["dice"] == 0
    assert list(result["summary"]["labels"]) == ["1", "2"]


def test_a_checkpoints_recipe_names_the_predictions_labels(tmp_path):
    from lvnet.checkpoint import save_checkpoint
    from lvnet.network import LVNet
    from lvnet.recipe import Architecture, Recipe

    classes = (LabelClass(1, "spleen"), LabelClass(2, "liver"))
    architecture = Architecture(classes=3, widths=(2, 4), expansion=1, kernel_size=3)
    recipe = Recipe(architecture, classes=classes)
    save_checkpoint(tmp_path / "two.safetensors", LVNet(architecture).state_dict(), recipe)
    ours, theirs = volume(2, other=1), volume(6, other=1)
    result = evaluate(ours, theirs, weights=tmp_path / "two.safetensors", reference_set="btcv")
    assert {key: entry["dice"] for key, entry in result["labels"].items()} == {"liver": 1, "spleen": 1}


def test_spellings_of_one_organ_are_one_name():
    assert canonical("Kidney_Left") == canonical("left kidney") == canonical("LEFT-KIDNEY")
    assert canonical("gall bladder") == canonical("Gallbladder") == "gallbladder"
    assert canonical("Hepatic tumor") == canonical("liver_cancer") == canonical("liver lesions") == "liver tumour"
    assert canonical("urinary bladder") == canonical("bladder") != canonical("gallbladder")
    assert canonical("Tissue") == canonical("background") == ""


def test_every_reference_set_knows_the_liver():
    for name in REFERENCE_SETS:
        assert "liver" in reference_set(name).values()
