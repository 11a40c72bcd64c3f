"""Static check that the code which Slicer installs is compatible with Python 3.9 and PyTorch 2.1."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Dict, Set

import pytest

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "LVNetSegmentation"
FILES = sorted(path for path in MODULE.rglob("*.py") if "__pycache__" not in path.parts)
TORCH_NAMES = Path(__file__).with_name("torch_2_1_names.txt")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(MODULE).as_posix())
def test_every_installed_file_parses_as_python_3_9(path):
    ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 9))


def run_vermin(*paths: object) -> subprocess.CompletedProcess:
    # Annotations are never evaluated: every affected file has `from __future__ import annotations`.
    options = ["-t=3.9-", "--violations", "--no-tips", "--no-parse-comments", "--backport", "typing"]
    command = [sys.executable, "-c", "import vermin; vermin.main()", *options, *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_nothing_installed_asks_for_more_than_python_3_9():
    pytest.importorskip("vermin")
    done = run_vermin(*FILES)
    assert done.returncode == 0, done.stdout


def test_the_search_for_newer_python_finds_it(tmp_path):
    pytest.importorskip("vermin")
    newer = tmp_path / "newer.py"
    newer.write_text("for pair in zip([1], [2], strict=True):\n    print(pair)\n", encoding="utf-8")
    assert run_vermin(newer).returncode != 0


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(MODULE).as_posix())
def test_unions_by_a_bar_stand_in_annotations_only_and_those_are_not_evaluated(path):
    """`int | None` is a run-time error on Python 3.9 if it is evaluated."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    postponed = any(
        isinstance(node, ast.ImportFrom) and node.module == "__future__" and node.names[0].name == "annotations"
        for node in tree.body
    )
    annotations = [node.annotation for node in ast.walk(tree) if isinstance(node, (ast.AnnAssign, ast.arg))]
    annotations += [node.returns for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    unions = [node.lineno for a in annotations if a is not None for node in ast.walk(a) if isinstance(node, ast.BinOp)]
    assert postponed or not unions, f"{path}: lines {unions}"


def torch_names(source: str) -> Set[str]:
    """Every dotted name below `torch` that a file imports or reads, with aliases resolved."""
    tree = ast.parse(source)
    names: Dict[str, str] = {}
    found: Set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "torch":
                    names[alias.asname or "torch"] = alias.name if alias.asname else "torch"
                    found.add(alias.name)
        elif isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] == "torch":
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                found.add(f"{node.module}.{alias.name}")
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        parts = []
        if not isinstance(node, ast.Attribute) or id(node) in inner:
            continue
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if isinstance(node, ast.Name) and node.id in names:
            found.add(".".join([names[node.id], *reversed(parts)]))
    return found


def test_the_search_for_torch_names_sees_through_renaming():
    source = (
        "import torch\nimport torch.nn.functional as F\nfrom torch import nn as layers\n"
        "x = torch.zeros(1).sum()\ny = F.relu(x)\nclass A(layers.Module): ...\nz = other.torch.nothing\n"
    )
    expected = {
        "torch",
        "torch.nn.functional",
        "torch.nn",
        "torch.zeros",
        "torch.nn.functional.relu",
        "torch.nn.Module",
    }
    assert torch_names(source) == expected


def allowed_torch_names() -> Set[str]:
    lines = TORCH_NAMES.read_text(encoding="utf-8").splitlines()
    return {line.strip() for line in lines if line.strip() and not line.startswith("#")}


def test_every_torch_name_in_the_core_is_one_that_was_looked_up_in_torch_2_1():
    used = set().union(*(torch_names(path.read_text(encoding="utf-8")) for path in FILES))
    unknown = used - allowed_torch_names()
    assert not unknown, f"look these up in PyTorch 2.1 and add them to {TORCH_NAMES.name}: {sorted(unknown)}"


def test_every_listed_torch_name_exists_in_the_torch_that_is_installed_here():
    torch = pytest.importorskip("torch")
    for name in allowed_torch_names():
        value = torch
        for part in name.split(".")[1:]:
            if not hasattr(value, part):
                __import__(name.rpartition(".")[0] if part[0].isupper() else name)
            value = getattr(value, part)
