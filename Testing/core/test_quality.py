"""The expected quality of a result: the features that are measured, and the prediction made from them."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from lvnet.errors import CheckpointError, ConfigurationError
from lvnet.quality import FEATURES, Quality
from lvnet.recipe import Recipe
from lvnet.selfcheck import measure, self_check
from lvnet.volume import Volume
from scipy import ndimage

SPACING = (4.0, 2.5, 2.5)
MODEL = Quality(
    features=("doubtful", "dark_tail"),
    centre=(0.1, 0.05),
    scale=(0.05, 0.05),
    weight=(0.2, 0.1),
    lowest=(0.05, 0.0),
    highest=(0.3, 0.4),
    bias=-1.2,
    interval=(-0.2, 0.3),
    look_below=0.90,
    wrong_below=0.80,
)


@pytest.fixture
def scene():
    """A soft ball of 60 HU in fat, of which the network is certain."""
    z, y, x = np.meshgrid(*(np.arange(n) for n in (20, 48, 48)), indexing="ij")
    distance = np.sqrt(((z - 10) * 4.0) ** 2 + ((y - 24) * 2.5) ** 2 + ((x - 24) * 2.5) ** 2) - 30.0
    probability = (1 / (1 + np.exp(distance / 1.0))).astype(np.float32)
    image = np.where(distance < 0, 60.0, -100.0).astype(np.float32)
    image[:, :4] = -120.0
    return probability, np.zeros_like(probability), image


def test_every_feature_is_measured_and_a_result_without_organ_has_none(scene):
    found = measure(*scene, SPACING)
    assert set(found) == set(FEATURES)
    assert all(np.isfinite(value) for value in found.values())
    assert measure(np.zeros_like(scene[0]), scene[1], scene[2], SPACING) == {}


def test_a_blurred_result_is_more_doubtful_and_loses_more(scene):
    probability, spread, image = scene
    sure = measure(probability, spread, image, SPACING)
    blurred = measure(ndimage.gaussian_filter(probability, 2), spread, image, SPACING)
    assert blurred["doubtful"] > 1.5 * sure["doubtful"]
    assert blurred["soft_loss"] > 1.5 * sure["soft_loss"]


def test_slabs_that_disagree_are_seen(scene):
    probability, spread, image = scene
    split = spread.copy()
    split[8:12, 20:28, 20:28] = 0.5
    assert measure(probability, split, image, SPACING)["disagreement"] > 0
    assert measure(probability, spread, image, SPACING)["disagreement"] == 0


def test_fluid_that_was_taken_in_shows_as_a_dark_tail(scene):
    probability, spread, image = scene
    wet = image.copy()
    wet[:, 28:34, 18:30] = np.where(probability[:, 28:34, 18:30] > 0.5, 5.0, image[:, 28:34, 18:30])
    assert measure(probability, spread, wet, SPACING)["dark_tail"] > 0.03
    assert measure(probability, spread, image, SPACING)["dark_tail"] == 0


def test_a_ragged_outline_is_rougher_and_crumbs_are_counted(scene):
    probability, spread, image = scene
    rng = np.random.default_rng(0)
    ragged = np.clip(probability + rng.normal(0, 0.4, probability.shape), 0, 1).astype(np.float32)
    assert measure(ragged, spread, image, SPACING)["roughness"] > 1.2 * measure(*scene, SPACING)["roughness"]
    with_crumb = probability.copy()
    with_crumb[2:5, 40:44, 40:44] = 0.9
    assert measure(with_crumb, spread, image, SPACING)["crumbs"] > 0
    assert measure(*scene, SPACING)["crumbs"] == 0


def test_a_larger_organ_in_the_same_body_is_larger(scene):
    probability, spread, image = scene
    grown = ndimage.grey_dilation(probability, size=(3, 3, 3))
    assert measure(grown, spread, image, SPACING)["size"] > measure(probability, spread, image, SPACING)["size"]


def test_more_doubt_is_a_lower_expected_dice_within_what_the_data_have_shown():
    good, bad = MODEL.expect({"doubtful": 0.07, "dark_tail": 0.0}), MODEL.expect({"doubtful": 0.25, "dark_tail": 0.3})
    assert good.dice > 0.94 > 0.80 > bad.dice
    assert bad.low < bad.dice < bad.high
    beyond = MODEL.expect({"doubtful": 5.0, "dark_tail": 5.0})
    assert beyond == MODEL.expect({"doubtful": 0.3, "dark_tail": 0.4}), "nothing is extrapolated"
    assert MODEL.expect({"doubtful": 0.1}) is None
    assert MODEL.expect({"doubtful": float("nan"), "dark_tail": 0.0}) is None


@pytest.mark.parametrize(("doubtful", "verdict"), [(0.06, "ok"), (0.2, "look"), (0.30, "wrong")])
def test_the_self_check_prints_the_expected_dice_with_its_verdict(doubtful, verdict):
    recipe = dataclasses.replace(Recipe(), quality=MODEL)
    labels = np.zeros((6, 8, 8), np.uint8)
    labels[2:4, 2:6, 2:6] = 1
    scan = Volume(np.full(labels.shape, 60, np.int16), SPACING)
    tail = {0.06: 0.0, 0.2: 0.05, 0.30: 0.4}[doubtful]
    expected = MODEL.expect({"doubtful": doubtful, "dark_tail": tail})
    checks = self_check(scan, scan.with_array(labels), None, recipe, expected={1: expected})
    check = next(check for check in checks if check.name == "liver expected dice")
    assert check.verdict == verdict
    assert f"{expected.dice:.2f} ({expected.low:.2f} to {expected.high:.2f})" in check.sentence
    assert ("compare the outline" in check.sentence) == (verdict != "ok")


def test_with_an_expected_dice_the_share_of_doubtful_voxels_is_reported_and_not_judged_twice():
    labels = np.zeros((6, 8, 8), np.uint8)
    labels[2:4, 2:6, 2:6] = 1
    scan = Volume(np.full(labels.shape, 60, np.int16), SPACING)
    calibrated = dataclasses.replace(Recipe(), quality=MODEL)
    likely = {1: MODEL.expect({"doubtful": 0.06, "dark_tail": 0.0})}
    for recipe, expected, verdict in ((Recipe(), None, "look"), (calibrated, likely, None)):
        checks = self_check(scan, scan.with_array(labels), None, recipe, low_confidence={1: 0.2}, expected=expected)
        assert next(check for check in checks if check.name == "liver confidence").verdict == verdict


def test_noise_is_no_fault_of_the_organ():
    """A low dose increases the spread of the scan's voxels, but hardly that of the network's output."""
    labels = np.zeros((6, 20, 20), np.uint8)
    labels[1:5, 4:16, 4:16] = 1
    noisy = Volume(np.random.default_rng(0).normal(60, 90, labels.shape).astype(np.int16), SPACING)
    for measured, verdict in (({}, "look"), ({1: {"spread": 20.0}}, "ok"), ({1: {"spread": 60.0}}, "look")):
        checks = self_check(noisy, noisy.with_array(labels), None, Recipe(), measured=measured)
        assert next(check for check in checks if check.name == "liver spread").verdict == verdict


def test_no_good_result_has_a_spread_that_is_called_unusual():
    with open(Path(__file__).parents[2] / "training" / "calibration.csv", encoding="utf-8") as file:
        spreads = [float(row["spread"]) for row in csv.DictReader(file) if float(row["dice"]) >= 0.94]
    low, high = Recipe().expects.organs[0].smoothed_spread_hu.ok
    assert len(spreads) > 90
    assert low < min(spreads) and max(spreads) < high


def test_the_model_travels_in_the_recipe_and_impossible_ones_are_refused():
    recipe = dataclasses.replace(Recipe(), quality=MODEL)
    assert Recipe.from_dict(recipe.to_dict()).quality == MODEL
    assert "quality" not in Recipe().to_dict(), "recipes without it stay as they were"
    assert Recipe.from_dict(Recipe().to_dict()).quality is None
    for change in ({"features": ["doubtful"]}, {"scale": [0.0, 1.0]}, {"interval": [0.1, 0.3]},
                   {"features": ["doubtful", "mood"]}, {"bias": "low"}):  # fmt: skip
        data = recipe.to_dict()
        data["quality"] = {**data["quality"], **change}
        with pytest.raises(CheckpointError):
            Recipe.from_dict(data)
    with pytest.raises(ConfigurationError, match="different lengths"):
        dataclasses.replace(MODEL, weight=(1.0,))
