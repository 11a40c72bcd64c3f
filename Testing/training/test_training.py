"""Training: the paper's loss, correct data, and a run that resumes with the same result."""

import csv
import dataclasses
import json
import os

import numpy as np
import pytest
import torch
from lvnet.checkpoint import load_checkpoint, save_checkpoint
from lvnet.errors import CheckpointError, ConfigurationError, GeometryError, ImageError
from lvnet.image_io import write_image, write_labels
from lvnet.inference import load_model
from lvnet.network import LVNet
from lvnet.pipeline.python import segment
from lvnet.recipe import LIVER, Architecture, LabelClass
from lvnet.volume import Volume
from lvnet_training.augmentation import draw_patch
from lvnet_training.batches import draw_batch
from lvnet_training.case import make_case
from lvnet_training.cli import main
from lvnet_training.config import Augmentation, Config, Stage, load_config
from lvnet_training.dataset import cached_case, load_cases
from lvnet_training.loop import fit
from lvnet_training.loss import deep_supervision_loss, soft_dice_loss
from lvnet_training.sources import find_cases
from lvnet_training.state import Run
from lvnet_training.validation import stray_ml, validate
from torch.nn import functional as F  # noqa: N812

STAGE = Stage(epochs=3, spacing=(4.0, 4.0, 4.0), patch=(16, 32, 32), batch=2, learning_rate=5e-3)
SMALL = Architecture(widths=(4, 6, 8, 8, 10), expansion=2, kernel_size=3)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


def scan_and_label(seed=0, shape=(24, 40, 44)):
    """A body with a bright organ on the patient's right."""
    rng = np.random.default_rng(seed)
    image = np.full(shape, -1000, np.int16)
    image[:, 4:-4, 4:-4] = rng.integers(-30, 30, (shape[0], shape[1] - 8, shape[2] - 8))
    label = np.zeros(shape, np.uint8)
    label[6:18, 10:28, 8:22] = 1
    image[label > 0] += 150
    place = {"spacing": (4.0, 4.0, 4.0), "origin": (1.0, 2.0, 3.0)}
    return Volume(image, **place), Volume(label, **place)


@pytest.fixture
def cases():
    return [make_case(f"case{seed}", *scan_and_label(seed)) for seed in range(3)]


def config(**changes):
    return Config(stages=(STAGE,), architecture=SMALL, samples_per_epoch=8, average=0.9, **changes)


def test_the_loss_is_equation_3():
    torch.manual_seed(1)
    main_logits, *auxiliary = (torch.randn(2, 2, 4, 4, 4) for _ in range(5))
    target = torch.randint(0, 2, (2, 4, 4, 4))
    expected = F.cross_entropy(main_logits, target)
    for eta, logits in zip((0.2, 0.4, 0.6, 0.8), auxiliary):
        expected = expected + eta * F.cross_entropy(logits, target)
    assert torch.allclose(deep_supervision_loss(main_logits, auxiliary, target), expected)
    # Cross entropy is the mean over voxels.
    probability = torch.softmax(main_logits, 1).gather(1, target[:, None])
    assert torch.allclose(-probability.log().mean(), F.cross_entropy(main_logits, target))
    with pytest.raises(ValueError, match="auxiliary"):
        deep_supervision_loss(main_logits, auxiliary[:3], target)


def test_weight_decay_is_l2_in_the_gradient_as_the_paper_has_it():
    run = Run.start(config(weight_decay=1e-5), CPU)
    assert type(run.optimiser) is torch.optim.Adam
    assert {group["weight_decay"] for group in run.optimiser.param_groups} == {1e-5}


def test_training_lowers_the_loss(cases, tmp_path):
    losses = fit(Run.start(config(), CPU), cases, [], tmp_path, report=lambda _: None)
    assert losses[-1] < 0.7 * losses[0]


def test_the_learning_rate_falls_by_the_decay_every_epoch_and_starts_anew_with_a_stage(cases, tmp_path):
    settings = Config(
        stages=(Stage(2, (4.0,) * 3, (16, 32, 32), 1, 1e-3), Stage(1, (4.0,) * 3, (16, 32, 32), 1, 5e-4)),
        architecture=SMALL, samples_per_epoch=1, decay=0.9,
    )  # fmt: skip
    fit(Run.start(settings, CPU), cases, [], tmp_path, report=lambda _: None)
    with (tmp_path / "log.csv").open() as file:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
    assert rates == pytest.approx([1e-3, 9e-4, 5e-4])


