"""Tests of the stand-in: it rejects what PythonQt and Slicer reject, and offers only what is used."""

from __future__ import annotations

import ast
import importlib
import itertools
import re
import sys
import threading
import time
from pathlib import Path

import pytest
import shiboken6

MODULE = Path(__file__).parents[2] / "LVNetSegmentation"
FACING = [MODULE / "LVNetSegmentation.py", *sorted((MODULE / "LVNetSegmentationLib").rglob("*.py"))]


def test_the_panel_survives_that_its_widgets_are_destroyed_before_it_is_notified(bench, slicer):
    """This happens when Slicer exits."""
    bench.ui.applyButton.text()
    widget = bench.widget
    for child in list(widget.ui.__dict__.values()):
        if shiboken6.isValid(child):
            shiboken6.delete(child)
    widget.cleanup()
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    slicer.mrmlScene.Clear(0)


def test_a_selector_without_a_choice_takes_the_first_node_when_an_import_ends(bench, slicer, phantom, tmp_path):
    bench.add_volume(phantom[0], "first")
    bench.add_volume(phantom[0], "second")
    path = str(tmp_path / "scene.mrml")
    slicer.mrmlScene.SetURL(path)
    slicer.mrmlScene.Commit(path)
    bench.widget.exit()
    slicer.mrmlScene.Clear(0)
    seen = []
    bench.ui.inputSelector.connect(
        "currentNodeChanged(vtkMRMLNode*)", lambda node: seen.append(node and node.GetName())
    )
    slicer.mrmlScene.SetURL(path)
    slicer.mrmlScene.Import()
    assert seen[-1] == "first"
    assert "second" not in seen


def test_an_hourglass_runs_events(slicer):
    from PySide6 import QtCore

    happened = []
    QtCore.QTimer.singleShot(0, lambda: happened.append("job ended"))
    with slicer.util.WaitCursor():
        assert happened == ["job ended"]


def test_a_thread_that_always_wants_to_run_hardly_gets_a_turn(slicer):
    """PySide6's own `processEvents` lets it run in most turns, Slicer's event loop does not."""
    from slicer_windows.event_loop import turn

    steps, ended, turns_with_steps = itertools.count(), threading.Event(), 0

    def work():
        while not ended.is_set():
            next(steps)
            time.sleep(0)

    thread = threading.Thread(target=work)
    thread.start()
    usual = sys.getswitchinterval()
    for _ in range(60):
        before = next(steps)
        turn()
        turns_with_steps += next(steps) > before + 1
    ended.set()
    thread.join()
    assert 1 <= turns_with_steps <= 12
    assert sys.getswitchinterval() == usual


def test_samples_without_addresses_are_refused(slicer):
    import SampleData

    with pytest.raises(TypeError):
        SampleData.SampleDataLogic.registerCustomSampleDataSource(category="a", sampleName="b", customDownloader=print)
    with pytest.raises(TypeError):
        SampleData.SampleDataLogic.registerCustomSampleDataSource(category="a", sampleTitle="b", uris="", fileNames="")


@pytest.fixture
def wrapped(slicer):
    """Parameters of each kind, on a separate node."""
    from typing import Annotated, Union

    from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper

    kinds = {
        "volume": slicer.vtkMRMLScalarVolumeNode,
        "either": Union[slicer.vtkMRMLSegmentationNode, slicer.vtkMRMLLabelMapVolumeNode, None],
        "share": Annotated[float, WithinRange(0.0, 0.9)],
        "count": Annotated[int, WithinRange(0, 9)],
        "kind": Annotated[str, Choice(["a", "b"])],
        "on": bool,
    }
    defaults = {"share": 0.5, "count": 2, "kind": "a", "on": True}
    Parameters = type("Parameters", (), {"__annotations__": kinds, **defaults})
    made = parameterNodeWrapper(Parameters)(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))
    yield made
    slicer.mrmlScene.Clear(0)


