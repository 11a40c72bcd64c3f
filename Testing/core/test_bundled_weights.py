"""Quality of the bundled weights: on phantoms, and on real scans if LVNET_DATA_DIR points to them."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lvnet import checkpoint
from lvnet.checkpoint import BUNDLED_WEIGHTS, SUMS_FILE, load_checkpoint, save_checkpoint
from lvnet.errors import CheckpointError
from lvnet.evaluation import evaluate
from lvnet.image_io import read_image, read_labels, write_image
from lvnet.inference import load_model
from lvnet.network import LVNet
from lvnet.phantom import make_phantom
from lvnet.pipeline.python import segment
from lvnet.recipe import Recipe
from lvnet.volume import Volume

DATA = Path(os.environ.get("LVNET_DATA_DIR") or "/nonexistent") / "val"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="LVNET_DATA_DIR names no folder with val/CASE/ct.nii.gz")


@pytest.fixture(scope="module")
def model():
    return load_model(device="cpu")


@pytest.fixture(scope="module")
def phantom():
    """A phantom at half the default resolution: fast, and the liver is still recognised."""
    return make_phantom(9001, size=(48, 128, 128))


@pytest.fixture(scope="module")
def piece(phantom):
    """A part of the phantom with much of the liver: enough to compare two results."""
    scan = phantom[0]
    return Volume(np.ascontiguousarray(scan.array[16:34]), scan.spacing, scan.origin, scan.direction)


@pytest.fixture(scope="module")
def straight(model, piece):
    """The result for `piece` without overlap of slabs, the setting of all compared results."""
    found = segment(piece, model=model, overlap=0.0).labels.array
    assert found.any()
    return found


def dice(a, b):
    a, b = np.asarray(a) > 0, np.asarray(b) > 0
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def rotated(volume, degrees, axis):
    """The same voxels with the header rotated about one axis."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn = np.eye(3)
    i, j = [k for k in range(3) if k != axis]
    turn[i, i] = turn[j, j] = c
    turn[i, j], turn[j, i] = -s, s
    direction = tuple((turn @ volume.direction_matrix).ravel())
    return Volume(volume.array, volume.spacing, volume.origin, direction)


def turned(volume, order, flips):
    """The same scan with permuted and flipped index axes: voxels and header change together."""
    array = volume.array.transpose(order)
    spacing = tuple(volume.spacing[k] for k in order)
    columns, origin = [], np.array(volume.origin)
    for axis, flip in zip(order, flips):
        column = volume.direction_matrix[:, 2 - axis]
        if flip:
            origin = origin + column * volume.spacing[axis] * (volume.array.shape[axis] - 1)
            column = -column
        columns.append(column)
    array = array[tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)]
    direction = tuple(np.stack(columns[::-1], axis=1).ravel())
    return Volume(np.ascontiguousarray(array), spacing, tuple(origin), direction)


def turned_back(array, order, flips):
    array = array[tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)]
    return array.transpose(np.argsort(order))


def test_the_liver_of_an_unseen_phantom_is_found(model, phantom):
    scan, liver = phantom
    assert dice(segment(scan, model=model).labels.array, liver.array) > 0.88


@pytest.mark.parametrize(
    ("order", "flips"),
    [((0, 1, 2), (True, False, True)), ((2, 1, 0), (False, True, False)), ((1, 2, 0), (True, True, True))],
)
def test_another_orientation_gives_the_same_liver(model, piece, straight, order, flips):
    other = segment(turned(piece, order, flips), model=model, overlap=0.0).labels.array
    assert dice(straight, turned_back(other, order, flips)) >= 0.99


@pytest.mark.parametrize(("degrees", "axis"), [(30, 2), (-20, 0)])
def test_a_rotated_header_gives_the_same_liver(model, piece, straight, degrees, axis):
    oblique = segment(rotated(piece, degrees, axis), model=model, overlap=0.0).labels.array
    assert dice(straight, oblique) >= 0.99


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_another_file_format_gives_the_same_liver(model, piece, straight, tmp_path, suffix):
    write_image(piece, tmp_path / f"ct{suffix}")
    other = segment(tmp_path / f"ct{suffix}", model=model, overlap=0.0).labels.array
    assert dice(straight, other) >= 0.99


