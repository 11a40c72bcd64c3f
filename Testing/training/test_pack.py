"""Packs of prepared scans: written once, small, verified, and equivalent to the scans for training."""

import dataclasses
import zipfile

import numpy as np
import pytest
from lvnet import phantom
from lvnet.errors import ConfigurationError, ImageError
from lvnet.image_io import write_image, write_labels
from lvnet.recipe import LIVER, Architecture
from lvnet_training.augmentation import draw_patch
from lvnet_training.cli import main
from lvnet_training.config import Augmentation, Config, Stage
from lvnet_training.dataset import load_cases
from lvnet_training.materials import gather
from lvnet_training.pack import STEP, reach, read_pack, write_pack
from lvnet_training.sources import find_cases

STAGE = Stage(epochs=1, spacing=(5.0, 5.0, 5.0), patch=(16, 32, 32))
CONFIG = Config(stages=(STAGE,), grid=(5.0, 4.0, 4.0), architecture=Architecture(widths=(4, 6, 8, 8, 10)))
YAML = """
stages: [{epochs: 1, spacing: [5.0, 5.0, 5.0], patch: [16, 32, 32]}]
grid: [5.0, 4.0, 4.0]
architecture: {widths: [4, 6, 8, 8, 10]}
preprocessing: {in_plane_spacing: [5.0, 5.0], slice_spacing: 5.0, mean: 0.0, std: 100.0}
samples_per_epoch: 2
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for part, seeds in (("train", (1, 2)), ("val", (3,))):
        for seed in seeds:
            ct, label = phantom.make_phantom(seed, size=(40, 96, 96), spacing=(6.0, 4.0, 4.0))
            place = folder / part / f"phantom{seed}"
            place.mkdir(parents=True)
            write_image(ct, place / "ct.nii.gz")
            write_labels(label, place / "liver.nii.gz", (LIVER,))
    (folder / "config.yaml").write_text(YAML)
    return folder


@pytest.fixture(scope="module")
def cases(data, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return tuple(load_cases(find_cases(data / part), cache, grid=CONFIG.grid)[0] for part in ("train", "val"))


@pytest.fixture(scope="module")
def pack(cases, tmp_path_factory):
    path = tmp_path_factory.mktemp("pack") / "scans.lvpack"
    write_pack(path, *cases, CONFIG)
    return path


def test_a_pack_holds_every_case_within_a_step_of_hu_and_is_small(cases, pack):
    found = read_pack(pack, CONFIG)
    assert [case.name for case in found.cases] == ["phantom1", "phantom2"]
    assert [name for name, _, _ in found.pairs] == ["phantom3"]
    low, high = reach(CONFIG)
    for before, after in zip(cases[0], found.cases):
        assert after.spacing == pytest.approx(before.spacing)
        assert after.label.sum() == before.label.sum(), "no part of the organ is cut away"
        inside = after.label[0] > 200
        wanted = np.clip(np.asarray(before.image)[np.asarray(before.label[0]) > 200], low, high)
        assert np.abs(after.image[inside].astype(int) - wanted).max() <= STEP / 2 + 1
    assert pack.stat().st_size < 0.35 * sum(case.image.nbytes + case.label.nbytes for part in cases for case in part)


def test_a_patch_from_a_pack_is_one_from_the_scans(cases, pack):
    found = read_pack(pack, CONFIG)
    settings = Augmentation(noise=0, shift=0, contrast=0, floor=(-200, -200))
    _, label = draw_patch(np.random.default_rng(2), found.cases[0], (16, 32, 32), (5.0, 5.0, 5.0), settings, 1.0)
    assert label.any()


def test_validation_takes_scans_of_the_pack_with_the_values_of_the_classes(pack):
    (name, scan, label), = read_pack(pack, CONFIG).pairs  # fmt: skip
    assert scan.same_grid(label) and name == "phantom3"
    assert set(np.unique(label.array)) == {0, 1}


def test_the_commands_write_a_pack_and_train_from_it(data, tmp_path, capsys):
    path, config = tmp_path / "scans.lvpack", str(data / "config.yaml")
    command = ["prepare", str(data / "train"), "--validation", str(data / "val"), "--cache", str(tmp_path / "cache")]
    assert main([*command, "--config", config, "--no-pictures", "--pack", str(path)]) == 0
    assert "2 cases for training and 1 for validation" in capsys.readouterr().out
    run = tmp_path / "run"
    fit = ["fit", "--config", config, "--data", str(path), "--output", str(run), "--no-pictures", "--device", "cpu"]
    assert main(fit) == 0
    assert "on the pack's own grid" in capsys.readouterr().out
    assert (run / "best.pt").exists() and "dice_phantom3" in (run / "log.csv").read_text()


def test_a_pack_of_another_grid_or_for_other_classes_is_refused(pack, tmp_path):
    with pytest.raises(ConfigurationError, match=r"set `grid: \[5, 4, 4\]`"):
        read_pack(pack, dataclasses.replace(CONFIG, grid=(4.0, 4.0, 4.0)))
    with pytest.raises(ConfigurationError, match="set `grid"):
        gather(dataclasses.replace(CONFIG, grid=None), tmp_path, pack)
    spleen = dataclasses.replace(CONFIG, classes=(dataclasses.replace(LIVER, name="spleen"),))
    with pytest.raises(ConfigurationError, match="other classes: liver"):
        read_pack(pack, spleen)
    with pytest.raises(ConfigurationError, match="omit --split"):
        gather(dataclasses.replace(CONFIG, split="1/1/1"), tmp_path, pack)


@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "empty", "missing"])
def test_a_damaged_pack_is_one_line(data, pack, tmp_path, capsys, damage):
    path = tmp_path / "bad.lvpack"
    content = pack.read_bytes()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :])
    elif damage == "text":
        path.write_text("not a pack")
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        with zipfile.ZipFile(pack) as old, zipfile.ZipFile(path, "w") as new:
            new.writestr("pack.json", old.read("pack.json"))
    code = main(["fit", "--config", str(data / "config.yaml"), "--data", str(path), "--output", str(tmp_path / "run")])
    assert code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    with pytest.raises(ImageError):
        read_pack(path, CONFIG)


def test_a_pack_needs_a_grid_and_is_whole_or_absent(data, cases, tmp_path, capsys):
    path = tmp_path / "scans.lvpack"
    with pytest.raises(ConfigurationError, match="set `grid`"):
        write_pack(path, *cases, dataclasses.replace(CONFIG, grid=None))
    with pytest.raises(ConfigurationError, match="the same name"):
        write_pack(path, [cases[0][0]], [cases[0][0]], CONFIG)

    def stop(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_pack(path, *cases, CONFIG, stop)
    assert list(tmp_path.iterdir()) == []
    assert main(["prepare", str(data / "train"), "--cache", str(tmp_path / "c"), "--pack", str(path)]) == 2
    assert "--pack needs a --config with a `grid`" in capsys.readouterr().err
