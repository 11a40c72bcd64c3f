"""The paper's run, ablations and baselines are configurations of one training loop; the manifest is complete."""

import csv
import dataclasses
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from lvnet.errors import ConfigurationError
from lvnet.pipeline.python import segment
from lvnet.preprocessing import prepare
from lvnet.recipe import Architecture, Preprocessing
from lvnet.volume import Volume
from lvnet_training.batches import draw_batch
from lvnet_training.case import Case, make_case
from lvnet_training.comparison import ABLATIONS, NETWORKS
from lvnet_training.config import Config, Stage, load_config
from lvnet_training.loop import fit
from lvnet_training.networks import NAMES, build_network
from lvnet_training.slabs import draw_slab
from lvnet_training.splits import read_split
from lvnet_training.state import Run
from lvnet_training.validation import model_of

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "training" / "configs"


def scan_and_label(depth=20):
    rng = np.random.default_rng(1)
    image = np.full((depth, 48, 40), -1000, np.int16)
    image[:, 4:-4, 4:-4] = rng.integers(-30, 30, (depth, 40, 32))
    label = np.zeros(image.shape, np.uint8)
    label[4:16, 10:30, 8:22] = 1
    image[label > 0] += 120
    return Volume(image, (2.0, 1.0, 1.0)), Volume(label, (2.0, 1.0, 1.0))


def test_paper_yaml_is_the_paper():
    config = load_config(CONFIGS / "paper.yaml")
    (stage,) = config.stages
    assert (stage.patch, stage.batch, stage.learning_rate, stage.epochs) == ((16, 256, 256), 4, 1e-3, 20)
    assert stage.spacing is None
    assert (config.decay, config.weight_decay, config.eta) == (0.9, 1e-5, (0.2, 0.4, 0.6, 0.8))
    assert (config.dice_loss, config.average, config.clip, config.phantoms) == (0.0, 0.0, 0.0, 0)
    assert config.preprocessing == Preprocessing()
    assert config.architecture == Architecture()
    assert config.split == "90/10/31"
    assert config.labels == {1: "liver", 2: "liver"}


def test_every_ablation_and_baseline_differs_from_the_paper_in_its_own_point_only():
    paper = dataclasses.asdict(load_config(CONFIGS / "paper.yaml"))
    differences = {}
    for path in [*(CONFIGS / "ablations").glob("*.yaml"), *(CONFIGS / "baselines").glob("*.yaml")]:
        config = dataclasses.asdict(load_config(path))
        differences[path.stem] = {key for key in paper if config[key] != paper[key]} - {"name"}
    plain = {"network", "eta"}
    planar = {*plain, "samples_per_epoch", "preprocessing", "stages"}
    assert differences == {
        "no-deep-supervision": {"eta"},
        **{f"eps-{eps}": {"architecture"} for eps in (1, 2, 6)},
        "vanilla": {"network"},
        "unet3d": plain,
        "vnet": plain,
        "unet": planar,
        "cenet": planar,
    }
    assert load_config(CONFIGS / "ablations" / "eps-6.yaml").architecture.expansion == 6


