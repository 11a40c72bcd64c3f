"""Types for what Slicer, Qt and CTK offer without type hints, limited to what this module uses.

The protocols have the names of the Qt and CTK classes; a property is an attribute, as in PythonQt.
"""

from __future__ import annotations

from typing import Any, Callable, List, Mapping, Protocol, Union

#: A JSON object, such as the result of a comparison or the report of a scan.
Json = Mapping[str, Any]
#: The value of a segmentation setting.
Setting = Union[str, float, bool, None]
#: Segmentation settings by their names in lvnet.pipeline.SegmentOptions, the only place that defines their types.
Settings = Mapping[str, Any]


class QObject(Protocol):
    def connect(self, signal: str, slot: Callable[..., object], /) -> bool: ...


class QTimer(QObject, Protocol):
    def setInterval(self, milliseconds: int, /) -> None: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...


class QWidget(QObject, Protocol):
    enabled: bool
    toolTip: str
    visible: bool

    def setFixedHeight(self, height: int, /) -> None: ...


class QLabel(QWidget, Protocol):
    text: str


class QLineEdit(QWidget, Protocol): ...


class QPlainTextEdit(QWidget, Protocol):
    def appendPlainText(self, text: str, /) -> None: ...


class QPushButton(QWidget, Protocol):
    checked: bool
    text: str


class QCheckBox(QWidget, Protocol):
    checked: bool


class QRadioButton(QWidget, Protocol):
    checked: bool


class QProgressBar(QWidget, Protocol):
    value: int


class QComboBox(QWidget, Protocol):
    currentIndex: int

    def addItem(self, text: str, /) -> None: ...
    def clear(self) -> None: ...
    def itemText(self, index: int, /) -> str: ...
    def setItemText(self, index: int, text: str, /) -> None: ...


class QHeaderView(QWidget, Protocol):
    height: int


class QTableWidgetItem(Protocol):
    def setToolTip(self, text: str, /) -> None: ...
    def text(self) -> str: ...


class QTableWidget(QWidget, Protocol):
    columnCount: int
    rowCount: int

    @property
    def frameWidth(self) -> int: ...
    def horizontalHeader(self) -> QHeaderView: ...
    def item(self, row: int, column: int, /) -> QTableWidgetItem: ...
    def resizeColumnToContents(self, column: int, /) -> None: ...
    def resizeRowsToContents(self) -> None: ...
    def rowHeight(self, row: int, /) -> int: ...
    def setHorizontalHeaderLabels(self, labels: List[str], /) -> None: ...
    def setItem(self, row: int, column: int, item: QTableWidgetItem, /) -> None: ...


class ctkCollapsibleButton(QWidget, Protocol): ...


class ctkPathLineEdit(QWidget, Protocol):
    currentPath: str

    def addCurrentPathToHistory(self) -> None: ...


class qMRMLNodeComboBox(QWidget, Protocol): ...


class qSlicerScriptedLoadableModule(Protocol):
    title: str
    categories: List[str]
    dependencies: List[str]
    contributors: List[str]
    helpText: str
    acknowledgementText: str