def test_a_run_that_is_stopped_and_resumed_ends_with_the_same_weights(cases, tmp_path):
    whole = Run.start(config(), CPU)
    fit(whole, cases, [], tmp_path / "whole", report=lambda _: None)
    first = Run.start(config(), CPU)
    fit(first, cases, [], tmp_path / "resumed", report=lambda _: None, epochs=1)
    second = Run.start(config(seed=1), CPU)
    second.restore(tmp_path / "resumed" / "last.pt")
    fit(second, cases, [], tmp_path / "resumed", report=lambda _: None)
    for mine, other in ((whole.network.state_dict(), second.network.state_dict()), (whole.average, second.average)):
        assert all(torch.equal(mine[name], other[name]) for name in mine)


def test_a_run_of_other_settings_is_not_resumed_but_its_weights_may_be_taken(cases, tmp_path):
    Run.start(config(), CPU).save(tmp_path / "last.pt")
    other = Run.start(config(seed=2), CPU)
    with pytest.raises(CheckpointError, match="other settings"):
        other.restore(tmp_path / "last.pt")
    other.restore(tmp_path / "last.pt", weights_only=True)
    assert other.epoch == 0


def test_a_damaged_run_file_is_refused(tmp_path):
    Run.start(config(), CPU).save(tmp_path / "last.pt")
    data = (tmp_path / "last.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(data[: len(data) // 2])
    os.mkfifo(tmp_path / "pipe.pt")
    for name in ("cut.pt", "none.pt", "pipe.pt", "/dev/zero"):
        with pytest.raises(CheckpointError, match="cannot resume"):
            Run.start(config(), CPU).restore(tmp_path / name)


def test_a_changed_bit_of_a_run_file_is_noticed(tmp_path):
    """PyTorch writes checksums but does not verify them."""
    Run.start(config(), CPU).save(tmp_path / "last.pt")
    data = bytearray((tmp_path / "last.pt").read_bytes())
    sound = torch.load(tmp_path / "last.pt", weights_only=True)
    name, largest = max(sound["network"].items(), key=lambda entry: entry[1].numel())
    # Channels-last tensors are stored in the file in their memory order.
    voxels = largest.as_strided((largest.numel(),), (1,)).numpy().tobytes()
    data[data.index(voxels) + len(voxels) // 2] ^= 4
    (tmp_path / "bent.pt").write_bytes(data)
    bent = torch.load(tmp_path / "bent.pt", weights_only=True)
    assert any(not torch.equal(bent[part][name], sound[part][name]) for part in ("network", "average"))
    with pytest.raises(CheckpointError, match="damaged"):
        Run.start(config(), CPU).restore(tmp_path / "bent.pt")


def test_numbers_of_a_run_file_that_share_their_memory_get_places_of_their_own(tmp_path):
    run = Run.start(config(), CPU)
    sum(p.square().sum() for p in run.network.parameters()).backward()
    run.optimiser.step()
    run.save(tmp_path / "last.pt")
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    for own in state["optimiser"]["state"].values():
        own["exp_avg"] = torch.zeros(1).expand(own["exp_avg"].shape)
    torch.save(state, tmp_path / "last.pt")
    run.restore(tmp_path / "last.pt")
    run.optimiser.step()
    assert all(own["exp_avg"].is_contiguous() for own in run.optimiser.state.values())


@pytest.mark.parametrize(
    "changes",
    [{"network": {}}, {"average": {}}, {"average": {"x": torch.zeros(1)}}, {"epoch": -1}, {"epoch": "one"},
     {"best_dice": float("nan")}, {"optimiser": {}}, {"optimiser": {"state": {}, "param_groups": []}}, {"stale": None}],
)  # fmt: skip
def test_a_run_file_with_wrong_contents_is_refused_in_one_line(tmp_path, changes):
    Run.start(config(), CPU).save(tmp_path / "last.pt")
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    torch.save({**state, **changes}, tmp_path / "last.pt")
    with pytest.raises(CheckpointError, match="cannot resume") as refusal:
        Run.start(config(), CPU).restore(tmp_path / "last.pt")
    assert "\n" not in str(refusal.value)


def test_the_best_epoch_on_validation_is_kept(cases, tmp_path):
    scores = iter([0.5, 0.9, 0.7])
    run = Run.start(config(), CPU)
    fit(run, cases, [], tmp_path, validate=lambda network: {"dice": next(scores)}, report=lambda _: None)
    best = Run.start(config(), CPU)
    best.restore(tmp_path / "best.pt")
    assert (best.epoch, best.best_dice) == (2, 0.9)
    with (tmp_path / "log.csv").open() as file:
        assert [row["dice"] for row in csv.DictReader(file)] == ["0.5", "0.9", "0.7"]


def test_validation_goes_through_the_inference_of_users():
    scan, label = scan_and_label()
    settings = config()
    scores = validate(LVNet(SMALL), settings.recipe(), [("one", scan, label)])
    assert scores["dice"] == scores["dice_one"]
    assert 0 <= scores["dice"] < 0.6


def test_batches_are_the_same_for_the_same_epoch_and_step_and_differ_between_steps(cases):
    settings = config()
    first, again, other = (draw_batch(settings, STAGE, cases, [], 0, step) for step in (3, 3, 4))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert first[0].shape == (2, 1, 16, 32, 32)
    assert first[1].shape == (2, 16, 32, 32)


def test_patches_hold_the_label_where_the_organ_is(cases):
    rng = np.random.default_rng(1)
    for _ in range(10):
        image, label = draw_patch(rng, cases[0], (16, 32, 32), (4.0, 4.0, 4.0), Augmentation(noise=5.0), 1.0)
        assert label.any()
        assert image[label > 0].mean() > image[label == 0].mean() + 60


def test_left_and_right_are_never_swapped(cases):
    rng = np.random.default_rng(2)
    sides = []
    for _ in range(20):
        _, label = draw_patch(rng, cases[0], (16, 32, 32), (6.0, 6.0, 6.0), Augmentation(), 0.0)
        if label.any():
            sides.append(np.argwhere(label)[:, 2].mean() < 15.5)
    assert np.mean(sides) > 0.8


def test_trust_decides_how_often_a_case_is_drawn(cases, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "lvnet_training.batches.draw_placed_patch",
        lambda rng, case, *_: (
            drawn.append(case.name) or (np.zeros(STAGE.patch, np.float32), np.zeros(STAGE.patch, int), 0)
        ),
    )
    for step in range(40):
        draw_batch(config(trust={"case0": 0.0}), STAGE, cases, [], 0, step)
    assert set(drawn) == {"case1", "case2"}


def test_phantoms_take_their_share(cases, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "lvnet_training.batches.draw_placed_patch",
        lambda rng, case, *_: (
            drawn.append(case.name) or (np.zeros(STAGE.patch, np.float32), np.zeros(STAGE.patch, int), 0)
        ),
    )
    for step in range(100):
        draw_batch(config(phantom_share=0.25), STAGE, cases[:2], cases[2:], 0, step)
    assert drawn.count("case2") / len(drawn) == pytest.approx(0.25, abs=0.08)


def write_case(folder, scan, label):
    folder.mkdir(parents=True)
    write_image(scan, folder / "ct.nii.gz")
    write_labels(label, folder / "liver.nii.gz", [LIVER, LabelClass(3, "another")])


def test_a_bad_case_is_named_and_left_out(tmp_path):
    scan, label = scan_and_label()
    write_case(tmp_path / "data" / "good", scan, label)
    write_case(tmp_path / "data" / "shifted", scan, Volume(label.array, label.spacing, (50.0, 0.0, 0.0)))
    write_case(tmp_path / "data" / "three", scan, label.with_array(label.array * 3))
    cases, refused = load_cases(find_cases(tmp_path / "data"), tmp_path / "cache")
    assert [case.name for case in cases] == ["good"]
    assert [sentence.split()[0] for sentence in refused] == ["shifted", "three"]


def test_checks_name_what_is_wrong():
    scan, label = scan_and_label()
    with pytest.raises(GeometryError, match="grids"):
        make_case("x", scan, Volume(label.array[1:], label.spacing))
    with pytest.raises(ImageError, match="value 2"):
        make_case("x", scan, label.with_array(label.array * 2))
    assert make_case("x", scan, label.with_array(label.array * 0)).box is None
    with pytest.raises(ImageError, match="no case"):
        find_cases("/nowhere")


def test_the_cache_is_refreshed_when_a_file_changes(tmp_path):
    scan, label = scan_and_label()
    write_case(tmp_path / "case", scan, label)
    source = find_cases(tmp_path)[0]
    first = cached_case(source, tmp_path / "cache")
    again = cached_case(source, tmp_path / "cache")
    assert np.array_equal(first.image, again.image)
    write_labels(label.with_array(np.zeros_like(label.array)), tmp_path / "case" / "liver.nii.gz", [LIVER])
    assert cached_case(source, tmp_path / "cache").box is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stages: []", "stage"),
        ("[1, 2]", "no settings"),
        ("stages: [{epochs: 1}]", "spacing"),
        ("nonsense: 1", "nonsense"),
        ("stages: [{epochs: 1, spacing: [4, 4, 4], patch: [15, 32, 32]}]", "multiple"),
        ("stages: [{epochs: 0, spacing: [4, 4, 4], patch: [16, 32, 32]}]", "positive"),
        ("stages: [{epochs: 1, spacing: [4, 4, 4], patch: [16, 32, 32]}]\neta: [1]", "eta"),
        ("a: [", "cannot read"),
        ("!!python/object/apply:os.system ['true']", "cannot read"),
    ],
)
def test_impossible_configurations_are_refused_in_one_line(tmp_path, text, words):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=words) as refusal:
        load_config(tmp_path / "c.yaml")
    assert "\n" not in str(refusal.value)


