"""slicer.ScriptedLoadableModule: the four base classes, as far as the module depends on them."""

from __future__ import annotations

import importlib
import types
import unittest
from pathlib import Path
from typing import Any

import shiboken6
import slicer
from PySide6 import QtCore, QtWidgets

from .mrml_widgets import qMRMLWidget
from .pythonqt import PythonQtObject


class ScriptedLoadableModule:
    def __init__(self, parent: Any) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__


class qSlicerAbstractModuleWidget(qMRMLWidget):
    """The widget that Slicer creates for a module's panel; it knows whether the module is open."""

    connect = PythonQtObject.connect

    def __init__(self) -> None:
        super().__init__()
        self._entered = False
        QtWidgets.QVBoxLayout(self)

    def _set_entered(self, entered: bool) -> None:
        self._entered = entered

    isEntered = QtCore.Property(bool, lambda self: self._entered, _set_entered)


class ScriptedLoadableModuleWidget:
    def __init__(self, parent: Any = None) -> None:
        self.moduleName = type(self).__name__[: -len("Widget")]
        self.parent = parent if parent is not None else qSlicerAbstractModuleWidget()
        self.layout = self.parent.layout()

    def setup(self) -> None:
        pass

    def resourcePath(self, filename: str) -> str:
        return str(Path(slicer.util.modulePath(self.moduleName)).parent / "Resources" / filename)

    def cleanup(self) -> None:
        pass

    def onReload(self) -> None:
        slicer.util.reloadScriptedModule(self.moduleName)


class ScriptedLoadableModuleLogic:
    def __init__(self, parent: Any = None) -> None:
        self.moduleName = type(self).__name__[: -len("Logic")]

    def getParameterNode(self) -> Any:
        scene = slicer.mrmlScene
        node = scene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = scene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
            node.UnRegister(None)
            node.SetSingletonTag(self.moduleName)
            node.SetAttribute("ModuleName", self.moduleName)
            node.SetName(scene.GenerateUniqueName(self.moduleName))
            node = scene.AddNode(node)
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """As in Slicer: run by its own runTest, not by a unittest runner."""

    messageDelay = 0

    def runTest(self) -> None:
        raise NotImplementedError

    def delayDisplay(self, message: str, requestedDelay: Any = None, msec: Any = None) -> None:
        slicer.messages.append(message)


def module() -> types.ModuleType:
    made = types.ModuleType("slicer.ScriptedLoadableModule")
    kinds = (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    )
    for kind in kinds:
        setattr(made, kind.__name__, kind)
    return made


def reload_module(name: str, parent: Any) -> Any:
    """Like slicer.util.reloadScriptedModule: reads the file again and recreates the widget."""
    old = getattr(slicer.modules, f"{name}Widget", None)
    importlib.import_module("sys").modules.pop(name, None)
    fresh = importlib.import_module(name)
    if old is not None:
        old.cleanup()
        while parent.layout().count():
            widget = parent.layout().takeAt(0).widget()
            if widget is not None:
                # Slicer drops its reference, and C++ destroys the widget at some later time; here at once.
                shiboken6.delete(widget)
    made = getattr(fresh, f"{name}Widget")(parent)
    setattr(slicer.modules, f"{name}Widget", made)
    made.setup()
    return made
