"""What `lvnet-train` says where the extra [train] is not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Runs the command with the packages of the extra hidden, as in `pip install lvnet-segmentation`.
PLAIN = """
import sys
HIDDEN = ("lightning", "matplotlib", "tensorboard", "tqdm", "yaml")
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hidden())
from lvnet_training.cli import main
sys.exit(main(sys.argv[1:]))
"""


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-c", PLAIN, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("command", ["fit", "crossvalidate", "prepare"])
def test_a_missing_extra_is_named_in_one_line(tmp_path, command):
    (tmp_path / "run.yaml").write_text("epochs: 1\n", encoding="utf-8")
    (tmp_path / "data").mkdir()
    arguments = {
        "fit": ("fit", "--config", tmp_path / "run.yaml", "--output", tmp_path / "out"),
        "crossvalidate": ("crossvalidate", tmp_path / "data", "--config", tmp_path / "run.yaml", "--output", tmp_path),
        "prepare": ("prepare", tmp_path / "data", "--cache", tmp_path, "--config", tmp_path / "run.yaml"),
    }[command]
    result = run(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1].endswith("pip install 'lvnet-segmentation[train]'")
    assert result.stdout == ""


def test_help_and_tables_need_no_extra():
    assert run("--help").returncode == 0
    result = run("tables", "--table", "1")
    assert (result.returncode, result.stderr) == (0, "")