def test_a_configuration_that_is_its_own_base_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("base: b.yaml")
    (tmp_path / "b.yaml").write_text("base: a.yaml")
    with pytest.raises(ConfigurationError, match="own base"):
        load_config(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": "resnet"}, "unknown network 'resnet'"),
        ({"network": "vnet"}, "4 values of eta for 0"),
        ({"network": "cenet", "eta": (), "stages": (Stage(1, (4.0,) * 3, (1, 48, 48)),)}, "multiples"),
        ({"stages": (Stage(1, (4.0,) * 3, (16, 16, 16), 1),)}, "batch norm"),
        ({"stages": (Stage(1, None, (16, 128, 128)),)}, "in_plane_size"),
        ({"preprocessing": Preprocessing(slice_spacing=4.0), "stages": (Stage(1, None, (16, 256, 256)),)}, "without"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(changes, words):
    with pytest.raises(ConfigurationError, match=words):
        Config(**{"stages": (Stage(1, (4.0,) * 3, (16, 32, 32)),), **changes})


def test_the_papers_slabs_are_what_inference_sees():
    """Same window, size and normalisation over the whole scan; only the slices are selected."""
    scan, label = scan_and_label()
    case = make_case("one", scan, label)
    settings = Preprocessing(in_plane_size=(32, 32), slab_depth=16)
    image, labels = draw_slab(np.random.default_rng(3), case, (16, 32, 32), settings)
    whole = np.full((20, 32, 32), np.nan, np.float32)
    prepared = prepare(scan, settings)
    whole[prepared.box] = prepared.array
    inside = ~np.isnan(whole)
    fits = [
        start
        for start in range(5)
        if np.allclose(image[inside[:16]], whole[start : start + 16][inside[:16]], atol=1e-3)
    ]
    assert len(fits) == 1
    assert labels.any()
    assert image[labels > 0].mean() > image[labels == 0].mean() + 0.5


def test_a_scan_of_fewer_slices_than_a_slab_is_continued():
    scan, label = scan_and_label(depth=9)
    image, labels = draw_slab(np.random.default_rng(0), make_case("x", scan, label), (16, 32, 32),
                              Preprocessing(in_plane_size=(32, 32)))  # fmt: skip
    assert image.shape == labels.shape == (16, 32, 32)
    assert np.array_equal(image[9], image[8])


def test_without_spacing_a_case_is_drawn_as_often_as_it_has_slabs(monkeypatch):
    cases = [Case(str(n), np.zeros((n, 4, 4), np.int16), np.zeros((n, 4, 4), np.uint8), (1.0,) * 3, None)
             for n in (10, 90)]  # fmt: skip
    drawn = []
    monkeypatch.setattr(
        "lvnet_training.batches.draw_slab",
        lambda rng, case, patch, _: drawn.append(case.name) or (np.zeros(patch, np.float32), np.zeros(patch, int)),
    )
    config = Config(stages=(Stage(1, None, (16, 32, 32), 4),), preprocessing=Preprocessing(in_plane_size=(32, 32)))
    for step in range(50):
        draw_batch(config, config.stages[0], cases, [], 0, step)
    assert drawn.count("90") / len(drawn) == pytest.approx(0.9, abs=0.07)


SMALL = Architecture(widths=(4, 6, 8, 8, 10), expansion=1, kernel_size=3)


def test_vanilla_convolutions_take_the_place_of_the_blocks_and_nothing_else():
    from lvnet.network import LVNet

    config = Config(stages=(Stage(1, (4.0,) * 3, (16, 32, 32)),), network="lvnet-vanilla")
    vanilla, ours = build_network(config), LVNet(config.architecture, deep_supervision=True)
    skeleton = {k: v.shape for k, v in ours.state_dict().items() if not k.startswith(("encoder", "decoder"))}
    assert skeleton == {k: v.shape for k, v in vanilla.state_dict().items() if not k.startswith(("encoder", "decoder"))}
    assert [b.convolve[0].weight.shape[0] for b in vanilla.encoder] == [16, 32, 64, 128, 176]
    assert vanilla.encoder[2].convolve[0].weight.numel() == 125 * 64 * 64


@pytest.mark.parametrize("network", ["unet", "unet3d", "lvnet-vanilla"])
def test_a_baseline_is_trained_by_the_same_loop_and_segments(network, tmp_path):
    torch.set_num_threads(1)
    scan, label = scan_and_label()
    planar = network == "unet"
    config = Config(
        stages=(Stage(1, None, (1 if planar else 16, 32, 32), 1),),
        network=network,
        eta=() if network != "lvnet-vanilla" else (0.2, 0.4, 0.6, 0.8),
        architecture=SMALL,
        preprocessing=Preprocessing(in_plane_size=(32, 32)),
        samples_per_epoch=2,
    )
    run = Run.start(config, torch.device("cpu"))
    before = {k: v.clone() for k, v in run.network.state_dict().items()}
    fit(run, [make_case("one", scan, label)], [], tmp_path, report=lambda _: None)
    assert not all(torch.equal(v, before[k]) for k, v in run.network.state_dict().items())
    found = segment(scan, model=model_of(run.averaged_network(), config.recipe()))
    assert found.labels.same_grid(scan)


def test_every_network_has_a_name_that_is_known():
    assert NAMES == ("unet", "cenet", "unet3d", "vnet", "lvnet", "lvnet-vanilla")


def manifest():
    with (ROOT / "training" / "data" / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_manifest_says_everything_of_every_scan():
    rows = manifest()
    assert len(rows) == len({row["case"] for row in rows}) == 73
    assert [row["split"] for row in rows].count("val") == 4
    for row in rows:
        assert all(value for key, value in row.items() if key != "same_scan_as"), row
        assert row["address"].startswith("https://")
        assert len(row["ct_sha256"]) == len(row["label_sha256"]) == 64


def test_a_patient_is_on_one_side_of_training_and_validation():
    sides = {}
    for row in manifest():
        assert sides.setdefault(row["patient"], row["split"]) == row["split"]


DATA = Path(os.environ.get("LVNET_DATA_DIR") or "none")


@pytest.mark.skipif(not (DATA / "train").is_dir(), reason="LVNET_DATA_DIR names no real scans")
def test_the_manifest_is_the_data():
    found = {(p.parent.parent.name, p.parent.name) for p in DATA.glob("[tv]*/*/ct.nii.gz")}
    assert found == {(row["split"], row["case"]) for row in manifest()}
    for row in manifest():
        for name, key in (("ct.nii.gz", "ct_sha256"), ("liver.nii.gz", "label_sha256")):
            data = (DATA / row["split"] / row["case"] / name).read_bytes()
            assert hashlib.sha256(data).hexdigest() == row[key], row["case"]


@pytest.mark.parametrize(
    "text",
    [
        b"seed: 2001-99-99", b"seed: .inf", b"seed: .nan", b"seed: " + b"9" * 5000, b"seed: true", b"1: 2", b"[" * 5000,
        b"base: /dev/zero", b"base: .", b"name: x\nstages: 3", b"trust: &t {x: *t}", b"trust: {x: [1, 2]}",
        b"samples_per_epoch: 0", b"average: 7", b"phantoms: -1", b"\xff\xfe\x00", b"#" * 2_000_000,
        b"a: &a [1,1,1,1]\nb: &b [*a,*a,*a]\ntrust: {x: *b}", b"architecture: {widths: [60000, 60000]}",
    ],
)  # fmt: skip
def test_settings_that_are_none_are_refused_in_one_line_and_soon(tmp_path, text):
    sound = b"\nstages:\n- {epochs: 1, spacing: [8, 8, 8], patch: [16, 32, 32]}\n"
    (tmp_path / "c.yaml").write_bytes(text + (b"" if b"stages" in text else sound))
    with pytest.raises(ConfigurationError) as refusal:
        load_config(tmp_path / "c.yaml")
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 1000


def test_the_comparison_keeps_patients_apart_and_scores_no_label_of_its_own():
    """The split has whole patients, excludes labels of this project, and covers every source with several scans."""
    split = read_split(ROOT / "training" / "data" / "compare_split.yaml")
    with (ROOT / "training" / "data" / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["case"]: row for row in csv.DictReader(file) if row["split"] == "train"}
    assert not {rows[c]["patient"] for c in split.train} & {rows[c]["patient"] for c in split.test}
    assert split.validation == ()
    own = {case for case, row in rows.items() if "this project" in row["label_origin"]}
    assert set(split.train) | set(split.test) == set(rows) - own
    assert not [case for case in split.test if "empty" in rows[case]["label_origin"]]
    patients = {}
    for case in (*split.train, *split.test):
        patients.setdefault(rows[case]["source"], set()).add(rows[case]["patient"])
    several = {source for source, found in patients.items() if len(found) > 1 and "empty" not in source}
    assert {rows[case]["source"] for case in split.test} >= several


@pytest.mark.parametrize(("name", "least"), [("compare", 1500), ("compare-ablations", 800)])
def test_the_comparisons_budget_is_what_the_tables_promise(name, least):
    config = load_config(CONFIGS / f"{name}.yaml")
    assert config.epochs * config.samples_per_epoch >= least
    for entry in {**NETWORKS, **ABLATIONS}.values():
        assert entry.config(config).stages == config.stages
    assert (config.dice_loss, config.eta, config.decay, config.weight_decay) == (0.0, (0.2, 0.4, 0.6, 0.8), 0.9, 1e-5)
