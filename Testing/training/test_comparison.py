"""The paper's comparison in one command: equal conditions for all networks, resumable, with a final report."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from lvnet.checkpoint import load_checkpoint
from lvnet.cli import main as lvnet
from lvnet.errors import ConfigurationError
from lvnet.evaluation import evaluate
from lvnet.image_io import write_image, write_labels
from lvnet.phantom import make_phantom
from lvnet.progress import silent
from lvnet.recipe import LIVER
from lvnet_training import comparison
from lvnet_training.cli import main
from lvnet_training.comparison import without_times
from lvnet_training.comparison.contestants import ABLATIONS, NETWORKS, chosen
from lvnet_training.comparison.running import train
from lvnet_training.config import load_config
from lvnet_training.materials import gather
from lvnet_training.networks import build_network
from lvnet_training.splits import keep_split, read_split

ROOT = Path(__file__).parents[2]
FIVE = ("lvnet", "unet", "cenet", "unet3d", "vnet")
SETTINGS = {
    "samples_per_epoch": 12,
    "architecture": {"widths": [4, 6, 8, 8, 10], "expansion": 1, "kernel_size": 3},
    "preprocessing": {"window": [-120, 240], "mean": 22.0, "std": 86.0, "in_plane_spacing": [8, 8], "slice_spacing": 8},
    "stages": [{"epochs": 2, "spacing": [8, 8, 8], "patch": [16, 32, 32], "batch": 2, "learning_rate": 5e-3}],
}
SPLIT = {"train": ["p1", "p2"], "validation": [], "test": ["p3", "p4"]}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Four phantoms, settings and a split."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("comparison")
    for seed in range(1, 5):
        scan, label = make_phantom(seed, size=(24, 48, 48))
        (folder / "data" / f"p{seed}").mkdir(parents=True)
        write_image(scan, folder / "data" / f"p{seed}" / "ct.nii.gz")
        write_labels(label, folder / "data" / f"p{seed}" / "liver.nii.gz", [LIVER])
    (folder / "c.yaml").write_text(yaml.safe_dump(SETTINGS))
    (folder / "split.yaml").write_text(yaml.safe_dump(SPLIT))
    return folder


def arguments(place, output, *more):
    return ["compare", str(place / "data"), "--config", str(place / "c.yaml"), "--output", str(output),
            "--split", str(place / "split.yaml"), "--cache", str(place / "cache"), "--device", "cpu",
            "--narrower", "16", "--checkpoint-every", "4", *more]  # fmt: skip


@pytest.fixture(scope="module")
def whole(place):
    """An uninterrupted comparison of the five networks."""
    assert main(arguments(place, place / "whole")) == 0
    return place / "whole"


def start(place, output, *more):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "LVNetSegmentation"), str(ROOT / "training")])
    return subprocess.Popen(
        [sys.executable, "-m", "lvnet_training.cli", *arguments(place, output, *more)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def kill_once(process, there):
    """Kills the process with SIGKILL as soon as a file exists."""
    deadline = time.monotonic() + 100
    while not there.exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_one_command_killed_twice_ends_as_if_nothing_had_happened(place, whole):
    output, few = place / "killed", ("--networks", "lvnet,unet,cenet")
    # During the first network's first epoch, and during the last network's training.
    kill_once(start(place, output, *few), output / "lvnet" / "last.pt")
    state = torch.load(output / "lvnet" / "last.pt", weights_only=True)
    assert (state["epoch"], state["step"] > 0) == (0, True)
    kill_once(start(place, output, *few), output / "cenet" / "last.pt")
    done = subprocess.Popen.communicate(process := start(place, output, *few, "--json"))
    assert process.returncode == 0, done
    printed = json.loads(done[0])
    assert "resuming" in done[1]
    undisturbed = without_times(json.loads((whole / "results.json").read_text()))
    undisturbed["networks"] = {name: undisturbed["networks"][name] for name in ("lvnet", "unet", "cenet")}
    assert without_times(printed) == undisturbed
    for name in undisturbed["networks"]:
        ours, theirs = (folder / name / f"{name}.safetensors" for folder in (output, whole))
        assert ours.read_bytes() == theirs.read_bytes()


def test_every_network_sees_the_same_and_is_scored_on_the_same(whole):
    results = json.loads((whole / "results.json").read_text())
    assert list(results["networks"]) == list(FIVE)
    assert {n["patches"] for n in results["networks"].values()} == {24}
    assert {n["voxels"] for n in results["networks"].values()} == {24 * 16 * 32 * 32}
    for name, entry in results["networks"].items():
        assert list(entry["cases"]) == ["p3", "p4"]
        assert entry["parameters"] > 1000 and entry["macs"] > 0 and entry["seconds"] > 0 and entry["seconds_a_scan"] > 0
        assert (set(entry["against_lvnet"]) if name != "lvnet" else set()) == (
            {"dice", "voe", "rvd", "assd_mm", "mssd_mm"} if name != "lvnet" else set()
        )
    if sys.platform.startswith("linux"):
        assert all(case["extra_mib"] >= 0 for n in results["networks"].values() for case in n["cases"].values())


def test_patches_do_not_depend_on_the_network(place, monkeypatch):
    """Compares the voxels themselves, in their order."""
    seen = {}
    for name in FIVE:

        def watched(module, inputs, name=name):
            if module.training:
                seen.setdefault(name, []).append(inputs[0].clone())

        def build(config, training=True, real=build_network, watch=watched):
            network = real(config, training)
            network.register_forward_pre_hook(watch)
            return network

        monkeypatch.setattr("lvnet_training.state.build_network", build)
        (entry,), output = chosen([name]), place / f"seen-{name}"
        config = entry.config(load_config(place / "c.yaml"), narrower=16)
        material = gather(config, output, place / "data", split=place / "split.yaml", cache=place / "cache")
        train(config, output, material, torch.device("cpu"), 50, None, 1, silent, lambda _: None)
    assert {len(batches) for batches in seen.values()} == {12}
    for name in FIVE[1:]:
        assert all(torch.equal(a, b) for a, b in zip(seen["lvnet"], seen[name])), name


def test_the_outputs_hold_table_2_every_case_and_a_page_that_loads_nothing(whole, capsys):
    rows = list(csv.DictReader((whole / "cases.csv").open()))
    assert [(row["network"], row["case"]) for row in rows] == [(n, c) for n in FIVE for c in ("p3", "p4")]
    assert all(0 <= float(row["dice"]) <= 1 and float(row["seconds"]) > 0 for row in rows)
    text = (whole / "table2.md").read_text()
    assert "0.9543" in text and "Wilcoxon" in text and "patches seen" in text
    page = (whole / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 1 and "123.5763" in page and "Wilcoxon" in page
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", page) and "<script" not in page
    assert (whole / "boxplots.png").read_bytes().startswith(b"\x89PNG")
    assert main(["tables", "--table", "2", str(whole / "results.json")]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(lines) == 7 and all(line.split("|")[2].strip() == "2" for line in lines[2:])


@pytest.mark.parametrize("name", FIVE)
def test_its_checkpoints_open_in_lvnet_segment_and_score_what_the_table_says(place, whole, name):
    weights, found = whole / name / f"{name}.safetensors", place / f"{name}.nii.gz"
    assert load_checkpoint(weights).recipe.architecture.network == name
    scan, label = place / "data" / "p3" / "ct.nii.gz", place / "data" / "p3" / "liver.nii.gz"
    assert lvnet(["segment", str(scan), "-o", str(found), "--weights", str(weights), "--device", "cpu", "--quiet"]) == 0
    ours = json.loads((whole / "results.json").read_text())["networks"][name]["cases"]["p3"]
    assert evaluate(found, label, label=1)["dice"] == ours["dice"]


def test_ablations_change_one_thing_each():
    config = load_config(ROOT / "training" / "configs" / "paper.yaml")
    plain = chosen(["lvnet"])[0].config(config)
    for name, entry in ABLATIONS.items():
        other = entry.config(config)
        changed = {key for key, value in vars(other).items() if value != getattr(plain, key)} - {"name"}
        assert changed == {"lvnet": set(), "no-deep-supervision": {"eta"}}.get(name, {"architecture"}), name


def test_ablations_run_by_the_same_command(place, tmp_path, capsys, monkeypatch):
    command = arguments(place, tmp_path / "a", "--networks", "lvnet,no-deep-supervision,vanilla,strided,transposed")
    assert main(command) == 0
    results = json.loads((tmp_path / "a" / "results.json").read_text())["networks"]
    counts = {name: entry["parameters"] for name, entry in results.items()}
    assert counts["no-deep-supervision"] == counts["lvnet"] and len(set(counts.values())) == 4
    assert "transposed convolutions" in capsys.readouterr().out
    asked = []

    def seen(config, data, output, names, **_):
        asked.extend(names)
        raise ConfigurationError("seen")

    monkeypatch.setattr(comparison, "compare", seen)
    assert main(arguments(place, tmp_path / "b", "--ablations")) == 2
    assert asked == list(ABLATIONS)
    asked.clear()
    assert main(arguments(place, tmp_path / "b")) == 2
    assert asked == list(NETWORKS) == list(FIVE)


def test_a_limit_of_time_ends_the_training_and_the_rest_follows(place, tmp_path):
    output = tmp_path / "timed"
    assert main(arguments(place, output, "--networks", "lvnet,unet2d", "--seconds-each", "0.001")) == 0
    networks = json.loads((output / "results.json").read_text())["networks"]
    assert [n["patches"] for n in networks.values()] == [2, 2]
    assert main(arguments(place, output, "--networks", "lvnet,unet2d")) == 2


def test_a_validation_part_chooses_the_epoch(place, tmp_path):
    split = tmp_path / "split.yaml"
    split.write_text(yaml.safe_dump({"train": ["p1", "p2"], "validation": ["p3"], "test": ["p4"]}))
    output = tmp_path / "chosen"
    command = [*arguments(place, output, "--networks", "lvnet"), "--split", str(split)]
    assert main(command) == 0
    best = torch.load(output / "lvnet" / "best.pt", weights_only=True)
    entry = json.loads((output / "results.json").read_text())["networks"]["lvnet"]
    assert entry["epoch"] == best["epoch"] in (1, 2) and list(entry["cases"]) == ["p4"]


def test_going_on_without_the_split_keeps_to_it(place, whole, tmp_path):
    """Otherwise it would train on the test cases."""
    output = tmp_path / "again"
    bare = arguments(place, output, "--networks", "lvnet")
    del bare[bare.index("--split") : bare.index("--split") + 2]
    assert main(bare) == 2
    keep_split(read_split(place / "split.yaml"), output / "split.yaml")
    assert main(bare) == 0
    results = json.loads((output / "results.json").read_text())
    assert results["split"]["train"] == ["p1", "p2"] and list(results["networks"]["lvnet"]["cases"]) == ["p3", "p4"]
    before = json.loads((whole / "results.json").read_text())
    assert results["networks"]["lvnet"]["summary"] == before["networks"]["lvnet"]["summary"]


@pytest.mark.parametrize(
    ("changes", "more", "words"),
    [
        ({}, ("--networks", "resnet"), "unknown network 'resnet'; choose from lvnet"),
        ({"hardness": 1.0}, (), "`hardness` or `patience`"),
        ({}, ("--split", "nowhere.yaml"), "cannot read the split nowhere.yaml"),
        ({}, ("--narrower", "3"), "1, 2, 4, 8 or 16"),
        ({}, ("--checkpoint-every", "0"), "must be positive"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(place, tmp_path, capsys, changes, more, words):
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({**SETTINGS, **changes}))
    command = [*arguments(place, tmp_path / "out"), "--config", str(tmp_path / "c.yaml"), *more]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert words in error and error.splitlines()[-1].startswith("lvnet-train: ")


def test_a_folder_of_another_comparison_is_refused(place, whole, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({**SETTINGS, "seed": 9}))
    before = (whole / "results.json").read_bytes()
    assert main([*arguments(place, whole), "--config", str(tmp_path / "c.yaml")]) == 2
    assert "other settings of lvnet than these" in capsys.readouterr().err
    assert (whole / "results.json").read_bytes() == before
