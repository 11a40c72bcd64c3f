"""slicer.parameterNodeWrapper: typed access to a parameter node, and its binding to widgets.

It is as strict as Slicer's own, with which it was compared (5.8.1 and 5.12.3): names and format of the stored values,
so that a scene saved here opens in Slicer; the accepted types of a parameter; values that are cached until the node is
modified; which widget is bound to which type of parameter, by which signal; and what happens when widgets are
destroyed.  Features that the module does not use are left out: parameter packs, lists, enums, other widgets.
"""

from __future__ import annotations

import types
import typing
import weakref
from typing import Any, Callable, Dict, List, Optional, Tuple

import slicer
import vtk
from shiboken6 import isValid

#: Names that Slicer adds to the class; no parameter may have one of them.
RESERVED = (
    "allParameters", "default", "isCached", "dataType", "getValue", "setValue", "connectGui", "connectParametersToGui",
    "disconnectGui", "StartModify", "EndModify", "AddObserver", "RemoveObserver", "Modified",
)  # fmt: skip


class Choice:
    def __init__(self, choices: list) -> None:
        self.choices = choices

    def validate(self, value: Any) -> None:
        if value not in self.choices:
            raise ValueError(f"Value is {value}, but must be in one of the following: {self.choices}")


class WithinRange:
    def __init__(self, minimum: float, maximum: float) -> None:
        self.minimum, self.maximum = minimum, maximum

    def validate(self, value: Any) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


class _Plain:
    """A number, string or bool in a parameter node."""

    def __init__(self, name: str, kind: type, checks: tuple, default: Any) -> None:
        self.name, self.kind, self.checks = name, kind, checks
        self.default = kind() if default is None else default

    def isIn(self, node: Any) -> bool:
        return bool(node.HasParameter(self.name))

    def write(self, node: Any, value: Any) -> None:
        if value is None:
            raise ValueError("Value must not be None")
        accepted = (int, float) if self.kind is float else self.kind
        if not isinstance(value, accepted):
            raise TypeError(f"Value must be of type '{accepted}', is type '{type(value)}' value '{value}'")
        for check in self.checks:
            check.validate(value)
        node.SetParameter(self.name, str(value))

    def read(self, node: Any) -> Any:
        text = node.GetParameter(self.name)
        return text == "True" if self.kind is bool else self.kind(text)


class _Node:
    """A node of one class in a parameter node."""

    checks: tuple = ()
    default = None

    def __init__(self, name: str, kind: type) -> None:
        self.name, self.kind = name, kind

    def isIn(self, node: Any) -> bool:
        return bool(node.HasParameter(self.name))

    def takes(self, value: Any) -> bool:
        return isinstance(value, self.kind)

    def write(self, node: Any, value: Any) -> None:
        if value is not None and not self.takes(value):
            raise TypeError(f"Value must be of type '{self.kind}', is type '{type(value)}' value '{value}'")
        node.SetParameter(self.name, "")
        node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)

    def read(self, node: Any) -> Any:
        return node.GetNodeReference(self.name)

    def remove(self, node: Any) -> None:
        node.UnsetParameter(self.name)
        node.RemoveNodeReferenceIDs(self.name)


class _OneOfNodes:
    """A node of one of several classes, or none: each class has a separate entry in the parameter node."""

    checks: tuple = ()
    default = None

    def __init__(self, name: str, kinds: Tuple[type, ...]) -> None:
        self.name = name
        self.kinds = tuple(kind for kind in kinds if kind is not type(None))
        self.places = [_Node(f"{name}.{index}", kind) for index, kind in enumerate(kinds)]

    def isIn(self, node: Any) -> bool:
        return any(place.isIn(node) for place in self.places)

    def write(self, node: Any, value: Any) -> None:
        fitting = [place for place in self.places if place.takes(value)]
        if not fitting:
            raise TypeError(f"Unable to write value '{value}' of type '{type(value)}'")
        with slicer.util.NodeModify(node):
            for place in self.places:
                place.remove(node)
            if value is None:
                node.SetParameter(fitting[0].name, "")
            else:
                fitting[0].write(node, value)

    def read(self, node: Any) -> Any:
        return next((place.read(node) for place in self.places if place.isIn(node)), None)


