"""The MRML widgets of the .ui file, on the real scene of slicer-core."""

from __future__ import annotations

from typing import Any, Callable, List, Optional

from PySide6 import QtCore, QtWidgets
from shiboken6 import isValid

from .pythonqt import PythonQtObject


class qMRMLWidget(PythonQtObject, QtWidgets.QWidget):
    """The outermost widget: passes the scene on to the widgets that the .ui file connects with it."""

    connect = PythonQtObject.connect
    mrmlSceneChanged = QtCore.Signal(object)
    own_signals = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged"}

    def setMRMLScene(self, scene: Any) -> None:
        self.mrmlSceneChanged.emit(scene)


class qMRMLNodeComboBox(PythonQtObject, QtWidgets.QWidget):
    """The nodes of some classes, in a combo box that follows the scene."""

    connect = PythonQtObject.connect
    currentNodeChanged = QtCore.Signal(object)
    nodeActivated = QtCore.Signal(object)
    own_signals = {
        "currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged",
        "nodeActivated(vtkMRMLNode*)": "nodeActivated",
    }

    def __init__(self, parent: QtWidgets.QWidget = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._nodes: List[Optional[Any]] = []
        self._filling = False
        self._tags: List[int] = []
        self.box = QtWidgets.QComboBox(self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.box)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Preferred, QtWidgets.QSizePolicy.Policy.Fixed)
        self.box.setSizeAdjustPolicy(QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.box.currentIndexChanged.connect(self._on_index)
        self.box.activated.connect(lambda _index: self.nodeActivated.emit(self.currentNode()))

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent, scene.EndImportEvent):
            self._tags.append(scene.AddObserver(event, lambda *_: self._on_scene()))
        self._fill()

    def _on_scene(self) -> None:
        # Slicer's scene model ignores changes during an import, and updates when it ends.
        if not self._scene.IsImporting():
            self._fill()

    def _fits(self, node: Any) -> bool:
        kinds = list(self.property("nodeTypes") or [])
        if self.property("showChildNodeTypes") is False:
            return node.GetClassName() in kinds
        return any(node.IsA(kind) for kind in kinds)

    def _fill(self) -> None:
        if not isValid(self):
            # The panel is destroyed; Slicer's own widget stops observing by itself.
            for tag in self._tags:
                self._scene.RemoveObserver(tag)
            return
        current = self.currentNode()
        before, picked = len(self._nodes), None
        nodes: List[Optional[Any]] = [None] if self.property("noneEnabled") else []
        for index in range(self._scene.GetNumberOfNodes()):
            node = self._scene.GetNthNode(index)
            if not node.GetHideFromEditors() and self._fits(node):
                nodes.append(node)
        self._filling = True
        self._nodes = nodes
        self.box.clear()
        for node in nodes:
            self.box.addItem(node.GetName() if node else self.property("noneDisplay") or "None")
        self._filling = False
        self._set(current if any(node is current for node in nodes) else None)
        if before == 0 and nodes:
            # An empty Qt combo box selects the first row that is added.
            self.box.setCurrentIndex(0)
            picked = self.currentNode()
        if self.currentNode() is not current:
            self.currentNodeChanged.emit(self.currentNode())
        if picked is not None:
            self.nodeActivated.emit(picked)

    def currentNode(self) -> Optional[Any]:
        index = self.box.currentIndex()
        return self._nodes[index] if 0 <= index < len(self._nodes) else None

    def setCurrentNode(self, wanted: Optional[Any]) -> None:
        before = self.currentNode()
        self._set(wanted)
        if wanted is not None and self.currentNode() is wanted and before is not wanted:
            # Slicer's selector does that by sending itself a key event, which counts as a user's action.
            self.nodeActivated.emit(wanted)

    def _set(self, wanted: Optional[Any]) -> None:
        index = next((i for i, node in enumerate(self._nodes) if node is wanted), -1)
        self.box.setCurrentIndex(index)

    def pick(self, wanted: Any) -> None:
        """Chooses a node in the list as a user does; it may be the current one."""
        self._set(wanted)
        self.box.activated.emit(self.box.currentIndex())

    def _on_index(self, _index: int) -> None:
        if not self._filling:
            self.currentNodeChanged.emit(self.currentNode())


#: The function for each slot that the .ui file names.
SLOTS: dict[str, Callable[[Any], Callable[[Any], None]]] = {
    "setMRMLScene(vtkMRMLScene*)": lambda widget: widget.setMRMLScene,
}
