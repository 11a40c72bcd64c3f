"""Scans that are not an abdominal CT trigger a warning before the network labels a part of them as liver."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from lvnet.checkpoint import load_checkpoint
from lvnet.image_io import read_image
from lvnet.phantom import make_phantom
from lvnet.scanchecks import ERROR, NOTE, WARNING, check_input, memory_needed
from lvnet.volume import Volume

DATA = Path(os.environ.get("LVNET_DATA_DIR") or "absent")
PLENTY = 1e12


@pytest.fixture(scope="module")
def scan() -> Volume:
    return make_phantom(2, size=(60, 128, 128), spacing=(5.0, 3.2, 3.2))[0]


def check(volume, **options):
    return check_input(volume, memory=options.pop("memory", PLENTY), **options)


def sentences(findings, severity=WARNING):
    return [finding.sentence for finding in findings if finding.severity == severity]


def test_a_ct_of_an_abdomen_passes_without_a_word(scan):
    assert check(scan) == []


@pytest.mark.parametrize("low", [-160, -128, -200])
def test_a_windowed_ct_whose_air_was_cut_off_passes_with_a_note(scan, low):
    findings = check(scan.with_array(np.clip(scan.array, low, 240)))
    assert [finding.severity for finding in findings] == [NOTE]
    assert f"below {low} HU" in findings[0].sentence


def test_any_orientation_and_type_gives_the_same_answer(scan):
    turned = Volume(
        np.ascontiguousarray(scan.array.transpose(2, 0, 1)[:, ::-1]).astype(np.float32),
        (scan.spacing[2], scan.spacing[0], scan.spacing[1]),
        direction=(0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
    )
    assert check(turned) == []


def normalised(values):
    return (values - values.min()) / float(np.ptp(values))


def magnetic(values):
    """A synthetic MR: no negative values, bright fat, dark bone and air."""
    return np.where(values < -300, 5, np.where(values > 200, 60, 500 - 2 * values)).clip(0).astype(np.int16)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (normalised, "normalised"),
        (lambda v: (v - v.mean()) / v.std(), "normalised"),
        (lambda v: (normalised(np.clip(v, -160, 240)) * 255).astype(np.uint8), "picture"),
        (lambda v: (v.astype(np.int32) + 1024).astype(np.int16), "1024 too high"),
        (magnetic, "MR"),
        (lambda v: v.astype(np.float32) * 100, "far outside"),
        (lambda v: np.where(v > -300, -100, -1000), "soft tissue"),
    ],
)
def test_what_is_no_ct_in_hu_gets_a_question(scan, change, words):
    findings = check(scan.with_array(change(scan.array)))
    assert any(words in sentence for sentence in sentences(findings)), findings


def test_one_value_or_none_at_all_is_an_error(scan):
    assert check(scan.with_array(np.zeros_like(scan.array)))[0].severity == ERROR
    assert check(scan.with_array(np.full(scan.shape, np.nan, np.float32)))[0].severity == ERROR


def test_a_few_voxels_that_are_no_number_are_no_reason_to_ask(scan):
    array = scan.array.astype(np.float32)
    array[::7, ::9, ::11] = np.nan
    assert check(scan.with_array(array)) == []


def test_a_head_or_a_limb_is_asked_about(scan):
    small = Volume(scan.array, tuple(step * 0.4 for step in scan.spacing))
    assert any("cm2 across" in sentence for sentence in sentences(check(small)))


def test_a_chest_without_an_abdomen_is_asked_about():
    y, x = np.mgrid[:128, :128]
    body = ((x - 64) / 50) ** 2 + ((y - 64) / 36) ** 2 < 1
    lungs = (((np.abs(x - 64) - 24) / 18) ** 2 + ((y - 64) / 26) ** 2) < 1
    rng = np.random.default_rng(1)
    chest = np.where(body & ~lungs, 40, -900)[None] + rng.normal(0, 10, (30, 128, 128))
    abdomen = np.where(body, 60, -1000)[None] + rng.normal(0, 10, (30, 128, 128))
    spacing = (5.0, 3.0, 3.0)
    assert any("chest" in s for s in sentences(check(Volume(chest.astype(np.int16), spacing))))
    both = np.concatenate([abdomen, chest]).astype(np.int16)
    assert check(Volume(both, spacing)) == []
    # Shoulders contain no air either, but they are not an abdomen.
    assert any("chest" in s for s in sentences(check(Volume(both[::-1], spacing))))


@pytest.mark.parametrize(
    ("part", "spacing", "words"),
    [
        ((slice(0, 4), slice(None), slice(None)), None, "mm high"),
        ((slice(None), slice(100, 140), slice(None)), None, "of each slice"),
        ((slice(None), slice(None), slice(None)), 14.0, "mm apart"),
    ],
)
def test_a_scan_that_is_too_small_or_too_coarse_is_asked_about(scan, part, spacing, words):
    steps = scan.spacing if spacing is None else (spacing, *scan.spacing[1:])
    findings = check(Volume(scan.array[part], steps))
    assert any(words in sentence for sentence in sentences(findings)), findings


def test_too_little_memory_is_reported_with_both_numbers(scan):
    (sentence,) = sentences(check(scan, memory=1e8))
    assert "0.1 GB are free" in sentence
    assert check_input(scan, memory=None) == [] or "GB" in check_input(scan)[0].sentence


def test_more_voxels_need_more_memory():
    recipe = load_checkpoint().recipe
    small = memory_needed((100, 256, 256), (2.0, 1.5, 1.5), recipe)
    assert small < memory_needed((100, 512, 512), (2.0, 1.5, 1.5), recipe)
    assert 0.5e9 < small < 4e9


def real_scans(*parts):
    paths = [path for part in parts for path in sorted(DATA.glob(f"{part}/*/ct.nii.gz"))]
    if not paths:
        pytest.skip("LVNET_DATA_DIR names no folder with real scans")
    return {f"{path.parent.parent.name}/{path.parent.name}": path for path in paths}


#: Chest scans that end above the liver.
CHESTS = {"train/chest_negative", "train/lung_negative", "train/acrinflt001_chest_negative"}


def test_no_real_scan_gets_a_warning_but_chests_without_an_abdomen():
    findings = {name: check(read_image(path)) for name, path in real_scans("hu", "val", "train").items()}
    chests = {name for name, found in findings.items() if any("chest without" in s for s in sentences(found))}
    assert chests == CHESTS & set(findings)
    others = {name: sentences(found) for name, found in findings.items() if name not in CHESTS}
    assert {name: said for name, said in others.items() if said} == {}
    assert not [name for name, found in findings.items() if sentences(found, ERROR)]


def test_validation_scans_whose_air_was_cut_off_get_a_note():
    findings = {name: check(read_image(path)) for name, path in real_scans("val").items()}
    clipped = {name for name, found in findings.items() if sentences(found, NOTE)}
    assert clipped == {"val/btcv26", "val/lits05", "val/lits47_every2nd"} & set(findings)


@pytest.mark.parametrize("seed", range(6))
def test_phantoms_pass(seed):
    assert sentences(check(make_phantom(seed, size=(60, 96, 96), spacing=(5.0, 4.2, 4.2))[0])) == []


def test_a_table_and_arms_beside_the_body_are_not_taken_for_lungs():
    """Air between the body, the arms and a curved table is not counted as air inside the body."""
    y, x = np.mgrid[:128, :128]
    body = ((x - 64) / 44) ** 2 + ((y - 56) / 30) ** 2 < 1
    arms = (np.abs(x - 64) > 50) & (np.abs(x - 64) < 60) & (np.abs(y - 90) < 10)
    table = (np.abs(y - 112 + ((x - 64) / 20) ** 2) < 2) & (np.abs(x - 64) < 60)
    plane = np.where(body | arms | table, 40, -1000)
    scan = np.repeat(plane[None], 40, axis=0) + np.random.default_rng(1).normal(0, 10, (40, 128, 128))
    assert check(Volume(scan.astype(np.int16), (5.0, 3.0, 3.0))) == []
