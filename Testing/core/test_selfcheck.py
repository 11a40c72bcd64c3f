"""Checks of a segmentation without a reference: each detects its error and accepts a correct result."""

from __future__ import annotations

import json
import time
import tracemalloc

import numpy as np
import pytest
from lvnet.recipe import Architecture, LabelClass, Recipe
from lvnet.selfcheck import Check, Limits, low_confidence, low_confidence_share, self_check
from lvnet.volume import Volume

SPACING = (4.0, 3.0, 3.0)
SHAPE = (60, 80, 90)
LIVER = Recipe()


def ball(radius_mm=70.0, middle=(30, 40, 45), shape=SHAPE, spacing=SPACING):
    axes = [(np.arange(n) - m) * s for n, m, s in zip(shape, middle, spacing)]
    z, y, x = np.ix_(*axes)
    return z**2 + y**2 + x**2 <= radius_mm**2


def scan_of(labels, hu=110.0, noise=15.0):
    values = np.random.default_rng(3).normal(-50, noise, labels.shape)
    values += (labels > 0) * (hu + 50)
    return Volume(values.astype(np.int16), SPACING)


def check(labels, scan=None, soft=None, recipe=LIVER, **options):
    labels = np.asarray(labels).astype(np.uint8)
    scan = scan_of(labels) if scan is None else scan
    return {c.name: c for c in self_check(scan, scan.with_array(labels), soft, recipe, **options)}


def verdicts(found):
    return {name.partition(" ")[2]: c.verdict for name, c in found.items()}


def test_a_sound_liver_passes_every_check():
    labels = ball()
    found = check(labels, soft=labels.astype(np.float32))
    names = {"volume", "edge", "pieces", "holes", "confidence", "brightness", "spread"}
    assert verdicts(found) == dict.fromkeys(names, "ok")
    assert found["liver volume"].value == pytest.approx(labels.sum() * 0.036)
    assert found["liver brightness"].value == pytest.approx(110, abs=3)
    assert "1" in found["liver volume"].sentence and "ml" in found["liver volume"].sentence


@pytest.mark.parametrize(
    ("radius", "verdict", "word"), [(45, "look", "less"), (25, "wrong", "less"), (90, "look", "more")]
)
def test_an_implausible_volume_is_said(radius, verdict, word):
    found = check(ball(radius))
    assert found["liver volume"].verdict == verdict
    assert word in found["liver volume"].sentence


@pytest.mark.parametrize(
    ("middle", "side"),
    [
        ((2, 40, 45), "inferior"), ((58, 40, 45), "superior"), ((30, 2, 45), "anterior"),
        ((30, 78, 45), "posterior"), ((30, 40, 2), "right"), ((30, 40, 88), "left"),
    ],
)  # fmt: skip
def test_an_organ_cut_off_at_the_edge_is_said_with_the_side_and_its_area(middle, side):
    labels = ball(60, middle)
    found = check(labels)["liver edge"]
    assert found.verdict == "wrong"
    assert side in found.sentence
    assert found.value == pytest.approx(np.pi * 60**2, rel=0.06)


def test_sides_are_the_patients_whatever_the_direction_of_the_axes():
    labels = ball(60, (2, 40, 45)).astype(np.uint8)
    scan = Volume(scan_of(labels).array, SPACING, direction=(-1.0, 0, 0, 0, -1.0, 0, 0, 0, -1.0))
    assert "superior" in check(labels, scan)["liver edge"].sentence
    turned = Volume(scan.array, SPACING, direction=(0.0, 0, 1.0, 1.0, 0, 0, 0, 1.0, 0))  # z runs to the left
    assert "right" in check(labels, turned)["liver edge"].sentence


def test_a_few_voxels_at_the_edge_are_no_fault():
    labels = ball(60, (15, 40, 45))
    labels[0] = False
    labels[0, 40, 40:50] = True
    found = check(labels)["liver edge"]
    assert found.verdict == "ok"
    assert found.value == pytest.approx(90)


