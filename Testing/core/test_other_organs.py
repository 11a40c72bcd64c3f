"""Checkpoints for other organs use the checks in their recipe, and never those of the liver."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from lvnet.anatomy import Anatomy, Limits, Organ
from lvnet.checkpoint import load_checkpoint, save_checkpoint
from lvnet.cli import main
from lvnet.errors import CheckpointError, ConfigurationError
from lvnet.image_io import write_image
from lvnet.network import LVNet
from lvnet.phantom import make_phantom
from lvnet.pipeline import check_scan
from lvnet.recipe import LIVER, Architecture, LabelClass, Preprocessing, Recipe
from lvnet.scanchecks import NOTE, WARNING
from lvnet.selfcheck import self_check
from lvnet.volume import Volume
from lvnet.worker import tasks
from lvnet.worker.exchange import SCAN_FILE, write_array
from lvnet.worker.messages.requests import request_of

#: Recipes that a user could write for other organs; the last has no information on anatomy.
RECIPES = {
    "spleen": Anatomy("abdomen", 220.0, 180.0, (80.0, 140.0), (Organ(3, volume_ml=Limits((80.0, 350.0))),)),
    "lung": Anatomy("chest", 220.0, 180.0, (180.0, 320.0), (Organ(3, median_hu=Limits((-950.0, -600.0))),)),
    "kidney": None,
}
#: Words from the liver's own recipe.
LIVER_WORDS = ("liver", "hepat", "120 to 220", "600 to 2750")


def recipe_of(organ: str) -> Recipe:
    window = (-1000.0, 400.0) if organ == "lung" else (-200.0, 200.0)
    return Recipe(
        Architecture(widths=(4, 6, 8, 8, 10), kernel_size=3, expansion=1),
        Preprocessing(window, mean=0.0, std=100.0, in_plane_spacing=(3.0, 3.0), slice_spacing=4.0),
        (LabelClass(3, organ),),
        name="other",
        anatomy=RECIPES[organ],
    )


@pytest.fixture(scope="module", params=RECIPES)
def weights(request, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("weights") / f"{request.param}.safetensors"
    torch.manual_seed(3)
    save_checkpoint(path, LVNet(recipe_of(request.param).architecture).state_dict(), recipe_of(request.param))
    return str(path)


@pytest.fixture(autouse=True)
def no_harm(monkeypatch):
    """Disables process-wide settings that are meant for the worker's own process."""
    monkeypatch.setattr("lvnet.acceleration.allocator.keep_pages", lambda: False)
    monkeypatch.setitem(tasks._torch, "module", None)
    monkeypatch.setitem(tasks._loaded, "key", None)


@pytest.fixture(scope="module")
def stub() -> Volume:
    """A short, narrow piece of a body, for which all checks of size give a warning."""
    scan = make_phantom(2, size=(40, 64, 64), spacing=(5.0, 6.0, 6.0))[0]
    return Volume(np.ascontiguousarray(scan.array[18:24, 20:40, 20:40]), scan.spacing)


def speaks_of_the_liver(text: str) -> bool:
    return any(word in text.lower() for word in LIVER_WORDS)


def test_the_command_line_and_the_worker_do_not_speak_of_the_liver(weights, stub, tmp_path, capsys):
    folder = tmp_path / "scans"
    folder.mkdir()
    write_image(stub, folder / "ct.nrrd")
    flags = ["--format", ".nrrd", "--weights", weights, "--device", "cpu"]
    assert main(["segment", str(folder), "-o", str(tmp_path / "out"), *flags, "--json"]) == 0
    said = capsys.readouterr()
    (report,) = json.loads(said.out)
    request = {"input": str(folder), "output": str(tmp_path / "out"), "suffix": ".nrrd", "weights": weights}
    request = request_of({"do": "folder", **request, "device": "cpu"})
    (told,) = tasks.folder_task(request, lambda *_: None, lambda: False).scans
    write_array(tmp_path / SCAN_FILE, stub.array, stub.array.shape, stub.array.dtype)
    place = {"spacing": list(stub.spacing), "origin": [0, 0, 0], "direction": [1, 0, 0, 0, 1, 0, 0, 0, 1]}
    request = {"folder": str(tmp_path), "weights": weights, "device": "cpu", **place}
    handed = tasks.segment_task(request_of({"do": "segment", **request}), lambda *_: None, lambda: False).to_fields()
    assert report["checks"] and report["input_checks"] == told["input_checks"] == handed["input_checks"]
    organ = load_checkpoint(weights).recipe.organs
    assert all(check["name"].startswith(organ) for check in [*told["checks"], *handed["checks"]])
    for words in (said.err, json.dumps(report), json.dumps(told), json.dumps(handed)):
        assert organ in words and not speaks_of_the_liver(words.replace(str(tmp_path), "")), words


def test_the_panels_door_says_the_same_as_the_command_line(weights, stub):
    recipe = load_checkpoint(weights).recipe
    found = check_scan(stub, weights)
    assert found == check_scan(stub, recipe)
    assert not speaks_of_the_liver(" ".join(finding.sentence for finding in found))
    assert any(speaks_of_the_liver(finding.sentence) for finding in check_scan(stub)), "the bundled weights do ask"
    sizes = [finding.sentence for finding in found if finding.severity == WARNING]
    assert any("usual height" in words for words in sizes) == (recipe.anatomy is not None)


