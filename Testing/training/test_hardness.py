"""Hard example mining: difficult scans and regions are drawn more often, within limits, also after resuming."""

import dataclasses

import numpy as np
import pytest
import torch
from lvnet.errors import CheckpointError, ConfigurationError
from lvnet.recipe import Architecture
from lvnet_training.batches import draw_placed_batch
from lvnet_training.case import Case
from lvnet_training.config import Config, Stage
from lvnet_training.hardness import PLACES, Tally, case_weights, per_patch, place_of, place_weights
from lvnet_training.loop import fit
from lvnet_training.state import Run

STAGE = Stage(epochs=3, spacing=(4.0, 4.0, 4.0), patch=(16, 32, 32), batch=2, learning_rate=5e-3)
SMALL = Architecture(widths=(4, 6, 8, 8, 10), expansion=2, kernel_size=3)
CPU = torch.device("cpu")


def config(**changes):
    return Config(stages=(STAGE,), architecture=SMALL, samples_per_epoch=8, average=0.9, **changes)


def case(name, organ=True):
    rng = np.random.default_rng(len(name))
    image = rng.integers(-30, 30, (40, 40, 44)).astype(np.int16)
    label = np.zeros(image.shape, np.uint8)
    if organ:
        label[10:28, 10:28, 8:22] = 1
    box = ((10, 10, 8), (27, 27, 21)) if organ else None
    return Case(name, image, label, (4.0, 4.0, 4.0), box)


@pytest.fixture
def cases():
    return [case("easy"), case("hard one")]


def losses(**values):
    return {name.replace("_", " "): torch.tensor(value) for name, value in values.items()}


def test_a_slice_belongs_to_a_place_below_within_or_above_the_organ():
    scan = case("a")
    assert [place_of(scan, z) for z in (0, 9, 11, 18, 27, 28, 39)] == [0, 0, 1, 2, 3, 4, 4]
    empty = case("b", organ=False)
    assert [place_of(empty, z) for z in (0, 20, 39)] == [0, 2, 4]


def test_a_scan_of_a_higher_loss_is_drawn_more_often_within_bounds(cases):
    known = losses(easy=[0.1] * 5, hard_one=[0.3] * 5)
    assert case_weights(cases, known, 1.0) == pytest.approx([0.5, 1.5])
    assert case_weights(cases, known, 0.0) == pytest.approx([1, 1])
    extreme = losses(easy=[1e-5] * 5, hard_one=[9.0] * 5)
    assert case_weights(cases, extreme, 4.0) == pytest.approx([1 / 3, 3])
    assert case_weights(cases, {}, 1.0) == pytest.approx([1, 1]), "nothing is known before the first epoch"
    nan = float("nan")
    assert case_weights(cases, losses(hard_one=[0.3, nan, nan, nan, nan]), 1.0) == pytest.approx([1, 1])
    assert place_weights(cases[0], losses(easy=[0.1, nan, 0.3, nan, nan]), 1.0) == pytest.approx([0.5, 1, 1.5, 1, 1])


def drawn(settings, cases, known, count=150):
    batches = [draw_placed_batch(settings, STAGE, cases, [], 0, step, hardness=known)[2] for step in range(count)]
    return torch.cat(batches).numpy()


def test_batches_follow_the_losses(cases):
    settings = config(hardness=1.0)
    hard = drawn(settings, cases, losses(easy=[0.1] * 5, hard_one=[0.3] * 5))
    assert np.mean(hard[:, 0] == 1) == pytest.approx(0.75, abs=0.08)
    even = drawn(settings, cases, {})
    assert np.mean(even[:, 0] == 1) == pytest.approx(0.5, abs=0.08)
    above = drawn(settings, cases[:1], losses(easy=[0.1, 0.1, 0.1, 0.1, 1.0]))
    assert np.mean(above[:, 1] == 4) > 1.5 * np.mean(drawn(settings, cases[:1], {})[:, 1] == 4)


def test_without_the_setting_the_patches_are_those_of_before(cases):
    known = losses(easy=[0.1] * 5, hard_one=[0.3] * 5)
    off = [draw_placed_batch(config(), STAGE, cases, [], 0, 3, hardness=h) for h in (None, known)]
    assert torch.equal(off[0][0], off[1][0])