def _parameter(name: str, hint: Any, default: Any) -> Any:
    kind, *checks = typing.get_args(hint) if hasattr(hint, "__metadata__") else (hint,)
    if typing.get_origin(kind) is typing.Union:
        return _OneOfNodes(name, typing.get_args(kind))
    if issubclass(kind, slicer.vtkMRMLNode):
        return _Node(name, kind)
    if kind in (int, float, str, bool):
        return _Plain(name, kind, tuple(checks), default)
    raise RuntimeError(f"Unable to create serializer for type: {kind}")


class _Stored:
    """A parameter of one node; its value is read again only when the node is modified."""

    def __init__(self, parameter: Any, node: Any) -> None:
        self._parameter, self._node, self._writing = parameter, node, False
        self._value = self._readNode()
        itself = weakref.ref(self)
        self._tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: itself()._onModified())

    def __del__(self) -> None:
        self._node.RemoveObserver(self._tag)

    def _onModified(self) -> None:
        if not self._writing:
            self._value = self._readNode()

    def _readNode(self) -> Any:
        # Closing a scene empties the node; reading it afterwards writes the missing default.
        if not self._parameter.isIn(self._node):
            self._parameter.write(self._node, self._parameter.default)
        return self._parameter.read(self._node)

    def write(self, value: Any) -> None:
        self._writing = True
        try:
            with slicer.util.NodeModify(self._node):
                self._parameter.write(self._node, value)
                self._value = self._readNode()
        finally:
            self._writing = False

    def read(self) -> Any:
        return self._value


class _Connector:
    """A widget that shows a parameter.

    Args:
        signal: of the widget, for a change of its value.
        read, fill: from and to the widget.
    """

    def __init__(self, widget: Any, signal: str, read: Callable[[], Any], fill: Callable[[Any], None]) -> None:
        self._widget, self._signal, self._read, self._fill = widget, signal, read, fill
        self._callback: Optional[Callable[[], None]] = None

    def onChanged(self, callback: Optional[Callable[[], None]]) -> None:
        if not isValid(self._widget):
            raise ValueError(f"Trying to read attribute '{self._signal}' on a destroyed object")
        self._callback = callback
        if callback is None:
            getattr(self._widget, self._signal).disconnect(self._changed)
        else:
            getattr(self._widget, self._signal).connect(self._changed)

    def _changed(self, *_: Any) -> None:
        if self._callback:
            self._callback()

    def read(self) -> Any:
        return self._read()

    def fill(self, value: Any) -> None:
        if not isValid(self._widget):
            raise AttributeError("Trying to set a property on a destroyed object")
        self._fill(value)


def _connector(widget: Any, parameter: Any) -> _Connector:
    # Slicer accepts exactly these classes; subclasses are refused.
    shown = type(widget).__name__
    kind = getattr(parameter, "kind", None)
    if shown == "qMRMLNodeComboBox" and not isinstance(parameter, _Plain):
        kinds = getattr(parameter, "kinds", (kind,))
        widget.setProperty("nodeTypes", [made().GetClassName() for made in kinds])
        return _Connector(widget, "currentNodeChanged", widget.currentNode, widget.setCurrentNode)
    if shown == "QCheckBox" and kind is bool:
        return _Connector(widget, "stateChanged", widget.isChecked, widget.setChecked)
    if (shown, kind) in (("QSpinBox", int), ("QDoubleSpinBox", float), ("QDoubleSpinBox", int)):
        within = next(check for check in parameter.checks if isinstance(check, WithinRange))
        widget.setRange(within.minimum, within.maximum)
        return _Connector(widget, "valueChanged", widget.value, widget.setValue)
    if shown == "QLineEdit" and kind is str:
        return _Connector(
            widget, "textChanged", widget.text, lambda text: None if text == widget.text() else widget.setText(text)
        )
    if shown == "QComboBox" and isinstance(parameter, _Plain):
        choices = next((check.choices for check in parameter.checks if isinstance(check, Choice)), None)
        if choices is None:
            raise RuntimeError("ComboBoxToStringableConnector requires the Choice annotation to be used.")
        widget.clear()
        widget.addItems([str(choice) for choice in choices])
        return _Connector(
            widget,
            "currentIndexChanged",
            lambda: choices[widget.currentIndex()],
            lambda value: widget.setCurrentIndex(choices.index(value)),
        )
    raise RuntimeError(f"Unable to create GUI connector from '{parameter.name}' to widget type '{shown}'.")


