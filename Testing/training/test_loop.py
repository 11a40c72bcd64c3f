"""The training loop: resuming after a kill gives the same result, several processes train together, live logs."""

import csv
import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from lvnet.checkpoint import load_checkpoint
from lvnet.errors import ConfigurationError, ResourceError
from lvnet.image_io import write_image, write_labels
from lvnet.phantom import make_phantom
from lvnet.recipe import LIVER, Architecture
from lvnet.volume import Volume
from lvnet_training.batches import draw_batch, share
from lvnet_training.case import make_case
from lvnet_training.cli import main
from lvnet_training.config import Config, Stage
from lvnet_training.loop import Hardware, fit
from lvnet_training.state import Run

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
STAGE = Stage(epochs=4, spacing=(8.0, 8.0, 8.0), patch=(16, 32, 32), batch=2, learning_rate=5e-3)
SMALL = Architecture(widths=(4, 6, 8, 8, 10), expansion=1, kernel_size=3)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def cases():
    found = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        image = rng.integers(-30, 30, (24, 40, 44)).astype(np.int16)
        label = np.zeros(image.shape, np.uint8)
        label[6:18, 10:28, 8:22] = 1
        image[label > 0] += 150
        found.append(make_case(f"case{seed}", Volume(image, (8.0, 8.0, 8.0)), Volume(label, (8.0, 8.0, 8.0))))
    return found


def config(**changes):
    return Config(**{"stages": (STAGE,), "architecture": SMALL, "samples_per_epoch": 4, "average": 0.9, **changes})


def weights_of(path):
    state = torch.load(path, weights_only=True)
    return {f"{part}.{name}": value for part in ("network", "average") for name, value in state[part].items()}


def assert_same_weights(one, other):
    a, b = weights_of(one), weights_of(other)
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def silent(_):
    pass


# Runs of the command line ---------------------------------------------------------------------------------------------


@pytest.fixture
def recipe(tmp_path):
    """A configuration and a small scan in a cache shared by every run of the test."""
    scan, label = make_phantom(3, size=(24, 48, 48))
    (tmp_path / "data" / "p3").mkdir(parents=True)
    write_image(scan, tmp_path / "data" / "p3" / "ct.nii.gz")
    write_labels(label, tmp_path / "data" / "p3" / "liver.nii.gz", [LIVER])
    settings = {
        "samples_per_epoch": 32,
        "average": 0.9,
        "architecture": {"widths": [4, 6, 8, 8, 10], "expansion": 1, "kernel_size": 3},
        "preprocessing": {"window": [-120, 240], "mean": 22.0, "std": 86.0, "in_plane_spacing": [8, 8],
                          "slice_spacing": 8},
        "stages": [{"epochs": 6, "spacing": [8, 8, 8], "patch": [16, 32, 32], "batch": 2}],
    }  # fmt: skip
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path


def arguments(recipe, output, *more):
    return ["fit", "--config", str(recipe / "c.yaml"), "--data", str(recipe / "data"), "--output", str(output),
            "--cache", str(recipe / "cache"), "--device", "cpu", "--no-pictures", "--deterministic", *more]  # fmt: skip