def test_a_small_volume_of_an_organ_that_is_cut_off_is_no_fault_of_its_own():
    found = check(ball(50, (1, 40, 45)))
    assert found["liver edge"].verdict != "ok"
    assert found["liver volume"].value < 600
    assert found["liver volume"].verdict == "ok"
    assert "part" in found["liver volume"].sentence


def test_pieces_and_holes_count_as_the_network_left_them():
    raw = ball()
    clean = raw.copy()
    raw[5:10, 5:12, 5:12] = True
    raw[28:33, 35:45, 40:50] = False
    found = check(clean, before_postprocessing=raw.astype(np.uint8))
    assert (found["liver pieces"].verdict, found["liver holes"].verdict) == ("ok", "look")
    assert found["liver pieces"].value == pytest.approx(245 / (clean.sum() - 500))
    assert found["liver holes"].value == pytest.approx(500 / (clean.sum() - 500))
    assert "small fragments" in found["liver pieces"].sentence
    assert verdicts(check(clean))["holes"] == "ok"


@pytest.mark.parametrize(("radius", "verdict"), [(5, "ok"), (25, "look"), (45, "wrong")])
def test_a_large_second_piece_is_said(radius, verdict):
    labels = ball(60, (30, 40, 25)) | ball(radius, (30, 40, 72))
    found = check(labels)["liver pieces"]
    assert found.verdict == verdict
    assert ("2 pieces" in found.sentence) == (verdict != "ok")


def test_a_shell_is_no_organ():
    assert check(ball() & ~ball(60))["liver holes"].verdict == "wrong"


def test_a_tumour_of_its_own_class_is_no_hole_in_the_liver():
    recipe = Recipe(Architecture(classes=3), classes=(LabelClass(1, "liver"), LabelClass(7, "tumour")))
    labels = ball().astype(np.uint8)
    labels[ball(20)] = 7
    found = check(labels, recipe=recipe)
    assert found["liver holes"].value == 0
    labels[ball(8)] = 0
    assert check(labels, recipe=recipe)["liver holes"].value > 0


@pytest.mark.parametrize(("share", "verdict"), [(0.1, "ok"), (0.45, "look"), (0.8, "wrong")])
def test_doubt_inside_the_organ_is_said(share, verdict):
    labels = ball()
    inside = np.random.default_rng(1).random(SHAPE) < share
    soft = np.where(labels, np.where(inside, 0.6, 0.95), 0.01).astype(np.float32)
    found = check(labels, soft=Volume(soft, SPACING))["liver confidence"]
    assert found.verdict == verdict
    assert found.value == pytest.approx(share, abs=0.02)


def test_doubt_far_from_the_organ_does_not_count_and_doubt_at_its_border_does():
    labels = ball(50)
    soft = labels.astype(np.float32)
    soft[:8] = 0.5
    assert low_confidence_share(soft, labels.view(np.uint8), SPACING) == 0
    soft[ball(55) & ~labels] = 0.5
    expected = (ball(55) & ~labels).sum() / ball(55).sum()
    assert low_confidence_share(soft, labels.view(np.uint8), SPACING) == pytest.approx(expected)


def test_confidence_on_the_networks_grid_is_that_of_each_classs_largest_piece():
    recipe = Recipe(Architecture(classes=3), classes=(LabelClass(4, "liver"), LabelClass(9, "spleen")))
    scores = np.zeros((3, *SHAPE), np.float32)
    scores[1] = np.where(ball(50, (30, 40, 25)), 0.9, 0) + np.where(ball(9, (30, 40, 80)), 0.6, 0)
    scores[0] = 1 - scores[1]
    assert low_confidence(scores, SPACING, recipe) == {4: 0.0}


def test_without_probabilities_there_is_no_check_of_confidence():
    assert "liver confidence" not in check(ball())