def test_every_configuration_in_the_repository_is_read(pytestconfig):
    files = sorted((pytestconfig.rootpath / "training" / "configs").rglob("*.yaml"))
    assert {"bundled.yaml", "tiny.yaml"} <= {file.name for file in files}
    for file in files:
        assert load_config(file).recipe().name


def test_from_phantoms_to_a_segmentation_by_the_command_line(tmp_path, capsys, monkeypatch):
    from lvnet import phantom

    make = phantom.make_phantom
    monkeypatch.setattr(phantom, "make_phantom", lambda seed, **k: make(seed, size=(24, 48, 48), **k))
    (tmp_path / "c.yaml").write_text(
        "samples_per_epoch: 2\nphantoms: 1\nphantom_share: 1.0\n"
        "architecture: {widths: [4, 6, 8, 8, 10], expansion: 1, kernel_size: 3}\n"
        "preprocessing: {window: [-120, 240], mean: 22.0, std: 86.0, in_plane_spacing: [8, 8], slice_spacing: 8}\n"
        "stages: [{epochs: 2, spacing: [8, 8, 8], patch: [16, 32, 32], batch: 1}]\n"
    )
    scan, label = make(5, size=(24, 48, 48))
    write_case(tmp_path / "val" / "p5", scan, label)
    arguments = [
        "fit",
        "--config",
        tmp_path / "c.yaml",
        "--output",
        tmp_path / "run",
        "--validation",
        tmp_path / "val",
        "--device",
        "cpu",
    ]
    assert main([str(a) for a in arguments]) == 0
    assert main([str(a) for a in arguments]) == 0
    assert "resuming after epoch 2" in capsys.readouterr().out
    (tmp_path / "p.json").write_text('{"data": "one phantom"}')
    export = [
        "export",
        tmp_path / "run" / "best.pt",
        tmp_path / "w.safetensors",
        "--config",
        tmp_path / "c.yaml",
        "--provenance",
        tmp_path / "p.json",
    ]
    assert main([str(a) for a in export]) == 0
    provenance = load_checkpoint(tmp_path / "w.safetensors").recipe.provenance
    assert provenance["data"] == "one phantom"
    assert provenance["epochs"] in (1, 2)
    assert segment(scan, model=load_model(tmp_path / "w.safetensors", "cpu")).labels.same_grid(scan)
    evaluation = [
        "evaluate",
        tmp_path / "val",
        "--weights",
        tmp_path / "w.safetensors",
        "--device",
        "cpu",
        "--strays",
        "--json",
        tmp_path / "s.json",
    ]
    assert main([str(a) for a in evaluation]) == 0
    assert "stray_ml" in capsys.readouterr().out
    (case,) = json.loads((tmp_path / "s.json").read_text()).values()
    assert main([*map(str, evaluation), "--least-dice", str(case["dice"])]) == 0
    assert main([*map(str, evaluation), "--least-dice", str(case["dice"] + 1e-6)]) == 1
    assert capsys.readouterr().err.endswith(f"the mean DICE is below {case['dice'] + 1e-6:g}\n")
    assert case["stray_ml"] >= 0
    assert main(["prepare", str(tmp_path / "val"), "--cache", str(tmp_path / "cache")]) == 0
    assert "1 cases ready" in capsys.readouterr().out


