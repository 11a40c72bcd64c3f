"""Installs the stand-in: slicer-core's `slicer`, extended with the names of Slicer's windows."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Iterator, List

from PySide6 import QtCore, QtGui, QtWidgets

from .event_loop import process_events

MODULE_FOLDER = Path(__file__).parents[3] / "LVNetSegmentation"


@contextlib.contextmanager
def _wait_cursor(show: bool = True) -> Iterator[None]:
    """Like Slicer's: it processes events on entering, in which anything may happen."""
    if not show:
        yield
        return
    QtWidgets.QApplication.setOverrideCursor(QtGui.QCursor(QtCore.Qt.CursorShape.WaitCursor))
    process_events()
    try:
        yield
    finally:
        QtWidgets.QApplication.restoreOverrideCursor()


class Pip:
    """Replaces slicer.util.pip_install: installs nothing, records its arguments, and behaves as a test specifies.

    Attributes:
        asked: the arguments of each call.
        answer: what happens; by default pip fails, as it does without a network.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Resets everything for another test."""
        self.asked: List[List[str]] = []
        self.answer: Callable[[], None] = self.fail

    def fail(self) -> None:
        """Fails as Slicer's `logProcessOutput` does when pip ends with an error."""
        raise subprocess.CalledProcessError(1, ["PythonSlicer", "-m", "pip", "install"])

    def install(self, requirements: Any) -> None:
        """Slicer 5.8 takes one argument of these types only; while pip runs, the window keeps processing events."""
        if type(requirements) not in (str, list):
            raise ValueError("pip_install requirement input must be string or list")
        assert all(isinstance(part, str) for part in requirements)
        self.asked.append(shlex.split(requirements) if isinstance(requirements, str) else list(requirements))
        process_events()
        self.answer()


def start(folder: Path = MODULE_FOLDER) -> Any:
    """Starts Qt and slicer-core once per process.

    Args:
        folder: contains the module file; it is put first on Python's path, as in Slicer.

    Returns:
        The module `slicer`.
    """
    sys.path.insert(0, str(folder))
    qt_application = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["Slicer"])
    qt_application.setStyle("Fusion")  # what Slicer uses on Linux
    slicer = importlib.import_module("slicer")
    util = importlib.import_module("slicer.util")
    _start_mrml(slicer)

    from . import ctk_names, loader, mrml_widgets, parameter_nodes, qt_names, sample_data, scripted_module, slicer_app

    sys.modules["qt"] = qt_names.module()
    ctk = types.ModuleType("ctk")
    ctk.ctkCollapsibleButton, ctk.ctkPathLineEdit = ctk_names.ctkCollapsibleButton, ctk_names.ctkPathLineEdit
    sys.modules["ctk"] = ctk
    i18n = types.ModuleType("slicer.i18n")
    i18n.tr, i18n.translate = (lambda text: text), (lambda context, text: text)
    for name, made in (
        ("i18n", i18n),
        ("parameterNodeWrapper", parameter_nodes.module()),
        ("ScriptedLoadableModule", scripted_module.module()),
    ):
        sys.modules[f"slicer.{name}"] = made
        setattr(slicer, name, made)
    slicer.qMRMLWidget, slicer.qMRMLNodeComboBox = mrml_widgets.qMRMLWidget, mrml_widgets.qMRMLNodeComboBox
    slicer.app = slicer_app.qSlicerApplication()
    slicer.qt_application = qt_application
    slicer.messages = []
    util.loadUI = loader.load_ui
    util.modulePath = lambda moduleName: str(folder / f"{moduleName}.py")
    util.WaitCursor = _wait_cursor
    util.setSliceViewerLayers = _recording(util.setSliceViewerLayers)
    slicer.pip = Pip()
    util.pip_install = slicer.pip.install
    util.selectModule = lambda module: slicer.messages.append({"module": module})
    slicer.modules.SegmentEditorWidget = SimpleNamespace(editor=slicer_app.qMRMLSegmentEditorWidget())
    sys.modules["SampleData"] = sample_data.module()
    _offer_pythonslicer()
    return slicer


def _recording(show_layers: Callable[..., None]) -> Callable[..., None]:
    """Slicer's own function for the layers of the slice views, which also records what it was asked for.

    There are no slice views whose content could be fitted: Slicer's function does that through the layout manager.
    """

    def setSliceViewerLayers(
        background: Any = "keep-current",
        foreground: Any = "keep-current",
        label: Any = "keep-current",
        foregroundOpacity: Any = None,
        labelOpacity: Any = None,
        fit: bool = False,
        rotateToVolumePlane: bool = False,
    ) -> None:
        import slicer

        slicer.messages.append({"background": background, "fit": fit})
        show_layers(background, foreground, label, foregroundOpacity, labelOpacity, False, rotateToVolumePlane)

    return setSliceViewerLayers


def _offer_pythonslicer() -> None:
    """A launcher like Slicer's: a separate process that waits for the Python that it started."""
    folder = Path(tempfile.mkdtemp(prefix="slicer-bin-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    launcher = folder / "PythonSlicer"
    launcher.write_text(f'#!/bin/sh\n"{sys.executable}" "$@"\n')
    launcher.chmod(0o755)
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ.get('PATH', '')}"


def _start_mrml(slicer: Any) -> None:
    """A scene, and the logics that nodes need."""
    scene = slicer.vtkMRMLScene()
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    colors = application.GetColorLogic()
    colors.SetMRMLScene(scene)
    colors.AddDefaultColorNodes()
    application.SetModuleLogic("Colors", colors)
    slicer.mrmlScene = scene
    logics = {"colors": colors}
    kinds = {
        "SubjectHierarchy": slicer.vtkSlicerSubjectHierarchyModuleLogic,
        "Volumes": slicer.vtkSlicerVolumesLogic,
        "Segmentations": slicer.vtkSlicerSegmentationsModuleLogic,
        "Sequences": slicer.vtkSlicerSequencesLogic,
    }
    for name, kind in kinds.items():
        logic = kind()
        logic.SetMRMLScene(scene)
        logic.SetMRMLApplicationLogic(application)
        application.SetModuleLogic(name, logic)
        logics[name.lower()] = logic
    slicer.modules = SimpleNamespace(
        **{name: SimpleNamespace(logic=lambda logic=logic: logic) for name, logic in logics.items()}
    )
    slicer.application_logic = application