def test_a_large_organ_is_sampled_and_the_share_stays_right():
    shape = (150, 260, 260)
    labels = ball(110, (75, 130, 130), shape, (1.0, 1.0, 1.0)).view(np.uint8)
    soft = labels * np.where(np.arange(260) % 260 < 130, np.float32(0.5), np.float32(1))
    assert low_confidence_share(soft, labels, (1.0, 1.0, 1.0)) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("hu", "verdict"),
    [(-300, "wrong"), (-10, "look"), (15, "ok"), (60, "ok"), (180, "ok"), (230, "look"), (600, "wrong")],
)
def test_a_brightness_that_no_liver_has_is_said(hu, verdict):
    labels = ball()
    assert check(labels, scan_of(labels, hu))["liver brightness"].verdict == verdict


@pytest.mark.parametrize(("noise", "verdict"), [(0, "look"), (20, "ok"), (90, "look"), (250, "wrong")])
def test_a_spread_that_no_liver_has_is_said(noise, verdict):
    labels = ball()
    assert check(labels, scan_of(labels, 110, noise))["liver spread"].verdict == verdict


def test_an_empty_result_is_wrong_for_the_liver_and_worth_a_look_for_others():
    assert verdicts(check(np.zeros(SHAPE))) == {"presence": "wrong"}
    recipe = Recipe(classes=(LabelClass(3, "spleen"),))
    assert verdicts(check(np.zeros(SHAPE), recipe=recipe)) == {"presence": "look"}


def test_an_organ_without_known_ranges_gets_values_and_no_verdict():
    recipe = Recipe(classes=(LabelClass(3, "spleen"),))
    found = check(ball(20) * 3, recipe=recipe)
    assert found["spleen volume"].verdict is None and found["spleen volume"].value > 0
    assert found["spleen brightness"].verdict is None and found["spleen spread"].verdict is None
    assert found["spleen edge"].verdict == "ok"


def test_what_postprocessing_made_out_of_nothing_is_no_crash():
    found = check(ball(), before_postprocessing=np.zeros(SHAPE, np.uint8))
    assert "liver pieces" not in found


def test_a_single_voxel_and_a_single_slice_are_judged():
    labels = np.zeros((1, 40, 40), np.uint8)
    labels[0, 20, 20] = 1
    assert verdicts(check(labels))["spread"] == "look"


def test_an_organ_thinner_than_the_samples_steps_still_has_a_brightness():
    labels = np.zeros((101, 301, 301), np.uint8)
    for corner in ((0, 0), (299, 299)):
        labels[1::2, corner[0] + 1, corner[1] + 1] = 1
    assert "liver brightness" in check(labels)


def test_arrays_of_another_grid_are_refused():
    with pytest.raises(ValueError, match="voxels for a scan"):
        check(ball(), before_postprocessing=np.zeros((3, 4, 5), np.uint8))


def test_every_check_is_valid_json():
    found = check(ball(), soft=ball().astype(np.float32))
    text = json.dumps([c.to_dict() for c in found.values()], allow_nan=False)
    assert {entry["verdict"] for entry in json.loads(text)} == {"ok"}
    odd = Check("a b", "wrong", "words", float("nan"), Limits((None, 1.0)))
    assert json.loads(json.dumps(odd.to_dict(), allow_nan=False))["value"] is None
    assert Limits((0.0, 1.0)).verdict(float("nan")) == "wrong"


def test_the_checks_of_a_large_scan_are_fast_and_take_little_memory():
    """A whole-body scan of 512 x 512 slices takes 800 MB as float; a third of it is tested here."""
    shape, spacing = (256, 512, 512), (1.0, 0.8, 0.8)
    labels = ball(75, (128, 256, 200), shape, spacing).view(np.uint8)
    raw = labels.copy()
    raw[5:9, 5:9, 5:9] = raw[-9:-5, -9:-5, -9:-5] = 1
    scan = Volume(np.full(shape, 100, np.int16), spacing)
    tracemalloc.start()
    began = time.process_time()
    self_check(scan, scan.with_array(labels), None, LIVER, before_postprocessing=raw)
    seconds, peak = time.process_time() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * raw.size  # the bounding box is the whole scan because of specks in two corners
    assert seconds < 3  # 0.5 on an idle computer
