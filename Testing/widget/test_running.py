"""Apply, progress, Cancel and errors, with the real worker process and real nodes."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest
from stalls import StallWatch


def run(bench) -> None:
    bench.ui.applyButton.click()
    assert bench.ui.applyButton.text() == "Cancel"
    bench.idle()
    bench.events(0.05)


def test_a_click_gives_a_segmentation_beside_the_volume_and_says_what_it_found(ready):
    run(ready)
    node = ready.parameters.outputSegmentation
    assert node.GetName() == "ct segmentation"
    assert node.GetSegmentation().GetNthSegment(0).GetName() == "liver"
    assert ready.ui.statusLabel.text().startswith("ct: liver ")
    assert " ml, in " in ready.ui.statusLabel.text()
    assert ready.ui.applyButton.text() == "Apply"
    assert ready.ui.applyButton.isEnabled()
    assert not ready.ui.progressBar.isVisible()
    assert len(ready.findings()) == len(ready.widget.logic.outcome.checks)
    assert ready.ui.resultFindingsLabel.isVisible()
    assert ready.parameters.comparedNode is node
    for words in ("Segmenting ct\n", "Segmenting\n", "Done in"):
        assert words in ready.log()


def test_a_second_click_fills_the_same_segmentation_and_finds_the_worker_warm(ready):
    run(ready)
    node, pid = ready.parameters.outputSegmentation, ready.widget.logic.service.worker_pid
    before = ready.names_of_nodes()
    run(ready)
    assert ready.parameters.outputSegmentation is node
    assert ready.names_of_nodes() == before
    assert ready.widget.logic.service.worker_pid == pid is not None


def test_progress_goes_up_with_stage_and_elapsed_time(ready, monkeypatch):
    shares, lines = [], []
    told = ready.panel.run._onProgress

    def onProgress(share, stage, remaining):
        told(share, stage, remaining)
        shares.append(ready.ui.progressBar.value())
        lines.append(ready.ui.statusLabel.text())

    monkeypatch.setattr(ready.panel.run, "_onProgress", onProgress)
    run(ready)
    assert shares == sorted(shares)
    assert len(set(shares)) > 3
    assert all(" s" in line for line in lines)


def test_the_remaining_time_is_said_once_it_is_known(ready):
    ready.panel.run._began = time.monotonic() - 10
    ready.panel.run._onProgress(0.25, "segmenting", 30.0)
    assert ready.ui.statusLabel.text() == "Segmenting: 10 s, about 30 s left"


def test_cancel_leaves_the_scene_as_it_was_and_apply_works_again(ready):
    before = ready.names_of_nodes()
    ready.ui.applyButton.click()
    ready.until(lambda: "Loading" in ready.log())
    began = time.monotonic()
    ready.ui.applyButton.click()
    assert not ready.ui.applyButton.isEnabled()
    ready.idle()
    assert time.monotonic() - began < 10
    assert ready.names_of_nodes() == before
    assert ready.ui.statusLabel.text() == "Cancelled; the scene is as it was."
    run(ready)
    assert ready.parameters.outputSegmentation is not None


def test_a_worker_that_is_killed_gives_one_sentence_and_the_next_click_works(ready):
    before = ready.names_of_nodes()
    ready.ui.applyButton.click()
    ready.until(lambda: ready.widget.logic.service.worker_pid is not None)
    ready.until(lambda: "Loading" in ready.log())
    os.kill(ready.widget.logic.service.worker_pid, signal.SIGKILL)
    ready.idle()
    (sentence,) = ready.findings()
    assert len(sentence.splitlines()) == 1
    assert "Failed: " in ready.log()
    assert ready.names_of_nodes() == before
    run(ready)
    assert ready.parameters.outputSegmentation is not None


def test_a_scene_that_is_closed_during_a_run_stops_it_and_stays_empty(ready, slicer):
    ready.ui.applyButton.click()
    ready.events(0.2)
    slicer.mrmlScene.Clear(0)
    ready.idle()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    assert ready.ui.applyButton.toolTip() == "Choose an input volume."


def test_a_run_goes_on_while_another_module_is_open(ready):
    ready.ui.applyButton.click()
    ready.widget.exit()
    ready.widget.parent.isEntered = False
    ready.idle()
    ready.widget.enter()
    assert ready.parameters.outputSegmentation is not None
    assert ready.ui.applyButton.isEnabled()


def test_closing_the_panel_during_a_run_ends_the_worker(ready):
    ready.ui.applyButton.click()
    ready.until(lambda: ready.widget.logic.service.worker_pid is not None)
    pid = ready.widget.logic.service.worker_pid
    ready.widget.cleanup()
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.05)
    else:
        pytest.fail("the worker lives on")


def test_the_window_is_never_blocked_for_a_tenth_of_a_second_by_a_run_on_a_large_scan(ready, phantom):
    """512 x 512 x 150 voxels, and a network that predicts organ in nearly every part of them."""
    large = np.ascontiguousarray(np.repeat(np.repeat(phantom[0].array, 6, axis=1), 6, axis=2)[:, :512, :512])
    large = np.ascontiguousarray(np.repeat(large, 4, axis=0)[:150])
    node = ready.slicer.util.addVolumeFromArray(large, name="large")
    node.SetSpacing(0.7, 0.7, 1.25)
    ready.parameters.inputVolume = node
    ready.events(0.2)
    if ready.ui.anywayCheckBox.isVisible():
        ready.ui.anywayCheckBox.click()
    with StallWatch() as watch:
        ready.ui.applyButton.click()
        watch.turn()
        while ready.panel.busy:
            ready.slicer.qt_application.processEvents()
            watch.turn()
            time.sleep(0.002)
    assert ready.parameters.outputSegmentation.GetName() == "large segmentation"
    assert watch.longest < 0.1, watch.gaps


def test_show_3d_makes_surfaces_shows_and_hides_them(ready, phantom):
    node = ready.add_segmentation(phantom[1], ready.volume, "drawn")
    ready.parameters.outputSegmentation = node
    assert ready.ui.show3DButton.isEnabled()
    assert not ready.ui.show3DButton.isChecked()
    ready.ui.show3DButton.click()
    surface = node.GetSegmentation().GetNthSegment(0).GetRepresentation("Closed surface")
    assert surface.GetNumberOfPoints() > 100
    assert ready.ui.show3DButton.isChecked()
    ready.ui.show3DButton.click()
    assert not node.GetDisplayNode().GetVisibility3D()
    assert not ready.ui.show3DButton.isChecked()


def test_an_empty_result_leaves_show_3d_off_and_says_why(ready, phantom):
    label = phantom[1]
    ready.parameters.outputSegmentation = ready.add_segmentation(label.with_array(0 * label.array), ready.volume)
    assert not ready.ui.show3DButton.isEnabled()
    assert ready.ui.show3DButton.toolTip() == "The segmentation is empty: there is no surface to show."


def test_a_missing_torch_is_offered_on_the_click_and_a_no_can_be_taken_back(ready, monkeypatch):
    from lvnet.errors import DependencyError

    logic, answers = ready.widget.logic, [DependencyError("PyTorch was not installed; click Apply again"), None]
    missing = [True]

    def install(askConfirmation=True):
        answer = answers.pop(0)
        if answer is not None:
            raise answer
        missing[0] = False

    monkeypatch.setattr(logic, "torchIsMissing", lambda: missing[0])
    monkeypatch.setattr(logic, "installTorch", install)
    ready.panel.refresh()
    assert ready.ui.torchButton.text() == "Install"
    ready.ui.applyButton.click()
    assert not ready.panel.busy
    assert ready.ui.statusLabel.text() == "PyTorch was not installed; click Apply again"
    ready.ui.applyButton.click()
    assert ready.panel.busy
    ready.idle()
    assert ready.parameters.outputSegmentation is not None
    assert ready.ui.torchButton.text() == "Check"


def test_a_worker_that_shall_not_stay_ends_after_the_run(ready):
    ready.ui.keepWarmCheckBox.click()
    run(ready)
    assert ready.widget.logic.service.worker_pid is None
