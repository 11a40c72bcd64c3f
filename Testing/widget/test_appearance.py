"""The panel at the width that Slicer gives it, and the texts in it."""

from __future__ import annotations

import re

import numpy as np
import pytest
from stalls import StallWatch

#: The usual panel width of 400 pixels without the scroll bar.
WIDTH = 372
LONG = "the liver has a hole of 3 ml, which is more than the largest that is usually seen; look at slices 20 to 35"


def run(bench) -> None:
    bench.ui.applyButton.click()
    bench.idle()
    bench.events(0.05)


def resize(bench, width: int) -> None:
    bench.widget.parent.resize(width, 2400)
    bench.events(0.05)


def test_nothing_is_cut_off_in_a_panel_of_the_usual_width(bench):
    bench.parameters.batchOfFolder = True
    bench.panel.run.resultFindings.show([("look", LONG)])
    for name in ("segment", "compare", "batch", "advanced", "log"):
        getattr(bench.ui, f"{name}CollapsibleButton").collapsed = False
    bench.events(0.05)
    assert bench.widget.parent.layout().minimumSize().width() <= WIDTH


@pytest.mark.parametrize("which", ["input", "result"])
def test_findings_take_the_height_that_they_need_at_any_width(bench, which):
    findings = bench.panel.run.inputFindings if which == "input" else bench.panel.run.resultFindings
    label = getattr(bench.ui, f"{which}FindingsLabel")
    findings.show([("look", LONG), ("ok", "one piece")])
    heights = []
    for width in (700, WIDTH, 520, 700):
        resize(bench, width)
        assert label.height() == label.heightForWidth(label.width())
        heights.append(label.height())
    assert heights[1] > heights[0] == heights[3]


def test_findings_stand_as_they_are_the_gravest_first(bench):
    words = ["all is well", "the volume <b>A & B</b> is odd", "note this"]
    bench.panel.run.resultFindings.show(list(zip(("ok", "wrong", None), words)))
    assert bench.findings() == ["The volume <b>A & B</b> is odd", "Note this", "All is well"]


def test_what_is_said_of_pytorch_is_there_to_the_last_word(bench):
    bench.ui.advancedCollapsibleButton.collapsed = False
    sentence = (
        "PyTorch is installed but cannot be loaded (libtorch_cpu.so: cannot open shared object file: No such file or"
        " directory); uninstall PyTorch in the module 'PyTorch Utils', restart 3D Slicer and click Apply again"
    )
    bench.panel.advanced._showStatus(sentence)
    resize(bench, WIDTH)
    label = bench.ui.torchInfoLabel
    assert label.text() == sentence
    assert label.height() >= label.heightForWidth(label.width())
    assert label.width() > 200


def test_no_question_is_asked_under_an_hourglass(ready, monkeypatch):
    """PyTorch's extension asks before it downloads anything."""
    from PySide6 import QtWidgets

    cursors = []
    monkeypatch.setattr(ready.widget.logic, "torchIsMissing", lambda: not cursors)
    monkeypatch.setattr(
        ready.widget.logic, "installTorch", lambda: cursors.append(QtWidgets.QApplication.overrideCursor())
    )
    ready.panel.refresh()
    ready.ui.torchButton.click()
    assert cursors == [None]


def test_sentences_in_the_panel_begin_with_a_capital(warm, monkeypatch):
    seen = []
    show = warm.panel.run._showStatus
    monkeypatch.setattr(warm.panel.run, "_showStatus", lambda line: (show(line), seen.append(line)))
    run(warm)
    lines = [line for line in seen if line and not line.startswith("ct: ")]
    assert len(lines) > 3
    assert [line for line in lines if not line[0].isupper()] == []


def test_the_log_says_each_step_once(warm):
    run(warm)
    steps = [re.sub(r"^\S+ +", "", line).lower() for line in warm.log().splitlines()]
    assert len(steps) > 3
    assert [step for step in steps if steps.count(step) > 1] == []


def test_a_broken_file_of_a_batch_is_named_once(warm, tmp_path):
    source = tmp_path / "scans"
    source.mkdir()
    (source / "broken.nii.gz").write_bytes(b"no image")
    warm.parameters.batchOfFolder = True
    warm.parameters.batchInputFolder = str(source)
    warm.parameters.batchOutputFolder = str(tmp_path / "out")
    warm.ui.batchButton.click()
    warm.idle()
    table = warm.ui.batchTableWidget
    assert table.item(0, 0).text() == "broken.nii.gz"
    words = table.item(0, 1).text()
    assert str(source) not in words
    assert "broken.nii.gz" not in words
    assert words[0].isupper()


def test_show_3d_does_not_hold_the_window(bench, phantom):
    """A liver of 512 x 512 x 119 voxels, which used to block the window for three quarters of a second."""
    label = phantom[1]
    wide = np.repeat(np.repeat(label.array, 6, axis=1), 6, axis=2)[:, :512, :512]
    wide = np.ascontiguousarray(np.repeat(wide, 3, axis=0)[:119])
    node = bench.slicer.util.addVolumeFromArray(wide.astype(np.int16), name="large")
    node.SetSpacing(0.74, 0.74, 1.6)
    drawn = bench.add_segmentation(label.__class__(wide, label.spacing), node, "drawn")
    bench.parameters.inputVolume = node
    bench.parameters.outputSegmentation = drawn
    bench.events(0.2)
    with StallWatch() as watch:
        bench.ui.show3DButton.click()
        watch.turn()
    assert drawn.GetSegmentation().GetNthSegment(0).GetRepresentation("Closed surface").GetNumberOfPoints() > 10000
    assert bench.slicer.app.layout_manager.resets >= 1
    assert watch.longest < 0.2, watch.gaps


def test_a_new_result_is_in_view_in_3d_if_the_last_one_was_shown_there(warm):
    layout = warm.slicer.app.layout_manager
    before = layout.resets
    warm.ui.applyButton.click()
    warm.idle()
    assert layout.resets == before
    warm.ui.show3DButton.click()
    shown = layout.resets
    assert shown > before
    warm.ui.applyButton.click()
    warm.idle()
    assert layout.resets == shown + 1


def test_the_scan_is_handed_over_in_time_while_the_event_loop_holds_the_interpreter(warm, phantom):
    """Other Python threads run only every 20 ms, as in a busy Slicer."""
    import threading
    import time

    from lvnet.worker.client.job import JobState

    large = np.ascontiguousarray(np.repeat(np.repeat(phantom[0].array, 5, axis=1), 5, axis=2)[:, :400, :400])
    node = warm.slicer.util.addVolumeFromArray(np.repeat(large, 3, axis=0), name="large")
    warm.parameters.inputVolume = node
    warm.events(0.2)
    warm.ui.anywayCheckBox.setChecked(True)
    warm.panel.refresh()
    before = {thread.name for thread in threading.enumerate()}
    began = time.monotonic()
    warm.ui.applyButton.click()
    job = warm.panel.run._job
    warm.until(lambda: job.state is JobState.COMPUTING)
    took = time.monotonic() - began
    names = {thread.name for thread in threading.enumerate()} - before
    assert not [name for name in names if "hand" in name], names
    assert took < 0.6, took
    warm.panel.run.cancel()
    warm.idle()
