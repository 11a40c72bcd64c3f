"""slicer.parameterNodeWrapper: typed access to a parameter node, and its binding to widgets.

Values lie in the node under the same names and in the same form as Slicer writes them, so that a
scene that was saved here opens there.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, Callable, Dict, Tuple

import slicer
import vtk
from PySide6 import QtWidgets

from .mrml_widgets import qMRMLNodeComboBox


@dataclasses.dataclass
class Choice:
    choices: list

    def check(self, value: Any) -> None:
        if value not in self.choices:
            raise ValueError(f"{value!r} is none of {self.choices}")


@dataclasses.dataclass
class WithinRange:
    minimum: float
    maximum: float

    def check(self, value: Any) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"{value} is outside {self.minimum} to {self.maximum}")


def _is_node(kind: Any) -> bool:
    kinds = typing.get_args(kind) if typing.get_origin(kind) is typing.Union else (kind,)
    return all(k is type(None) or (isinstance(k, type) and issubclass(k, slicer.vtkMRMLNode)) for k in kinds)


class _Parameter:
    """One parameter: how it is written, read and bound."""

    def __init__(self, name: str, hint: Any, default: Any) -> None:
        self.name = name
        self.kind, *self.checks = typing.get_args(hint) if hasattr(hint, "__metadata__") else (hint,)
        self.is_node = _is_node(self.kind)
        self.default = default if default is not None or self.is_node else self.kind()

    def write(self, node: Any, value: Any) -> None:
        if self.is_node:
            node.SetParameter(self.name, "")
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
            return
        if not isinstance(value, self.kind):
            raise TypeError(f"{self.name} is {self.kind.__name__}, not {value!r}")
        for check in self.checks:
            check.check(value)
        node.SetParameter(self.name, str(value))

    def read(self, node: Any) -> Any:
        if self.is_node:
            return node.GetNodeReference(self.name)
        text = node.GetParameter(self.name)
        return text == "True" if self.kind is bool else self.kind(text)

    def bind(self, widget: Any) -> Tuple[str, Callable[[], Any], Callable[[Any], None]]:
        """The signal that says that the user changed the widget, how to read it and how to fill it."""
        if isinstance(widget, qMRMLNodeComboBox) and self.is_node:
            return "currentNodeChanged(vtkMRMLNode*)", widget.currentNode, widget.setCurrentNode
        if isinstance(widget, QtWidgets.QCheckBox) and self.kind is bool:
            return "toggled(bool)", widget.isChecked, widget.setChecked
        numeric = {
            QtWidgets.QSpinBox: (int, "valueChanged(int)"),
            QtWidgets.QDoubleSpinBox: (float, "valueChanged(double)"),
        }
        for box, (kind, signal) in numeric.items():
            if isinstance(widget, box) and self.kind is kind:
                widget.setRange(self.checks[0].minimum, self.checks[0].maximum)
                return signal, widget.value, widget.setValue
        if isinstance(widget, QtWidgets.QLineEdit) and self.kind is str:
            return "textChanged(QString)", widget.text, widget.setText
        if isinstance(widget, QtWidgets.QComboBox) and self.kind is str:
            choices = self.checks[0].choices
            widget.clear()
            widget.addItems(choices)
            return (
                "currentIndexChanged(int)",
                lambda: choices[widget.currentIndex()],
                lambda value: widget.setCurrentIndex(choices.index(value)),
            )
        raise RuntimeError(f"Slicer cannot bind {self.name} to {type(widget).__name__}")


def parameterNodeWrapper(kind: type) -> type:
    """The decorator: annotated names of the class become parameters."""
    hints = typing.get_type_hints(kind, include_extras=True)
    parameters = {name: _Parameter(name, hint, getattr(kind, name, None)) for name, hint in hints.items()}

    def initialise(self: Any, node: Any) -> None:
        self.parameterNode = node
        self._bindings: Dict[int, Any] = {}
        self._filling = False
        for name, parameter in parameters.items():
            there = node.GetParameter(name) if not parameter.is_node else node.GetNodeReferenceID(name)
            if not there:
                parameter.write(node, parameter.default)

    def connectParametersToGui(self: Any, mapping: Dict[str, Any]) -> int:
        bound, live = {}, {"on": True}
        for name, widget in mapping.items():
            if name not in parameters:
                raise ValueError(f"Cannot find a param with the given name: {name}")
            signal, read, fill = parameters[name].bind(widget)
            bound[name] = fill

            def changed(*_: Any, name: str = name, read: Callable[[], Any] = read) -> None:
                if live["on"] and not self._filling:
                    setattr(self, name, read())

            fill(getattr(self, name))
            widget.connect(signal, changed)

        def update(*_: Any) -> None:
            if self._filling:
                return
            self._filling = True
            try:
                for name, fill in bound.items():
                    fill(getattr(self, name))
            finally:
                self._filling = False

        tag = self.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, update)
        self._bindings[tag] = live
        return tag

    def disconnectGui(self: Any, guiTag: int) -> None:
        self._bindings.pop(guiTag)["on"] = False
        self.parameterNode.RemoveObserver(guiTag)

    for name, parameter in parameters.items():
        setattr(
            kind,
            name,
            property(
                lambda self, p=parameter: p.read(self.parameterNode),
                lambda self, value, p=parameter: p.write(self.parameterNode, value),
            ),
        )
    kind.__init__ = initialise
    kind.connectParametersToGui = connectParametersToGui
    kind.disconnectGui = disconnectGui
    kind.AddObserver = lambda self, *arguments: self.parameterNode.AddObserver(*arguments)
    kind.RemoveObserver = lambda self, tag: self.parameterNode.RemoveObserver(tag)
    return kind


def module() -> types.ModuleType:
    made = types.ModuleType("slicer.parameterNodeWrapper")
    made.Choice, made.WithinRange, made.parameterNodeWrapper = Choice, WithinRange, parameterNodeWrapper
    return made
