"""The CTK widgets of the .ui file, drawn as CTK draws them."""

from __future__ import annotations

from typing import List

from PySide6 import QtCore, QtGui, QtWidgets

from .pythonqt import PythonQtObject


class ctkCollapsibleButton(PythonQtObject, QtWidgets.QWidget):
    """A title bar with an arrow; a click hides or shows what lies below it."""

    connect = PythonQtObject.connect

    def __init__(self, parent: QtWidgets.QWidget = None) -> None:
        super().__init__(parent)
        self._collapsed = False
        self._text = ""
        self._hidden_children: List[QtWidgets.QWidget] = []
        # As in CTK: unless the .ui file says otherwise, it does not shrink below its preferred width.
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Minimum, QtWidgets.QSizePolicy.Policy.Preferred)

    def _get_text(self) -> str:
        return self._text

    def _set_text(self, text: str) -> None:
        self._text = text
        self.update()

    def _get_collapsed(self) -> bool:
        return self._collapsed

    def _set_collapsed(self, collapsed: bool) -> None:
        self._collapsed = collapsed
        self._apply()

    text = QtCore.Property(str, _get_text, _set_text)
    collapsed = QtCore.Property(bool, _get_collapsed, _set_collapsed)

    def _bar(self) -> int:
        return self.fontMetrics().height() + 10

    def _apply(self) -> None:
        """Hides the children by the height only: their own properties do not change."""
        self.setMaximumHeight(self._bar() if self._collapsed else 16777215)
        self.setMinimumHeight(self._bar() if self._collapsed else 0)
        self.updateGeometry()

    def event(self, event: QtCore.QEvent) -> bool:
        if event.type() in (QtCore.QEvent.Type.LayoutRequest, QtCore.QEvent.Type.Show) and self.layout():
            wanted = QtCore.QMargins(11, self._bar() + 8, 11, 9)
            if self.layout().contentsMargins() != wanted:
                self.layout().setContentsMargins(wanted)
        return super().event(event)

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter = QtWidgets.QStylePainter(self)
        button = QtWidgets.QStyleOptionButton()
        button.initFrom(self)
        button.rect = QtCore.QRect(0, 0, self.width(), self._bar())
        button.state |= QtWidgets.QStyle.StateFlag.State_Raised
        painter.drawControl(QtWidgets.QStyle.ControlElement.CE_PushButtonBevel, button)
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(8, self._bar() // 2 - 5, 10, 10)
        element = QtWidgets.QStyle.PrimitiveElement
        shape = element.PE_IndicatorArrowRight if self._collapsed else element.PE_IndicatorArrowDown
        painter.drawPrimitive(shape, arrow)
        painter.drawItemText(
            button.rect.adjusted(26, 0, 0, 0),
            QtCore.Qt.AlignmentFlag.AlignVCenter,
            self.palette(),
            True,
            self._text,
            QtGui.QPalette.ColorRole.ButtonText,
        )
        if not self._collapsed:
            painter.setPen(self.palette().color(QtGui.QPalette.ColorRole.Mid))
            painter.drawRect(0, self._bar(), self.width() - 1, self.height() - self._bar() - 1)

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        if event.position().y() <= self._bar():
            self._set_collapsed(not self._collapsed)


class ctkPathLineEdit(PythonQtObject, QtWidgets.QWidget):
    """A path with a history and a browse button."""

    connect = PythonQtObject.connect
    currentPathChanged = QtCore.Signal(str)

    def __init__(self, parent: QtWidgets.QWidget = None) -> None:
        super().__init__(parent)
        self.history: List[str] = []
        self.box = QtWidgets.QComboBox(self)
        self.box.setEditable(True)
        self.box.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)
        browse = QtWidgets.QToolButton(self)
        browse.setText("...")
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.box)
        layout.addWidget(browse)
        self.box.editTextChanged.connect(self.currentPathChanged)

    def _get_path(self) -> str:
        return self.box.currentText()

    def _set_path(self, path: str) -> None:
        self.box.setEditText(path)

    currentPath = QtCore.Property(str, _get_path, _set_path)

    def addCurrentPathToHistory(self) -> None:
        self.history.append(self._get_path())