def test_only_what_lies_far_from_the_organ_is_astray():
    label = np.zeros((30, 20, 20), np.uint8)
    label[2:6, 5:15, 5:15] = 1
    found = label.copy()
    found[6:9, 5:15, 5:15] = 1  # 9 mm beyond it
    assert stray_ml(Volume(found, (3.0, 1.0, 1.0)), Volume(label, (3.0, 1.0, 1.0))) == 0
    found[20:22, 3:8, 3:7] = 1
    assert stray_ml(Volume(found, (3.0, 1.0, 1.0)), Volume(label, (3.0, 1.0, 1.0))) == pytest.approx(40 * 0.003)
    assert stray_ml(Volume(label, (3.0, 1.0, 1.0)), Volume(0 * label, (3.0, 1.0, 1.0))) == pytest.approx(400 * 0.003)


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", "--config", "none.yaml", "--output", "x"],
        ["fit", "--config", "{tiny}", "--output", "{tmp}/x", "--data", "nowhere"],
        ["export", "none.pt", "{tmp}/w.safetensors", "--config", "{tiny}"],
        ["evaluate", "nowhere"],
        ["prepare", "nowhere", "--cache", "{tmp}/c"],
    ],
)
def test_a_users_error_is_one_line_and_exit_code_2(arguments, tmp_path, capsys, pytestconfig):
    tiny = pytestconfig.rootpath / "training" / "configs" / "tiny.yaml"
    assert main([a.format(tiny=tiny, tmp=tmp_path) for a in arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_overlays_are_drawn(tmp_path):
    from lvnet_training.pictures import main as picture

    scan, label = scan_and_label()
    write_case(tmp_path / "case", scan, label)
    files = [str(tmp_path / "case" / name) for name in ("ct.nii.gz", "liver.nii.gz")]
    assert picture([*files, str(tmp_path / "o.png"), "--reference", files[1]]) == 0
    assert (tmp_path / "o.png").read_bytes().startswith(b"\x89PNG")
    assert picture([files[0], "none.nii.gz", str(tmp_path / "p.png")]) == 2
    assert not (tmp_path / "p.png").exists()


def test_the_soft_dice_loss_is_one_minus_dice_for_certain_answers():
    target = torch.zeros((1, 4, 8, 8), dtype=torch.int64)
    target[:, :, :4] = 1
    answer = torch.zeros_like(target)
    answer[:, :, 2:6] = 1
    logits = torch.stack([1 - answer, answer], dim=1).float() * 200 - 100
    dice = 2 * 64 / (128 + 128)
    assert soft_dice_loss(logits, target) == pytest.approx(1 - dice, abs=0.005)
    assert soft_dice_loss(torch.stack([1 - target, target], dim=1).float() * 200 - 100, target) < 1e-4


def test_a_run_starts_from_the_weights_of_an_exported_checkpoint(tmp_path):
    first = Run.start(config(), torch.device("cpu"))
    save_checkpoint(tmp_path / "w.safetensors", first.network.state_dict(), config().recipe())
    second = Run.start(config(seed=99), torch.device("cpu"))
    second.start_from(tmp_path / "w.safetensors")
    for name, value in first.network.state_dict().items():
        if not name.startswith("heads."):
            assert torch.allclose(second.network.state_dict()[name].float(), value.float(), atol=1e-3, rtol=1e-3)
    other = dataclasses.replace(config(), architecture=dataclasses.replace(SMALL, expansion=3))
    with pytest.raises(CheckpointError, match="architecture"):
        Run.start(other, torch.device("cpu")).start_from(tmp_path / "w.safetensors")
