"""`slicer.app` and the objects of Slicer's main window, as far as the module uses them."""

from __future__ import annotations

from typing import Any, Callable, Dict, List

from PySide6 import QtCore, QtGui, QtWidgets

from .connections import check_connection
from .pythonqt import PythonQtObject


class ctkVTKRenderView(PythonQtObject, QtCore.QObject):
    """A 3D view, which counts how often it was reset."""

    connect = PythonQtObject.connect

    def __init__(self) -> None:
        super().__init__()
        self.resets = 0

    def resetFocalPoint(self) -> None:
        self.resets += 1


class qMRMLThreeDWidget(PythonQtObject, QtCore.QObject):
    """The widget around a 3D view."""

    connect = PythonQtObject.connect

    def __init__(self) -> None:
        super().__init__()
        self._view = ctkVTKRenderView()

    def threeDView(self) -> ctkVTKRenderView:
        return self._view


class qSlicerLayoutManager(PythonQtObject, QtCore.QObject):
    """slicer.app.layoutManager(), with one 3D view."""

    connect = PythonQtObject.connect
    listed_as = ("qMRMLLayoutManager",)

    def __init__(self) -> None:
        super().__init__()
        self._widget = qMRMLThreeDWidget()

    threeDViewCount = QtCore.Property(int, lambda self: 1)

    def threeDWidget(self, index: int, /) -> qMRMLThreeDWidget:
        assert index == 0
        return self._widget

    @property
    def resets(self) -> int:
        """How often the 3D view was reset, for tests."""
        return self._widget.threeDView().resets


class qSlicerApplication(PythonQtObject, QtCore.QObject):
    """slicer.app: records the connections to its signals, which a test can read in `connected`."""

    listed_as = ("app", "QApplication")
    startupCompleted = QtCore.Signal()

    def __init__(self) -> None:
        super().__init__()
        self.connected: Dict[str, List[Callable[..., None]]] = {}
        self.layout_manager = qSlicerLayoutManager()

    def connect(self, signature: str, slot: Callable[..., None], /) -> bool:
        check_connection(self, signature, slot)
        self.connected.setdefault(signature, []).append(slot)
        return True

    def clipboard(self) -> QtGui.QClipboard:
        return QtWidgets.QApplication.clipboard()

    def layoutManager(self) -> qSlicerLayoutManager:
        return self.layout_manager


class qMRMLSegmentEditorWidget(PythonQtObject, QtCore.QObject):
    """slicer.modules.SegmentEditorWidget.editor: records the nodes that it is given."""

    connect = PythonQtObject.connect

    def __init__(self) -> None:
        super().__init__()
        self.given: Dict[str, Any] = {}

    def setSegmentationNode(self, node: Any, /) -> None:
        self.given["segmentation"] = node

    def setSourceVolumeNode(self, node: Any, /) -> None:
        self.given["volume"] = node