@pytest.mark.parametrize(
    ("name", "kind", "error"),
    [
        ("volume", "vtkMRMLSegmentationNode", TypeError),
        ("either", "vtkMRMLModelNode", TypeError),
        ("share", "0.5", TypeError),
        ("share", 2.0, ValueError),
        ("count", 0.5, TypeError),
        ("count", None, ValueError),
        ("kind", "c", ValueError),
        ("on", 1, TypeError),
    ],
)
def test_a_parameter_takes_what_slicers_takes_and_nothing_else(slicer, wrapped, name, kind, error):
    value = slicer.mrmlScene.AddNewNodeByClass(kind) if str(kind).startswith("vtk") else kind
    before = getattr(wrapped, name)
    with pytest.raises(error):
        setattr(wrapped, name, value)
    assert getattr(wrapped, name) == before


def test_parameters_lie_in_the_node_as_slicer_writes_them(slicer, wrapped):
    node = wrapped.parameterNode
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    wrapped.either, wrapped.on = labels, False
    assert sorted(node.GetParameterNames()) == ["count", "either.1", "kind", "on", "share", "volume"]
    assert node.GetNodeReference("either.1") is labels
    assert node.GetParameter("on") == "False"
    wrapped.either = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    assert node.GetNodeReference("either.1") is None
    wrapped.either = None
    assert wrapped.either is None


def test_a_value_is_read_again_only_when_the_node_says_that_it_was_modified(wrapped):
    node = wrapped.parameterNode
    modified = node.StartModify()
    node.SetParameter("count", "7")
    assert wrapped.count == 2
    node.EndModify(modified)
    assert wrapped.count == 7


def test_parameters_whose_widgets_are_gone_say_so_when_they_are_released(slicer, wrapped):
    import qt

    box = qt.QCheckBox()
    tag = wrapped.connectParametersToGui({"on": box})
    box.setChecked(False)
    assert not wrapped.on
    shiboken6.delete(box)
    with pytest.raises(ValueError, match="destroyed"):
        wrapped.disconnectGui(tag)


def test_only_the_widgets_that_slicer_knows_are_bound(slicer, wrapped):
    import qt

    class Box(qt.QCheckBox):
        pass

    for name, widget in (("on", Box()), ("count", qt.QLineEdit()), ("volume", qt.QComboBox())):
        with pytest.raises(RuntimeError, match="connector"):
            wrapped.connectParametersToGui({name: widget})
    with pytest.raises(ValueError, match="Cannot find a param"):
        wrapped.connectParametersToGui({"off": qt.QCheckBox()})


def test_no_call_of_qt_or_mrml_in_the_product_has_keywords(slicer):
    """PythonQt and VTK accept no keywords; Slicer's Python functions do."""
    from slicer_windows.pythonqt import api_entries

    compiled = {re.split(r"[( ]", entry.name)[0] for entry in api_entries() if entry.kind in ("slot", "method")}
    python = {re.split(r"[( ]", entry.name)[0] for entry in api_entries() if entry.kind == "function"}
    for path in FACING:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.keywords:
                assert node.func.attr not in compiled - python, f"{path.name}:{node.lineno}"


def test_this_pyside_keeps_count_of_none(slicer):
    """PySide6 6.12.0 loses a reference to None with each call, until Python aborts; hence the upper bound."""
    import qt

    label = qt.QLabel("a")
    before = sys.getrefcount(None)
    for _ in range(2000):
        label.setToolTip("b")
    assert sys.getrefcount(None) > before - 1000


def names_below(module_name: str) -> set:
    """The names that the product reads from a module: `qt.QTimer` is QTimer."""
    found = set()
    for path in FACING:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == module_name:
                found.add(node.attr)
    return found


def test_the_stand_in_offers_no_name_of_qt_or_ctk_that_the_product_does_not_use(slicer):
    qt, ctk = importlib.import_module("qt"), importlib.import_module("ctk")
    drawn = set()
    for line in (MODULE / "Resources" / "UI" / "LVNetSegmentation.ui").read_text(encoding="utf-8").splitlines():
        if "<widget class=" in line:
            drawn.add(line.split('"')[1])
    offered = {name for made in (qt, ctk) for name in vars(made) if not name.startswith("_")}
    assert offered - drawn - names_below("qt") - names_below("ctk") == set()