def test_weights_that_changed_on_disk_are_read_again(stub, tmp_path):
    path = tmp_path / "w.safetensors"
    for organ in ("spleen", "lung"):
        recipe = recipe_of(organ)
        save_checkpoint(path, LVNet(recipe.architecture).state_dict(), recipe)
        assert any(f"height of the {organ}" in finding.sentence for finding in check_scan(stub, path))
    with pytest.raises(CheckpointError):
        check_scan(stub, tmp_path / "absent.safetensors")


def chest(levels: int = 30) -> np.ndarray:
    y, x = np.mgrid[:128, :128]
    body = ((x - 64) / 50) ** 2 + ((y - 64) / 36) ** 2 < 1
    lungs = (((np.abs(x - 64) - 24) / 18) ** 2 + ((y - 64) / 26) ** 2) < 1
    plane = np.where(body & ~lungs, 40, np.where(lungs, -850, -1000))
    noise = np.random.default_rng(1).normal(0, 10, (levels, 128, 128))
    return (plane[None] + noise).astype(np.int16)


def test_a_chest_is_right_for_a_lung_and_a_question_for_a_spleen():
    scan = Volume(chest(40), (5.0, 3.0, 3.0))
    assert check_scan(scan, recipe_of("lung")) == ()
    assert check_scan(scan, recipe_of("kidney")) == (), "nothing is known of where it lies"
    (finding,) = check_scan(scan, recipe_of("spleen"))
    assert "reach down to the spleen" in finding.sentence
    abdomen = Volume(np.where(scan.array < -500, np.where(scan.array > -900, 40, -1000), scan.array), scan.spacing)
    assert ["no lungs" in finding.sentence for finding in check_scan(abdomen, recipe_of("lung"))] == [True]
    assert check_scan(abdomen, recipe_of("spleen")) == ()


def test_what_was_cut_off_matters_where_the_network_looks():
    scan = Volume(np.clip(chest(40), -200, 240), (5.0, 3.0, 3.0))
    severities = {
        organ: [f.severity for f in check_scan(scan, recipe_of(organ)) if "cut off" in f.sentence] for organ in RECIPES
    }
    assert severities == {"spleen": [NOTE], "kidney": [NOTE], "lung": [WARNING]}
    bone = replace(recipe_of("kidney"), preprocessing=Preprocessing((-200.0, 1500.0)))
    bright = Volume(np.clip(5 * chest(40), -1000, 150), (5.0, 3.0, 3.0))
    assert any("above 150 HU were cut off" in finding.sentence for finding in check_scan(bright, bone))


def test_a_result_is_judged_by_the_recipe_and_not_at_all_where_that_says_nothing():
    scan = Volume(np.full((20, 20, 20), 50, np.int16), (5.0, 5.0, 5.0))
    labels = np.zeros(scan.shape, np.uint8)
    labels[5:15, 5:15, 5:15] = 3  # 125 ml
    verdicts = {}
    for organ in RECIPES:
        checks = self_check(scan, scan.with_array(labels), None, recipe_of(organ))
        verdicts[organ] = {check.name.split()[1]: check.verdict for check in checks}
        assert not speaks_of_the_liver(" ".join(check.sentence for check in checks))
    assert (verdicts["spleen"]["volume"], verdicts["spleen"]["brightness"]) == ("ok", None)
    assert (verdicts["lung"]["volume"], verdicts["lung"]["brightness"]) == (None, "look")
    assert (verdicts["kidney"]["volume"], verdicts["kidney"]["brightness"]) == (None, None)
    nothing = scan.with_array(np.zeros_like(labels))
    assert [self_check(scan, nothing, None, recipe_of(organ))[0].verdict for organ in RECIPES] == [
        "wrong",
        "look",
        "look",
    ]


# The recipe itself ----------------------------------------------------------------------------------------------------


def test_an_anatomy_comes_back_from_the_file_and_recipes_without_one_stay_as_they_were():
    for organ in RECIPES:
        recipe = recipe_of(organ)
        assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert "anatomy" not in Recipe().to_dict()
    assert Recipe().expects.region == "abdomen" and Recipe().expects.of(LIVER.value).volume_ml.ok == (600.0, 2750.0)
    named = Recipe(Architecture(classes=3), classes=(LabelClass(4, "Spleen"), LabelClass(9, " Liver ")))
    assert named.expects.of(9) is not None and named.expects.of(4) is None
    assert named.organs == "Spleen and  Liver "


@pytest.mark.parametrize(
    "anatomy",
    [
        {"region": "abdomen\n"}, {"region": "x" * 41}, {"section_cm2": -1}, {"height_mm": [5, 1]}, {"height_mm": [1]},
        {"organs": [{"value": 9}]}, {"organs": [{"value": 1}] * 2}, {"organs": [{"value": 1, "volume_ml": 5}]},
        {"organs": [{"value": 1, "volume_ml": {"ok": [1, 2, 3]}}]}, {"organs": "liver"}, {"size": 1}, [], "abdomen",
    ],
)  # fmt: skip
def test_an_anatomy_that_cannot_be_is_refused_in_one_line(anatomy):
    with pytest.raises(CheckpointError) as refused:
        Recipe.from_dict({**Recipe().to_dict(), "anatomy": anatomy})
    assert "\n" not in str(refused.value)


def test_an_organ_of_no_class_is_refused():
    with pytest.raises(ConfigurationError, match="not among the classes"):
        Recipe(anatomy=Anatomy(organs=(Organ(2),)))
