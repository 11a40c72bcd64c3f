"""The stress set: synthetic pathologies in real scans with reference labels, and the scores of weights on them."""

import json

import numpy as np
import pytest
from lvnet import phantom
from lvnet.errors import ConfigurationError, ImageError
from lvnet.image_io import read_image, read_labels, write_image, write_labels
from lvnet.recipe import LIVER
from lvnet.volume import Volume
from lvnet_training.cli import main
from lvnet_training.pathology import Anatomy
from lvnet_training.stress import MAKERS, make_stress_set


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    for seed in (7, 8):
        ct, label = phantom.make_phantom(seed, size=(32, 80, 96), spacing=(7.0, 4.5, 4.0))
        (folder / f"phantom{seed}").mkdir()
        write_image(ct, folder / f"phantom{seed}" / "ct.nii.gz")
        write_labels(label, folder / f"phantom{seed}" / "liver.nii.gz", (LIVER,))
    return folder


@pytest.fixture(scope="module")
def stress(scans, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stress") / "set"
    return folder, make_stress_set(scans, folder, per_kind=2)


def test_every_kind_is_made_from_mild_to_severe_and_its_truth_is_kept(scans, stress):
    folder, left_out = stress
    facts = {path.parent.name: json.loads(path.read_text()) for path in folder.glob("*/stress.json")}
    assert len(facts) + len(left_out) == 2 * len(MAKERS)
    assert len({fact["kind"] for fact in facts.values()}) >= len(MAKERS) - 1, left_out
    assert {fact["severity"] for fact in facts.values()} == {0.0, 1.0}
    for case, fact in facts.items():
        scan, label = read_image(folder / case / "ct.nii.gz"), read_labels(folder / case / "liver.nii.gz")
        made = read_labels(folder / case / "made.nii.gz")
        assert scan.same_grid(label) and scan.same_grid(made)
        assert not ((made.array > 0) & (label.array > 0)).any(), "what was made beside the organ is not the organ"
        assert (fact["kind"] in ("mass", "ascites", "effusion")) == bool(made.array.any())
        original = read_image(scans / fact["source"] / "ct.nii.gz")
        assert np.abs(np.sort(scan.array.ravel()[::7].astype(int)) - np.sort(original.array.ravel()[::7])).max() > 0


def test_a_set_made_from_another_has_two_pathologies_and_names_the_scan_that_both_came_from(stress, tmp_path):
    folder, _ = stress
    first = next(folder.glob("dark-liver-*"))
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / first.name).symlink_to(first)
    make_stress_set(tmp_path / "one", tmp_path / "two", per_kind=1)
    facts = json.loads(next((tmp_path / "two").glob("low-dose-*/stress.json")).read_text())
    assert facts["source"] == json.loads((first / "stress.json").read_text())["source"]


def test_a_severe_mass_is_larger_than_a_mild_one(stress):
    folder, _ = stress
    sizes = {}
    for path in folder.glob("mass-*/stress.json"):
        sizes[json.loads(path.read_text())["severity"]] = int(read_labels(path.parent / "made.nii.gz").array.sum())
    assert sizes[1.0] > 3 * sizes[0.0]


def test_the_set_is_the_same_for_the_same_seed_and_what_is_there_is_kept(scans, stress, tmp_path):
    folder, _ = stress
    again = tmp_path / "again"
    make_stress_set(scans, again, per_kind=2)
    case = next(path.parent.name for path in folder.glob("mass-*/stress.json"))
    np.testing.assert_array_equal(
        read_image(again / case / "ct.nii.gz").array, read_image(folder / case / "ct.nii.gz").array
    )
    stamp = (again / case / "ct.nii.gz").stat().st_mtime_ns
    make_stress_set(scans, again, per_kind=2)
    assert (again / case / "ct.nii.gz").stat().st_mtime_ns == stamp


def test_the_command_scores_weights_by_kind_and_says_how_much_was_taken_in(scans, tmp_path, capsys):
    json_file = tmp_path / "stress.json"
    command = ["stress", str(scans), "--output", str(tmp_path), "--per-kind", "1", "--json", str(json_file)]
    assert main([*command, "--device", "cpu"]) == 0
    output = capsys.readouterr().out
    assert "most included" in output and "bright liver" in output
    scores = json.loads(json_file.read_text())
    assert {score["kind"] for score in scores} <= set(MAKERS)
    assert all(0 <= score["dice"] <= 1 for score in scores)
    taken = [score["taken"] for score in scores if score["kind"] == "mass"]
    assert taken and all(0 <= share <= 1 for share in taken)
    assert np.mean([score["dice"] for score in scores if score["kind"] == "low dose"]) > 0.5


def test_impossible_requests_are_one_line(scans, tmp_path, capsys):
    with pytest.raises(ConfigurationError, match="must be 1 or more"):
        make_stress_set(scans, tmp_path / "x", per_kind=0)
    with pytest.raises(ImageError):
        make_stress_set(tmp_path / "nothing", tmp_path / "x")
    assert main(["stress", str(tmp_path / "nothing"), "--output", str(tmp_path / "x")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_scan_without_room_for_a_kind_is_left_out_and_named(tmp_path):
    scan = Volume(np.full((8, 32, 32), 50, np.int16), spacing=(5.0, 5.0, 5.0))
    scan.array[0] = -1000
    (tmp_path / "in" / "block").mkdir(parents=True)
    write_image(scan, tmp_path / "in" / "block" / "ct.nii.gz")
    write_labels(scan.with_array(np.zeros((8, 32, 32), np.uint8)), tmp_path / "in" / "block" / "liver.nii.gz", (LIVER,))
    left_out = make_stress_set(tmp_path / "in", tmp_path / "out", per_kind=1)
    assert any("effusion-1-block" in sentence for sentence in left_out)
    assert not (tmp_path / "out" / "effusion-1-block").exists()


def test_nothing_is_made_outside_the_arrays_that_are_given():
    hu = np.full((8, 16, 16), 40, np.float32)
    anatomy = Anatomy(hu, np.zeros(hu.shape, np.float32), (5.0, 5.0, 5.0))
    anatomy.hu[:] = 0
    assert (hu == 40).all(), "the caller's array is not changed"
