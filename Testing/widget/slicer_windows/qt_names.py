"""The module `qt`: the names that the panel uses, no more."""

from __future__ import annotations

import types
from typing import Any, List

from PySide6 import QtCore, QtWidgets

from .pythonqt import PythonQtObject, dressed

#: Used by the .ui file; with `children()` they come into the panel's hands.
WIDGETS = (
    "QCheckBox",
    "QComboBox",
    "QDoubleSpinBox",
    "QLabel",
    "QLineEdit",
    "QListWidget",
    "QPlainTextEdit",
    "QProgressBar",
    "QPushButton",
    "QRadioButton",
    "QSpinBox",
    "QTableWidget",
)
CLASSES = {name: dressed(getattr(QtWidgets, name)) for name in WIDGETS}

#: What the file dialog answers, and what the desktop was asked to open: set and read by tests.
file_answers: List[str] = []
opened: List[str] = []


class QTimer(dressed(QtCore.QTimer)):  # type: ignore[misc]
    """PythonQt has the setters beside the properties."""

    connect = PythonQtObject.connect

    def setInterval(self, milliseconds: int) -> None:
        self.setProperty("interval", milliseconds)


class QFileDialog:
    """A dialog that is answered by the test."""

    @staticmethod
    def getSaveFileName(parent: Any, caption: str, start: str, filters: str) -> str:
        """PythonQt gives the path alone, not a pair."""
        return file_answers.pop(0)


class QDesktopServices:
    """Remembers what it was asked to open."""

    @staticmethod
    def openUrl(url: QtCore.QUrl) -> bool:
        opened.append(url.toLocalFile())
        return True


def module() -> types.ModuleType:
    made = types.ModuleType("qt")
    for name, kind in CLASSES.items():
        setattr(made, name, kind)
    made.QTimer = QTimer
    made.QFileDialog = QFileDialog
    made.QDesktopServices = QDesktopServices
    made.Qt = QtCore.Qt
    made.QUrl = QtCore.QUrl
    made.QSize = QtCore.QSize
    made.QStyle = QtWidgets.QStyle
    made.QListWidgetItem = QtWidgets.QListWidgetItem
    made.QTableWidgetItem = QtWidgets.QTableWidgetItem
    return made
