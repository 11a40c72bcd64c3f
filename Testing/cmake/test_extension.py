"""The extension is configured, built and installed with real CMake, and the installed tree works by itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Dict, List, Optional

import pytest

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "LVNetSegmentation"
STAND_IN = Path(__file__).parent / "slicer_stand_in"
PLACE = Path("lib/Slicer-5.8/qt-scripted-modules")


def clean_environment(folder: Path) -> Dict[str, str]:
    """An environment without paths of the checkout: everything has to be found in the installed tree."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "LVNET_LOG_DIR": str(folder / "logs"), "QT_QPA_PLATFORM": "offscreen", "OMP_NUM_THREADS": "1"}


def run(*command: object, cwd: Path = ROOT, env: Optional[Dict[str, str]] = None, seconds: float = 300) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=env, capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def cmake() -> str:
    """The cmake on the PATH, or the one of the PyPI package `cmake`."""
    beside = Path(sys.executable).with_name("cmake")
    found = str(beside) if beside.exists() else shutil.which("cmake")
    assert found, "cmake is missing: pip install cmake"
    return found


@pytest.fixture(scope="module")
def built(tmp_path_factory, cmake) -> Path:
    """The build tree; its path contains a space, as is common on Windows."""
    folder = tmp_path_factory.mktemp("build tree")
    run(cmake, "-S", ROOT, "-B", folder, f"-DSlicer_DIR={STAND_IN}", "-DBUILD_TESTING=ON")
    run(cmake, "--build", folder)
    return folder


@pytest.fixture(scope="module")
def installed(tmp_path_factory, cmake, built) -> Path:
    """The folder of scripted modules of an installed extension, read-only as in some system installations."""
    prefix = tmp_path_factory.mktemp("Slicer extensions ü")
    run(cmake, "--install", built, "--prefix", prefix)
    return prefix / PLACE


def product_files() -> List[str]:
    command = ["git", "ls-files", "-coz", "--exclude-standard"]
    done = subprocess.run(command, cwd=MODULE, capture_output=True, check=False)
    if done.returncode:
        names = [path.relative_to(MODULE).as_posix() for path in MODULE.rglob("*") if path.is_file()]
        names = [name for name in names if "__pycache__" not in name]
    else:
        names = [name for name in done.stdout.decode().split("\0") if name]
    return sorted(set(names) - {"CMakeLists.txt"})


def test_every_file_of_the_product_arrives_and_nothing_else(installed):
    arrived = sorted(path.relative_to(installed).as_posix() for path in installed.rglob("*") if path.is_file())
    assert arrived == product_files()


def test_every_file_arrives_unchanged(installed):
    for name in product_files():
        assert (installed / name).read_bytes() == (MODULE / name).read_bytes(), name


def test_the_self_test_and_slicers_generic_test_are_registered(built, cmake):
    ctest = Path(cmake).with_name("ctest")
    listed = run(ctest if ctest.exists() else "ctest", "-N", cwd=built)
    assert "py_LVNetSegmentation" in listed
    assert "py_nomainwindow_qSlicerLVNetSegmentationModuleGenericTest" in listed


def test_the_description_of_the_catalogue_is_whole(built):
    lines = dict(line.split(" ", 1) for line in (built / "description.txt").read_text(encoding="utf-8").splitlines())
    assert lines["DEPENDS"] == "PyTorch"
    assert lines["SCREENSHOTURLS"].endswith(".png")


def test_the_package_holds_the_installed_files(built, cmake):
    cpack = Path(cmake).with_name("cpack")
    run(cpack if cpack.exists() else "cpack", "-G", "TGZ", cwd=built)
    (package,) = built.glob("*.tar.gz")
    with tarfile.open(package) as archive:
        packed = {name.split(f"{PLACE.as_posix()}/", 1)[-1] for name in archive.getnames() if PLACE.as_posix() in name}
    assert set(product_files()) <= packed


def test_a_list_that_names_a_missing_file_is_refused(tmp_path, cmake):
    """The stand-in checks for missing files, as Slicer does; otherwise the tests above would prove nothing."""
    copy = tmp_path / "copy"
    left_out = shutil.ignore_patterns(".git", ".venv", "demo", "__pycache__", "build", ".*_cache")
    shutil.copytree(ROOT, copy, ignore=left_out)
    (copy / "LVNetSegmentation" / "LVNetSegmentationLib" / "nodes.py").unlink()
    command = [cmake, "-S", copy, "-B", tmp_path / "build", f"-DSlicer_DIR={STAND_IN}"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "there is no LVNetSegmentationLib/nodes.py" in done.stderr


def test_the_installed_command_line_segments_a_phantom(installed, tmp_path):
    env = {**clean_environment(tmp_path), "PYTHONPATH": str(installed)}
    where = run(sys.executable, "-c", "import lvnet; print(lvnet.__file__)", cwd=tmp_path, env=env)
    assert Path(where.strip()).is_relative_to(installed)
    run(sys.executable, "-m", "lvnet", "phantom", tmp_path / "made", "--seed", "4", "--quiet", cwd=tmp_path, env=env)
    made, out = tmp_path / "made", tmp_path / "out.nii.gz"
    run(sys.executable, "-m", "lvnet", "segment", made / "ct.nii.gz", "-o", out, "--quiet", cwd=tmp_path, env=env)
    evaluate = [sys.executable, "-m", "lvnet", "evaluate", out, made / "liver.nii.gz", "--json", "-"]
    text = run(*evaluate, cwd=tmp_path, env=env)
    assert json.loads(text)["dice"] > 0.85


SCRIPT = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, {widget_tests!r})
from slicer_windows.application import start
slicer = start(Path({installed!r}))
import LVNetSegmentation
from LVNetSegmentationLib.sampledata import addPhantom
volume, reference = addPhantom()
widget = LVNetSegmentation.LVNetSegmentationWidget()
widget.setup()
logic = widget.logic
node = logic.segment(volume, device="cpu")
pid = logic.service.worker_pid
command = Path(f"/proc/{{pid}}/cmdline").read_bytes().decode() if os.path.exists(f"/proc/{{pid}}") else ""
metrics, table = logic.evaluate(node, reference)
widget.cleanup()
print(json.dumps(dict(file=LVNetSegmentation.__file__, dice=metrics["dice"], command=command)))
"""


def test_the_installed_module_opens_its_panel_and_its_worker_segments_a_phantom(installed, tmp_path):
    """Runs in an empty folder, without any path of the checkout, beside a decoy package named lvnet."""
    decoy = tmp_path / "elsewhere" / "lvnet"
    decoy.mkdir(parents=True)
    (decoy / "__init__.py").write_text("raise RuntimeError('the wrong lvnet')\n", encoding="utf-8")
    script = SCRIPT.format(widget_tests=str(ROOT / "Testing" / "widget"), installed=str(installed))
    (tmp_path / "open.py").write_text(script, encoding="utf-8")
    said = run(sys.executable, tmp_path / "open.py", cwd=decoy.parent, env=clean_environment(tmp_path))
    found = json.loads(said.strip().splitlines()[-1])
    assert Path(found["file"]).is_relative_to(installed)
    assert found["dice"] > 0.85
    if found["command"]:
        assert str(installed) in found["command"]