def test_losses_are_counted_by_case_and_place_and_phantoms_are_not():
    tally = Tally(2)
    tally.add(torch.tensor([1.0, 3.0, 9.0, 5.0]), torch.tensor([[0, 2], [0, 2], [-1, 0], [1, 4]]))
    after = tally.merged(["a", "b"], losses(b=[0.5, 0.5, 0.5, 0.5, 1.0], gone=[1.0] * 5))
    assert set(after) == {"a", "b"}
    assert after["a"][2] == 2.0 and torch.isnan(after["a"][0])
    assert after["b"].tolist() == pytest.approx([0.5, 0.5, 0.5, 0.5, 0.7 * 1.0 + 0.3 * 5.0])


def test_the_loss_of_a_patch_is_its_own_mean_cross_entropy():
    torch.manual_seed(0)
    logits, target = torch.randn(3, 2, 4, 4, 4), torch.randint(0, 2, (3, 4, 4, 4))
    wanted = [torch.nn.functional.cross_entropy(logits[i : i + 1], target[i : i + 1]).item() for i in range(3)]
    assert per_patch(logits, target).tolist() == pytest.approx(wanted, abs=1e-6)


def test_a_resumed_run_draws_and_ends_the_same(cases, tmp_path):
    settings = config(hardness=1.0)
    whole = Run.start(settings, CPU)
    fit(whole, cases, [], tmp_path / "whole", report=lambda _: None)
    fit(Run.start(settings, CPU), cases, [], tmp_path / "resumed", report=lambda _: None, epochs=1)
    second = Run.start(settings, CPU)
    second.restore(tmp_path / "resumed" / "last.pt")
    assert set(second.hardness) <= {"easy", "hard one"} and second.hardness
    fit(second, cases, [], tmp_path / "resumed", report=lambda _: None)
    mine, other = whole.network.state_dict(), second.network.state_dict()
    assert all(torch.equal(mine[name], other[name]) for name in mine)
    for name, value in whole.hardness.items():
        torch.testing.assert_close(second.hardness[name], value, equal_nan=True)


def test_files_of_before_load_and_damaged_tables_are_refused(tmp_path):
    run = Run.start(config(), CPU)
    run.save(tmp_path / "last.pt")
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    del state["hardness"]
    torch.save(state, tmp_path / "old.pt")
    Run.start(config(), CPU).restore(tmp_path / "old.pt")
    torch.save({**state, "hardness": {"a": torch.zeros(PLACES + 1)}}, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match="cannot resume"):
        Run.start(config(), CPU).restore(tmp_path / "bad.pt")


@pytest.mark.parametrize(("schedule", "rates"), [
    ("exponential", [1.0, 0.9, 0.81, 0.729]),
    ("cosine", [1.0, 0.8536, 0.5, 0.1464]),
    ("polynomial", [1.0, 0.75**0.9, 0.5**0.9, 0.25**0.9]),
])  # fmt: skip
def test_the_learning_rate_falls_by_the_schedule_within_every_stage(schedule, rates):
    stages = (dataclasses.replace(STAGE, epochs=4, learning_rate=1.0),
              dataclasses.replace(STAGE, epochs=4, learning_rate=0.1))  # fmt: skip
    settings = Config(stages=stages, decay=0.9, schedule=schedule)
    found = [settings.learning_rate(epoch) for epoch in range(8)]
    assert found == pytest.approx([*rates, *(0.1 * rate for rate in rates)], abs=1e-4)


@pytest.mark.parametrize(("accumulate", "steps"), [(1, 5), (2, 3), (5, 1), (9, 1)])
def test_gradients_of_several_batches_make_one_step_and_one_move_of_the_average(
    cases, tmp_path, monkeypatch, accumulate, steps
):
    moves = []
    monkeypatch.setattr(Run, "update_average", lambda self, done: moves.append(done))
    stage = dataclasses.replace(STAGE, epochs=1)
    settings = Config(stages=(stage,), architecture=SMALL, samples_per_epoch=10, average=0.9, accumulate=accumulate)
    run = Run.start(settings, CPU)
    fit(run, cases, [], tmp_path, report=lambda _: None)
    assert {int(state["step"]) for state in run.optimiser.state.values()} == {steps}
    assert moves == list(range(steps))


def test_impossible_settings_are_refused_and_the_defaults_keep_their_digest():
    with pytest.raises(ConfigurationError, match="unknown schedule"):
        Config(stages=(STAGE,), schedule="warm")
    with pytest.raises(ConfigurationError, match="`accumulate` must be 1 or more"):
        Config(stages=(STAGE,), accumulate=0)
    with pytest.raises(ConfigurationError, match="hardness must be"):
        Config(stages=(STAGE,), hardness=-1.0)
    assert config().digest == config(hardness=0.0, schedule="exponential").digest != config(hardness=1.0).digest
