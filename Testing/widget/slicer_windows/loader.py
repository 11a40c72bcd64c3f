"""Loads a .ui file as slicer.util.loadUI does."""

from __future__ import annotations

import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from PySide6 import QtUiTools, QtWidgets

from . import ctk_names, mrml_widgets, qt_names

KINDS = {
    **qt_names.CLASSES,
    "ctkCollapsibleButton": ctk_names.ctkCollapsibleButton,
    "ctkPathLineEdit": ctk_names.ctkPathLineEdit,
    "qMRMLWidget": mrml_widgets.qMRMLWidget,
    "qMRMLNodeComboBox": mrml_widgets.qMRMLNodeComboBox,
}


class _Loader(QtUiTools.QUiLoader):
    """Creates widgets of this stand-in's classes instead of Qt's own."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list = []

    def createWidget(self, kind: str, parent: Any = None, name: str = "") -> QtWidgets.QWidget:
        widget = KINDS[kind](parent)
        widget.setProperty("objectName", name)
        self.made.append(widget)
        return widget


def load_ui(path: str) -> QtWidgets.QWidget:
    """The widget of a .ui file, with its connections."""
    tree = ElementTree.parse(path)
    connections = tree.getroot().find("connections")
    pairs = [
        tuple(connection.findtext(part) for part in ("sender", "signal", "receiver", "slot"))
        for connection in connections
    ]
    # Qt's own loader does not know signals with a scene as argument: they are connected here.
    for connection in list(connections):
        connections.remove(connection)
    # CTK's own flags, which only CTK's browse dialog reads.
    for widget in tree.getroot().iter("widget"):
        for entry in widget.findall("property[@name='filters']"):
            widget.remove(entry)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.ui"
        tree.write(plain, encoding="utf-8", xml_declaration=True)
        loader = _Loader()
        widget = loader.load(str(plain))
    by_name = {made.name: made for made in loader.made}
    for sender, signal, receiver, slot in pairs:
        by_name[sender].connect(signal, mrml_widgets.SLOTS[slot](by_name[receiver]))
    # Keeps the Python wrappers of the widgets alive.
    widget.made = loader.made
    return widget
