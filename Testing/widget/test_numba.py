"""Installing Numba with one click: offered where it helps, used by the next run, harmless if it fails."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from typing import Any

import pytest
from test_running import run

pytest.importorskip("numba", reason="the [fast] extra is not installed")

#: Hides Numba from Python until the file `installed` exists; if `broken` exists, a broken Numba is found there.
HIDE = """
import os, sys
if not os.path.exists({installed!r}):
    sys.modules["numba"] = None
if os.path.exists({broken!r}):
    sys.path.insert(0, {broken!r})
"""


@pytest.fixture(scope="session")
def kernel_weights(tmp_path_factory) -> str:
    """A checkpoint of a small network that the kernels support."""
    import torch
    from lvnet.checkpoint import save_checkpoint
    from lvnet.network import LVNet
    from lvnet.recipe import Architecture, Preprocessing, Recipe

    recipe = Recipe(
        architecture=Architecture(widths=(16, 16)),
        preprocessing=Preprocessing(mean=0.0, std=100.0, in_plane_spacing=(6.0, 6.0), slice_spacing=8.0, slab_depth=4),
        name="small",
    )
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_checkpoint(path, LVNet(recipe.architecture).state_dict(), recipe)
    return str(path)


@pytest.fixture
def without(ready, slicer, kernel_weights, monkeypatch, tmp_path) -> Any:
    """`ready` in a Slicer without Numba: neither Slicer nor the worker finds it until pip has installed it."""
    from LVNetSegmentationLib.panel import faster

    installed, broken = tmp_path / "installed", tmp_path / "broken"
    (tmp_path / "sitecustomize.py").write_text(HIDE.format(installed=str(installed), broken=str(broken)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.setattr(faster, "SLOW_SECONDS", 0.0)

    def install() -> None:
        installed.touch()
        monkeypatch.delitem(sys.modules, "numba")

    ready.install, ready.broken = install, broken
    ready.pip = slicer.pip
    ready.parameters.weights = kernel_weights
    ready.events()
    if ready.ui.anywayCheckBox.isVisible() and not ready.ui.anywayCheckBox.isChecked():
        ready.ui.anywayCheckBox.click()
    return ready


def offered(bench: Any) -> bool:
    """Whether Numba is offered; checks that the hint and the row agree."""
    assert bench.ui.fasterButton.isVisible() == bench.ui.fasterLabel.isVisible()
    assert bench.ui.fasterButton.isVisible() <= (not bench.ui.numbaButton.isHidden())
    return bench.ui.fasterButton.isVisible()


def worked(bench: Any) -> Any:
    """Processes events until the action started by a click is finished."""
    bench.until(lambda: not bench.panel.faster._working)
    bench.events(0.05)
    return bench.ui.numbaInfoLabel.text()


def test_one_click_brings_the_kernels_and_the_next_run_uses_them_without_a_restart(without):
    without.pip.answer = without.install
    assert not offered(without)
    run(without)
    assert without.ui.statusLabel.text().endswith(" s with PyTorch tiles")
    assert " with PyTorch tiles on CPU" in without.log()
    assert offered(without)
    assert without.ui.fasterLabel.text().startswith("Faster on this computer: install Numba (about ")
    assert without.pip.asked == []
    pid = without.widget.logic.service.worker_pid
    without.ui.fasterButton.click()
    version = importlib.metadata.version("numpy")
    assert without.pip.asked == [["--only-binary=:all:", "numba>=0.60", f"numpy=={version}"]]
    assert worked(without) == "Numba works; runs on the CPU use its kernels from now on"
    assert without.ui.fasterLabel.text() == without.ui.numbaInfoLabel.text()
    run(without)
    assert without.widget.logic.service.worker_pid != pid
    assert without.widget.logic.outcome.computePath.name == "Numba kernels"
    assert without.ui.statusLabel.text().endswith(" s with Numba kernels")
    assert not offered(without)
    assert without.ui.numbaInfoLabel.text().endswith("its kernels are used")
    worker_log = Path(without.widget.logic.outcome.logPath).read_text(encoding="utf-8")
    assert " s with Numba kernels on cpu" in worker_log


def test_an_installation_that_fails_is_one_line_and_everything_works_as_before(without):
    run(without)
    pid = without.widget.logic.service.worker_pid
    without.ui.fasterButton.click()
    line = worked(without)
    assert line.startswith("Numba could not be installed (pip ended with code 1); everything works as before")
    assert without.ui.fasterLabel.text() == line
    assert without.log().count("Numba could not be installed") == 1
    # The button in Advanced remains for another try; the worker is still running.
    assert not without.ui.numbaButton.isHidden() and without.ui.numbaButton.isEnabled()
    run(without)
    assert without.widget.logic.service.worker_pid == pid
    assert without.ui.statusLabel.text().endswith(" s with PyTorch tiles")
    assert offered(without)


def test_kernels_that_do_not_work_after_all_are_one_line_and_the_tiles_go_on(without, monkeypatch):
    def install() -> None:
        without.install()
        (without.broken / "numba").mkdir(parents=True)
        (without.broken / "numba" / "__init__.py").write_text("raise ImportError('DLL load failed')\n")

    monkeypatch.setenv("LVNET_KERNEL_CACHE", "off")
    without.pip.answer = install
    run(without)
    without.ui.numbaButton.click()
    line = "its kernels are left out (Numba kernels: DLL load failed); everything works as before"
    assert worked(without) == f"Numba is installed, but {line}"
    run(without)
    assert without.ui.statusLabel.text().endswith(" s with PyTorch tiles")
    assert without.ui.numbaInfoLabel.text() == "Installed, but left out: Numba kernels: DLL load failed"
    assert not offered(without)
    assert without.log().count("Left out, so that a run takes longer") == 1


def test_the_hint_stands_beside_the_estimate_and_former_runs_are_forgotten_with_numba(without):
    from lvnet.worker.client import pace

    without.pip.answer = without.install
    pace.remember("auto", 10.0, 600.0)
    without.widget.enter()
    without.until(lambda: offered(without))
    assert without.ui.estimateLabel.text().startswith("A run will take about ")
    assert "min" in without.ui.estimateLabel.text()
    assert without.pip.asked == []
    without.ui.fasterButton.click()
    worked(without)
    assert without.ui.estimateLabel.text().startswith("The first run will take about ")
    assert "min" not in without.ui.estimateLabel.text()


@pytest.mark.parametrize("path", [("Triton kernels", "", ""), ("PyTorch", "", ""), ("PyTorch tiles", "", "")])
def test_nothing_is_offered_on_a_gpu_or_for_a_network_that_the_kernels_do_not_know(without, path):
    from lvnet.acceleration import ComputePath

    without.panel.run._took = 100.0
    without.panel.noteComputePath(ComputePath(*path))
    assert not offered(without) and without.ui.numbaButton.isHidden()
    assert without.ui.numbaInfoLabel.text() == "Not installed; it would not help here"


def test_a_quick_run_and_a_run_under_way_are_not_disturbed_by_the_hint(without, monkeypatch):
    from lvnet.acceleration import ComputePath
    from LVNetSegmentationLib.panel import faster

    monkeypatch.setattr(faster, "SLOW_SECONDS", 10.0)
    without.panel.run._took = 9.9
    without.panel.noteComputePath(ComputePath("PyTorch tiles", "", "numba"))
    assert not offered(without) and not without.ui.numbaButton.isHidden()
    without.panel.run._took = 10.0
    without.panel.refresh()
    assert offered(without)
    without.ui.applyButton.click()
    assert not offered(without) and not without.ui.numbaButton.isEnabled()
    without.panel.run.cancel()
    without.idle()


def test_a_panel_that_goes_while_pip_runs_is_left_alone(without, monkeypatch):
    from lvnet.acceleration import ComputePath

    def install() -> None:
        without.panel.cleanup()
        without.install()

    without.pip.answer = install
    without.panel.noteComputePath(ComputePath("PyTorch tiles", "", "numba"))
    monkeypatch.setattr(without.widget.logic, "paceAsync", lambda **_: pytest.fail("nobody is there to be told"))
    said = without.log()
    without.ui.numbaButton.click()
    assert without.log().replace(said, "").strip().endswith("Installing Numba...")


def test_where_numba_is_there_a_click_installs_nothing(bench, slicer):
    bench.ui.numbaButton.click()
    bench.ui.fasterButton.click()
    assert slicer.pip.asked == []
    assert bench.ui.numbaInfoLabel.text() == "Version " + importlib.metadata.version("numba")
    assert bench.ui.numbaButton.isHidden() and bench.ui.fasterButton.isHidden()
