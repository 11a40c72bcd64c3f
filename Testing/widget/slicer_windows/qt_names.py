"""The module `qt`, with only the names that the panel uses."""

from __future__ import annotations

import types
from typing import Any, List

from PySide6 import QtCore, QtWidgets

from .pythonqt import dressed, dressed_value

#: Used by the .ui file, from which the panel gets them.
WIDGETS = (
    "QCheckBox",
    "QComboBox",
    "QDoubleSpinBox",
    "QLabel",
    "QLineEdit",
    "QPlainTextEdit",
    "QProgressBar",
    "QPushButton",
    "QRadioButton",
    "QSpinBox",
    "QTableWidget",
)
CLASSES = {name: dressed(getattr(QtWidgets, name)) for name in WIDGETS}

#: Answers of the file dialog, set by tests, and opened addresses, read by tests.
file_answers: List[str] = []
opened: List[str] = []


class QFileDialog:
    """A dialog that the test answers."""

    @staticmethod
    def getSaveFileName(parent: Any, caption: str, start: str, filters: str, /) -> str:
        """PythonQt returns only the path, not a pair."""
        return file_answers.pop(0)


class QDesktopServices:
    """Records what it was asked to open."""

    @staticmethod
    def openUrl(url: QtCore.QUrl, /) -> bool:
        opened.append(url.toLocalFile())
        return True


def module() -> types.ModuleType:
    made = types.ModuleType("qt")
    for name, kind in CLASSES.items():
        setattr(made, name, kind)
    made.QTimer = dressed(QtCore.QTimer)
    made.QFileDialog = QFileDialog
    made.QDesktopServices = QDesktopServices
    made.QUrl = dressed_value(QtCore.QUrl)
    made.QTableWidgetItem = dressed_value(QtWidgets.QTableWidgetItem)
    return made