def start(recipe, output, *more):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "LVNetSegmentation"), str(ROOT / "training")])
    return subprocess.Popen(
        [sys.executable, "-m", "lvnet_training.cli", *arguments(recipe, output, *more)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def set_in(recipe, **changes):
    path = recipe / "c.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))


def test_a_process_that_is_killed_at_a_random_moment_and_run_again_ends_with_the_same_bits(recipe):
    assert main(arguments(recipe, recipe / "whole")) == 0
    with (recipe / "whole" / "log.csv").open() as file:
        seconds = min(float(row["seconds"]) for row in csv.DictReader(file))
    process = start(recipe, recipe / "killed")
    # At a random moment between the end of the first epoch and the middle of the fifth.
    epoch, moment = random.randint(1, 4), random.uniform(0, seconds)
    log = recipe / "killed" / "log.csv"
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if log.exists() and len(log.read_text().splitlines()) > epoch:
            break
        time.sleep(0.002)
    time.sleep(moment)
    process.kill()
    output = process.communicate()[0]
    assert process.returncode == -signal.SIGKILL, f"over before {epoch} epochs and {moment:.2f} s: {output}"
    last = recipe / "killed" / "last.pt"
    done = torch.load(last, weights_only=True)["epoch"] if last.exists() else 0
    assert epoch - 1 <= done < 6
    assert main(arguments(recipe, recipe / "killed")) == 0
    assert_same_weights(recipe / "whole" / "last.pt", recipe / "killed" / "last.pt")
    losses = []
    for run in ("whole", "killed"):
        with (recipe / run / "log.csv").open() as file:
            losses.append([(row["epoch"], row["loss"]) for row in csv.DictReader(file)])
    assert losses[0] == losses[1]
    assert [int(epoch) for epoch, _ in losses[1]] == [1, 2, 3, 4, 5, 6]


def finish(process):
    output = process.communicate(timeout=240)[0]
    assert process.returncode == 0, output
    return output


def test_two_processes_train_one_network_together(recipe):
    set_in(recipe, samples_per_epoch=8, hardness=1.0,
           stages=[{"epochs": 1, "spacing": [8, 8, 8], "patch": [16, 32, 32], "batch": 2}])  # fmt: skip
    output = finish(start(recipe, recipe / "two", "--devices", "2"))
    # Only the first process prints and writes files.
    assert output.count("epoch 1") == 1
    with (recipe / "two" / "log.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert 0 < float(row["loss"]) < 5
    assert all(torch.isfinite(v.float()).all() for v in weights_of(recipe / "two" / "last.pt").values())
    # Hardness is counted over the patches of both processes: eight, without duplicates.
    hardness = torch.load(recipe / "two" / "last.pt", weights_only=True)["hardness"]
    assert set(hardness) == {"p3"} and torch.isfinite(hardness["p3"]).any()


def test_a_stage_of_fixed_norm_learns_without_moving_the_running_moments(cases, tmp_path):
    def moments(run):
        return {name: value.clone() for name, value in run.network.state_dict().items() if "running" in name}

    stages = (dataclasses.replace(STAGE, epochs=1), dataclasses.replace(STAGE, epochs=1, fixed_norm=True))
    run = Run.start(config(stages=stages), CPU)
    states = [(moments(run), run.network.output.weight.detach().clone())]
    for _ in stages:
        fit(run, cases, [], tmp_path, report=silent, epochs=1)
        states.append((moments(run), run.network.output.weight.detach().clone()))
    start, first, second = states
    assert any(not torch.equal(start[0][name], first[0][name]) for name in start[0])
    assert all(torch.equal(first[0][name], second[0][name]) for name in first[0])
    assert not torch.equal(first[1], second[1])


@pytest.mark.slow
def test_two_processes_resume_exactly_and_come_to_what_one_comes_to(recipe):
    set_in(recipe, samples_per_epoch=16)
    finish(start(recipe, recipe / "whole", "--devices", "2"))
    process = start(recipe, recipe / "killed", "--devices", "2")
    while not (recipe / "killed" / "last.pt").exists() and process.poll() is None:
        time.sleep(0.01)
    # The other process belongs to the same process group.
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    finish(start(recipe, recipe / "killed", "--devices", "2"))
    assert_same_weights(recipe / "whole" / "last.pt", recipe / "killed" / "last.pt")
    # Batch norm uses only the patches of its own process: the losses are similar, not equal.
    finish(start(recipe, recipe / "one"))
    losses = {}
    for run in ("whole", "one"):
        with (recipe / run / "log.csv").open() as file:
            losses[run] = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses["whole"] == pytest.approx(losses["one"], rel=0.15)


def test_processes_share_the_patches_of_a_batch(cases):
    settings = config()
    whole = draw_batch(settings, STAGE, cases, [], 2, 5)[0]
    parts = [draw_batch(settings, STAGE, cases, [], 2, 5, share(2, rank, 2))[0] for rank in (0, 1)]
    assert torch.equal(torch.cat(parts), whole)
    assert sorted([*share(8, 0, 2), *share(8, 1, 2)]) == list(range(8))
    with pytest.raises(ConfigurationError, match="batch of 3"):
        share(3, 0, 2)


# In one process -------------------------------------------------------------------------------------------------------


def test_patches_drawn_by_other_processes_are_the_same(cases, tmp_path):
    for workers in (0, 2):
        run = Run.start(config(), CPU)
        fit(run, cases, [], tmp_path / str(workers), report=silent, epochs=1, hardware=Hardware(CPU, workers=workers))
    assert_same_weights(tmp_path / "0" / "last.pt", tmp_path / "2" / "last.pt")


def test_training_stops_once_validation_has_not_improved_and_stays_stopped(cases, tmp_path):
    scores = iter([0.5, 0.6, 0.6, 0.4, 0.9])
    stages = (Stage(9, STAGE.spacing, STAGE.patch, 1),)
    run = Run.start(config(patience=2, samples_per_epoch=1, stages=stages), CPU)
    said = []
    fit(run, cases, [], tmp_path, lambda _: {"dice": next(scores)}, report=said.append)
    assert (run.epoch, run.best_dice, run.stale) == (4, 0.6, 2)
    assert said[-1] == "stopped early: no better validation DICE for 2 validations"
    again = Run.start(run.config, CPU)
    again.restore(tmp_path / "last.pt")
    assert fit(again, cases, [], tmp_path, lambda _: {"dice": next(scores)}, report=silent) == []


def test_half_precision_is_handed_to_a_gpu(monkeypatch, cases, tmp_path):
    asked = {}

    def trainer(**settings):
        asked.update(settings)
        raise InterruptedError

    monkeypatch.setattr("lvnet_training.loop.lightning.Trainer", trainer)
    for precision in ("bf16-mixed", "16-mixed", "32-true"):
        run = Run.start(config(precision=precision), CPU)
        with pytest.raises(InterruptedError):
            fit(run, cases, [], tmp_path, hardware=Hardware(torch.device("cuda", 0)))
        assert (asked["accelerator"], asked["devices"], asked["precision"]) == ("cuda", [0], precision)
    with pytest.raises(ConfigurationError, match="bf16-mixed"):
        config(precision="8")


def test_files_of_before_early_stopping_are_still_resumed(cases, tmp_path):
    run = Run.start(config(), CPU)
    run.save(tmp_path / "last.pt")
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    torch.save({k: v for k, v in state.items() if k not in ("stale", "precision")}, tmp_path / "old.pt")
    run.restore(tmp_path / "old.pt")
    assert (run.stale, run.precision) == (0, {})


def test_hardware_that_does_not_fit_is_refused_in_one_line(recipe, capsys, cases, tmp_path):
    assert main(arguments(recipe, recipe / "run", "--devices", "0")) == 2
    for precision in ("16-mixed", "bf16-mixed"):
        set_in(recipe, precision=precision)
        assert main(arguments(recipe, recipe / "run")) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "1 or more" in lines[0]
    assert "NVIDIA" in lines[1] and "NVIDIA" in lines[2]


def test_the_state_of_loss_scaling_is_kept(tmp_path):
    run = Run.start(config(), CPU)
    run.precision = {"scale": 1024.0, "growth_factor": 2.0, "_growth_tracker": 7}
    run.save(tmp_path / "last.pt")
    again = Run.start(config(), CPU)
    again.restore(tmp_path / "last.pt")
    assert again.precision == run.precision


def test_a_missing_package_of_training_is_named(recipe, monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "lvnet_training.loop")
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    assert main(arguments(recipe, recipe / "run")) == 2
    assert "[train]" in capsys.readouterr().err


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried"),
                                   RuntimeError("DefaultCPUAllocator: can't allocate memory"),
                                   RuntimeError("Cannot allocate memory"), RuntimeError("std::bad_alloc"),
                                   RuntimeError("could not create a primitive"),
                                   RuntimeError("could not execute a primitive")])  # fmt: skip
def test_running_out_of_memory_says_in_one_line_what_to_change(cases, tmp_path, monkeypatch, error):
    def fails(*_):
        raise error

    monkeypatch.setattr("lvnet_training.loop.deep_supervision_loss", fails)
    with pytest.raises(ResourceError, match="2 patches of 16 x 32 x 32; set `batch: 1`") as refusal:
        fit(Run.start(config(), CPU), cases, [], tmp_path, report=silent)
    assert "\n" not in str(refusal.value)


def test_an_error_that_is_not_about_memory_keeps_its_traceback(cases, tmp_path, monkeypatch):
    def fails(*_):
        raise RuntimeError("something else")

    monkeypatch.setattr("lvnet_training.loop.deep_supervision_loss", fails)
    with pytest.raises(RuntimeError, match="something else"):
        fit(Run.start(config(), CPU), cases, [], tmp_path, report=silent)


def test_a_loss_that_is_no_number_ends_the_run(cases, tmp_path, monkeypatch):
    monkeypatch.setattr("lvnet_training.loop.deep_supervision_loss", lambda main, *_: main.sum() * float("nan"))
    with pytest.raises(FloatingPointError, match="epoch 1, step 1"):
        fit(Run.start(config(), CPU), cases, [], tmp_path, report=silent)
    assert not (tmp_path / "last.pt").exists()


def test_an_interrupted_command_says_so_and_goes_on_later(recipe, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("lvnet_training.loop.deep_supervision_loss", interrupt)
    assert main(arguments(recipe, recipe / "run")) == 130
    assert "run the same command again to continue" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_device_number_and_several_devices_are_refused_together(recipe, capsys, cases, tmp_path):
    with pytest.raises(ConfigurationError, match="cuda:1"):
        fit(Run.start(config(), CPU), cases, [], tmp_path, report=silent,
            hardware=Hardware(torch.device("cuda:1"), devices=2))  # fmt: skip


def test_curve_examples_and_tensorboard_can_be_looked_at_after_every_epoch(recipe):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    set_in(recipe, samples_per_epoch=2, phantoms=0, stages=[{"epochs": 2, "spacing": [8, 8, 8], "patch": [16, 32, 32]}])
    watched = [a for a in arguments(recipe, recipe / "a") if a != "--no-pictures"]
    assert main(watched) == 0
    with_validation = [a.replace(str(recipe / "a"), str(recipe / "b")) for a in watched]
    assert main([*with_validation, "--validation", str(recipe / "data")]) == 0
    found = {run: sorted(p.name for p in (recipe / run / "pictures").iterdir()) for run in "ab"}
    assert found == {
        "a": ["epoch-001-patch.png", "epoch-002-patch.png", "loss.png"],
        "b": ["epoch-001-p3.png", "epoch-002-p3.png", "loss.png"],
    }
    for run in "ab":
        assert all(p.read_bytes().startswith(b"\x89PNG") for p in (recipe / run / "pictures").iterdir())
    events = EventAccumulator(str(recipe / "b" / "tensorboard"))
    events.Reload()
    with (recipe / "b" / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name in ("loss", "dice"):
        scalars = events.Scalars(name)
        assert [event.step for event in scalars] == [1, 2]
        assert [event.value for event in scalars] == pytest.approx([float(row[name]) for row in rows], rel=1e-4)


def test_a_run_of_another_network_is_scored_and_exported(recipe, capsys):
    set_in(recipe, samples_per_epoch=2, network="lvnet-vanilla",
           stages=[{"epochs": 1, "spacing": [8, 8, 8], "patch": [16, 32, 32]}])  # fmt: skip
    assert main(arguments(recipe, recipe / "run")) == 0
    last, settings = str(recipe / "run" / "last.pt"), str(recipe / "c.yaml")
    scored = ["evaluate", str(recipe / "data"), "--device", "cpu", "--json", str(recipe / "s.json"), "--weights"]
    assert main([*scored, last, "--config", settings]) == 0
    assert 0 <= json.loads((recipe / "s.json").read_text())["p3"]["dice"] <= 1
    assert main([*scored, last]) == 2
    assert "--config" in capsys.readouterr().err
    exported = recipe / "w.safetensors"
    assert main(["export", last, str(exported), "--config", settings]) == 0
    assert load_checkpoint(exported).recipe.architecture.block == "vanilla"
    assert main([*scored, str(exported)]) == 0


class StopError(Exception):
    """Ends a run from inside, like a kill from outside."""


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_that_ends_within_an_epoch_goes_on_from_its_last_checkpoint(tmp_path, cases, accumulate):
    settings = config(samples_per_epoch=16, stages=(dataclasses.replace(STAGE, epochs=2),), accumulate=accumulate)
    hardware = Hardware(CPU, deterministic=True)
    run = Run.start(settings, CPU)
    fit(run, cases, [], tmp_path / "whole", report=silent, hardware=hardware, save_every=4)

    def stop(share, stage):
        if stage.startswith("epoch 2") and share > 0.8:
            raise StopError

    with pytest.raises(StopError):
        fit(Run.start(settings, CPU), cases, [], tmp_path / "cut", progress=stop, report=silent, hardware=hardware,
            save_every=4)  # fmt: skip
    again = Run.start(settings, CPU)
    again.restore(tmp_path / "cut" / "last.pt")
    assert (again.epoch, again.step) == (1, 4)
    fit(again, cases, [], tmp_path / "cut", report=silent, hardware=hardware, save_every=4)
    assert_same_weights(tmp_path / "whole" / "last.pt", tmp_path / "cut" / "last.pt")
    logs = [[row["loss"] for row in csv.DictReader((tmp_path / name / "log.csv").open())] for name in ("whole", "cut")]
    assert logs[0] == logs[1] and len(logs[0]) == 2


def test_a_limit_of_time_ends_a_run_within_an_epoch_and_more_time_goes_on(tmp_path, cases):
    settings = config(samples_per_epoch=16)
    run = Run.start(settings, CPU)
    fit(run, cases, [], tmp_path, report=silent, seconds=1e-6)
    assert (run.epoch, run.step) == (0, 1)
    again = Run.start(settings, CPU)
    again.restore(tmp_path / "last.pt")
    assert fit(again, cases, [], tmp_path, report=silent, seconds=1e-6) == []
    fit(again, cases, [], tmp_path, report=silent, epochs=1)
    assert (again.epoch, again.step) == (1, 0)
