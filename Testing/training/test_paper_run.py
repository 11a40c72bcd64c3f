"""The paper's whole run: LiTS layout, 90 / 10 / 31 cases, whole slices, the best epoch by validation.

It is reduced so that it takes minutes on two CPU cores: scans of 16 or 17 slices of 64 x 64 pixels, 2 epochs of 12
slabs (instead of 20 of 2,500), and a network of 4 to 8 channels with 3x3x3 kernels.  Slabs of 16 x 256 x 256, batches
of four, window, split, optimiser, schedule and the choice of the epoch are the paper's, as in `configs/paper.yaml`.
"""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from lvnet.image_io import write_image, write_labels
from lvnet.recipe import LabelClass
from lvnet.volume import Volume
from lvnet_training.cli import main
from lvnet_training.config import load_config
from lvnet_training.splits import read_split

PAPER = Path(__file__).parents[2] / "training" / "configs" / "paper.yaml"
SHRUNK = {
    "base": str(PAPER),
    "samples_per_epoch": 12,
    "architecture": {"widths": [4, 4, 8, 8, 8], "expansion": 1, "kernel_size": 3},
    "stages": [{"epochs": 2, "spacing": None, "patch": [16, 256, 256], "batch": 4, "learning_rate": 1.0e-3}],
}
#: The numbers of cases in LiTS.
CLASSES = [LabelClass(1, "liver"), LabelClass(2, "tumour")]


def make_lits(folder):
    """131 scans with LiTS' file names: a body and a liver, every other one with a tumour in it."""
    for number in range(131):
        rng = np.random.default_rng(number)
        depth = 16 + number % 2
        image = np.full((depth, 64, 64), -1000, np.int16)
        image[:, 6:58, 4:60] = rng.integers(-60, 40, (depth, 52, 56))
        label = np.zeros(image.shape, np.uint8)
        y, x = rng.integers(14, 22, 2)
        label[3:-3, y : y + 24, x : x + 22] = 1
        image[label > 0] += 110
        if number % 2:
            label[6:9, y + 6 : y + 11, x + 6 : x + 11] = 2
            image[label == 2] -= 60
        spacing = (float(rng.uniform(0.7, 5.0)), 5.0, 5.0)
        write_image(Volume(image, spacing), folder / f"volume-{number}.nii")
        write_labels(Volume(label, spacing), folder / f"segmentation-{number}.nii", CLASSES)


@pytest.mark.slow
def test_the_papers_run_goes_to_its_end_on_lits(tmp_path):
    torch.set_num_threads(2)
    data, output = tmp_path / "lits", tmp_path / "run"
    data.mkdir()
    make_lits(data)
    settings = tmp_path / "paper.yaml"
    settings.write_text(yaml.safe_dump(SHRUNK))
    shrunk, paper = load_config(settings), load_config(PAPER)
    changed = {key for key, value in vars(shrunk).items() if value != getattr(paper, key)}
    assert changed == {"samples_per_epoch", "architecture", "stages"}
    command = ["fit", "--config", str(settings), "--data", str(data), "--output", str(output), "--device", "cpu"]
    assert main([*command, "--no-pictures"]) == 0

    split = read_split(output / "split.yaml")
    assert (len(split.train), len(split.validation), len(split.test)) == (90, 10, 31)
    assert len({*split.train, *split.validation, *split.test}) == 131
    log = list(csv.DictReader((output / "log.csv").open()))
    assert [float(row["learning_rate"]) for row in log] == pytest.approx([1e-3, 0.9e-3])
    assert len([name for name in log[0] if name.startswith("dice_")]) == 10
    scores = [float(row["dice"]) for row in log]
    best = torch.load(output / "best.pt", weights_only=True)
    assert best["epoch"] == 1 + int(np.argmax(scores))
    assert best["best_dice"] == pytest.approx(max(scores), abs=1e-4)
    assert all(group["weight_decay"] == 1e-5 for group in best["optimiser"]["param_groups"])

    found = tmp_path / "test.json"
    score = ["evaluate", str(data), "--split", str(output / "split.yaml"), "--config", str(settings), "--weights"]
    assert main([*score, str(output / "best.pt"), "--device", "cpu", "--overlap", "0", "--json", str(found)]) == 0
    assert set(json.loads(found.read_text())) == set(split.test)
