"""Messages of `lvnet-train` if the extra [train] is not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest
from lvnet.image_io import write_image, write_labels
from lvnet.phantom import make_phantom
from lvnet.recipe import LIVER
from lvnet_training.cli import _parser

#: Runs the command with the packages of the extra hidden, as after `pip install lvnet-segmentation`.
EXTRAS = ("lightning", "matplotlib", "tensorboard", "tqdm", "yaml")
PLAIN = """
import sys
HIDDEN = sys.argv.pop(1).split(",")
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hidden())
from lvnet_training.cli import main
sys.exit(main(sys.argv[1:]))
"""
COMMANDS = {
    "prepare": "prepare {data} --cache {out} --config {config}",
    "fit": "fit --config {config} --output {out}",
    "evaluate": "evaluate {data} --device cpu",
    "stress": "stress {data} --output {out}",
    "calibrate": "calibrate {data} --scores {out}/scores.csv --device cpu",
    "crossvalidate": "crossvalidate {data} --config {config} --output {out}",
    "compare": "compare {data} --config {config} --output {out}",
    "export": "export {out}/best.pt {out}/w.safetensors --config {config}",
}


def run(*arguments, hidden=EXTRAS):
    return subprocess.run(
        [sys.executable, "-c", PLAIN, ",".join(hidden), *map(str, arguments)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    scan, label = make_phantom(1, size=(24, 48, 48))
    (folder / "data" / "p1").mkdir(parents=True)
    write_image(scan, folder / "data" / "p1" / "ct.nii.gz")
    write_labels(label, folder / "data" / "p1" / "liver.nii.gz", [LIVER])
    (folder / "run.yaml").write_text(
        "phantoms: 1\nsamples_per_epoch: 2\narchitecture: {widths: [4, 6, 8, 8, 10], expansion: 1}\n"
        "stages: [{epochs: 1, spacing: [8, 8, 8], patch: [16, 32, 32]}]\n",
        encoding="utf-8",
    )
    return folder


def words(place, command, out):
    text = COMMANDS[command].format(data=place / "data", config=place / "run.yaml", out=out)
    return text.split(" ")


def test_the_commands_here_are_all_but_tables():
    parser = _parser()
    (commands,) = [action.choices for action in parser._actions if action.choices]
    assert set(commands) == {*COMMANDS, "tables"}


def assert_one_line(result):
    assert result.returncode == 2, result.stderr
    assert result.stderr.count("\n") == 1 and "Traceback" not in result.stderr
    assert result.stderr.rstrip().endswith('pip install ".[train]"')


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_extra_is_named_in_one_line_by_every_command(place, tmp_path, command):
    result = run(*words(place, command, tmp_path))
    assert_one_line(result)
    assert result.stdout == ""


@pytest.mark.parametrize("package", ["lightning", "tensorboard", "matplotlib"])
def test_a_part_of_the_extra_that_is_missing_is_named(place, tmp_path, package):
    result = run(*words(place, "fit", tmp_path), "--device", "cpu", hidden=[package])
    assert_one_line(result)
    assert package in result.stderr


def test_help_and_tables_need_no_extra():
    assert run("--help").returncode == 0
    result = run("tables", "--table", "1")
    assert (result.returncode, result.stderr) == (0, "")