def test_the_model_card_names_the_file_that_is_there(pytestconfig):
    card = (BUNDLED_WEIGHTS.parent / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert load_checkpoint().checksum in card
    provenance = load_checkpoint().recipe.provenance
    assert {"data", "date", "commit", "epochs", "best_validation_dice", "licence"} <= set(provenance)
    scores = [float(x) for x in re.findall(r"^\| \w+ \| (0\.\d{4}) ", card, flags=re.MULTILINE)]
    assert len(scores) >= 4
    assert np.mean(scores[:4]) == pytest.approx(provenance["best_validation_dice"], abs=0.005)


def test_the_sums_file_names_the_file_that_is_there():
    """To update it: `cd LVNetSegmentation/lvnet/weights && sha256sum *.safetensors > SHA256SUMS`."""
    line = f"{hashlib.sha256(BUNDLED_WEIGHTS.read_bytes()).hexdigest()}  {BUNDLED_WEIGHTS.name}\n"
    assert (BUNDLED_WEIGHTS.parent / SUMS_FILE).read_text(encoding="ascii") == line


def test_bundled_weights_that_were_swapped_are_noticed(tmp_path, monkeypatch):
    """Replaces the bundled weights by another valid checkpoint, whose own checksum is correct."""
    for name in (BUNDLED_WEIGHTS.name, SUMS_FILE):
        shutil.copy(BUNDLED_WEIGHTS.parent / name, tmp_path / name)
    monkeypatch.setattr(checkpoint, "BUNDLED_WEIGHTS", tmp_path / BUNDLED_WEIGHTS.name)
    assert load_checkpoint().recipe == load_checkpoint(BUNDLED_WEIGHTS).recipe
    other = Recipe(name="another")
    save_checkpoint(tmp_path / "other.safetensors", LVNet(other.architecture).state_dict(), other)
    assert load_checkpoint(tmp_path / "other.safetensors").recipe.name == "another"
    (tmp_path / "other.safetensors").replace(tmp_path / BUNDLED_WEIGHTS.name)
    with pytest.raises(CheckpointError, match="SHA256SUMS") as refusal:
        load_checkpoint()
    assert "\n" not in str(refusal.value)
    # Exporting weights to that place updates SHA256SUMS.
    save_checkpoint(tmp_path / BUNDLED_WEIGHTS.name, LVNet(other.architecture).state_dict(), other)
    assert load_checkpoint().recipe.name == "another"


@needs_data
def test_a_real_scan_gets_its_liver(model):
    scan, liver = read_image(DATA / "ircad17" / "ct.nii.gz"), read_labels(DATA / "ircad17" / "liver.nii.gz")
    assert evaluate(segment(scan, model=model).labels, liver)["dice"] >= 0.9


@pytest.mark.slow
@needs_data
def test_every_validation_scan_reaches_its_floor_through_the_command_line(tmp_path):
    scores = {}
    for case in sorted(p for p in DATA.iterdir() if p.is_dir()):
        out = tmp_path / f"{case.name}.nii.gz"
        subprocess.run([sys.executable, "-m", "lvnet", "segment", case / "ct.nii.gz", "-o", out, "--quiet"], check=True)
        command = [sys.executable, "-m", "lvnet", "evaluate", out, case / "liver.nii.gz", "--json", "-"]
        scores[case.name] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["dice"]
    assert min(scores.values()) >= 0.85, scores
    assert np.mean(list(scores.values())) >= 0.90, scores


@pytest.mark.slow
def test_ten_unseen_phantoms_reach_their_floor(model):
    scores = []
    for seed in range(5000, 5010):
        scan, liver = make_phantom(seed)
        scores.append(dice(segment(scan, model=model).labels.array, liver.array))
    assert np.mean(scores) >= 0.90, scores


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="resource is a module of POSIX systems")
def test_512_x_512_x_800_takes_less_than_4_gb(tmp_path):
    scan, _ = make_phantom(7, size=(100, 256, 256))
    big = scan.array.repeat(8, axis=0).repeat(2, axis=1).repeat(2, axis=2)
    write_image(Volume(big, (0.625, 0.8, 0.8)), tmp_path / "big.nii.gz")
    program = (
        "import resource, sys; from lvnet.cli import main; code = main(sys.argv[1:]);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20); sys.exit(code)"
    )
    command = [
        sys.executable,
        "-c",
        program,
        "segment",
        tmp_path / "big.nii.gz",
        "-o",
        tmp_path / "out.nii.gz",
        "--quiet",
    ]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    assert float(result.stdout) < 4.0, result.stdout
    assert read_labels(tmp_path / "out.nii.gz").shape == (800, 512, 512)