class _Wrapper:
    """The members of every decorated class."""

    parameterNode: Any
    _stored: Dict[str, _Stored]

    def _begin(self, node: Any) -> None:
        self.parameterNode = node
        self._connected: Dict[int, Dict[str, _Connector]] = {}
        self._observers: Dict[int, int] = {}
        self._nextTag, self._filling = 0, False
        self._stored = {}
        for name, parameter in self.allParameters.items():  # type: ignore[attr-defined]
            if not parameter.isIn(node):
                parameter.write(node, parameter.default)
            self._stored[name] = _Stored(parameter, node)

    def _named(self, name: str) -> Any:
        if name not in self.allParameters:  # type: ignore[attr-defined]
            raise ValueError(f"Cannot find a param with the given name: {name}")
        return self.allParameters[name]  # type: ignore[attr-defined]

    def getValue(self, name: str) -> Any:
        self._named(name)
        return self._stored[name].read()

    def setValue(self, name: str, value: Any) -> None:
        self._named(name)
        self._stored[name].write(value)

    def connectParametersToGui(self, mapping: Dict[str, Any]) -> int:
        named = {name: (widget, self._named(name)) for name, widget in mapping.items()}
        connectors = {name: _connector(widget, parameter) for name, (widget, parameter) in named.items()}
        tag, self._nextTag = self._nextTag, self._nextTag + 1
        self._connected[tag] = connectors
        for name, connector in connectors.items():
            connector.fill(self.getValue(name))
            connector.onChanged(lambda name=name, connector=connector: self._take(name, connector))
        self._observers[tag] = self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._fillAll())
        return tag

    def disconnectGui(self, guiTag: int) -> None:
        # An unknown tag is ignored; a destroyed widget raises before the tag is removed.
        for connector in self._connected.get(guiTag, {}).values():
            connector.onChanged(None)
        self._connected.pop(guiTag, None)
        if guiTag in self._observers:
            self.RemoveObserver(self._observers.pop(guiTag))

    def _take(self, name: str, connector: _Connector) -> None:
        with slicer.util.NodeModify(self):
            if not self._filling:
                self.setValue(name, connector.read())

    def _fillAll(self) -> None:
        if self._filling:
            return
        self._filling = True
        try:
            with slicer.util.NodeModify(self):
                for connectors in self._connected.values():
                    for name, connector in connectors.items():
                        connector.fill(self.getValue(name))
        finally:
            self._filling = False

    def StartModify(self) -> Any:
        return self.parameterNode.StartModify()

    def EndModify(self, wasModified: Any) -> None:
        self.parameterNode.EndModify(wasModified)

    def AddObserver(self, event: Any, callback: Callable[..., None], priority: float = 0.0) -> int:
        return int(self.parameterNode.AddObserver(event, callback, priority))

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def Modified(self) -> None:
        self.parameterNode.Modified()


def parameterNodeWrapper(classtype: Optional[type] = None) -> Any:
    """The decorator, with or without parentheses: annotated names of the class become parameters."""
    return _wrapped if classtype is None else _wrapped(classtype)


def _wrapped(kind: type) -> type:
    hints = typing.get_type_hints(kind, include_extras=True)
    names: List[str] = list(hints)
    for name in RESERVED:
        if name in names or hasattr(kind, name):
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
    kind.allParameters = {name: _parameter(name, hints[name], getattr(kind, name, None)) for name in names}
    for name in names:
        setattr(
            kind,
            name,
            property(
                lambda self, name=name: self.getValue(name), lambda self, value, name=name: self.setValue(name, value)
            ),
        )
    kind.__init__ = _Wrapper._begin
    for name, function in vars(_Wrapper).items():
        if callable(function) and not name.startswith("__"):
            setattr(kind, name, function)
    return kind


def module() -> types.ModuleType:
    made = types.ModuleType("slicer.parameterNodeWrapper")
    made.Choice, made.WithinRange, made.parameterNodeWrapper = Choice, WithinRange, parameterNodeWrapper
    return made
