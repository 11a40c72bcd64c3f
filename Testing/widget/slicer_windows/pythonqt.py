"""Imitates the differences of PythonQt from PySide6, as strictly as PythonQt itself.

The product's code sees Qt objects as PythonQt shows them:

- a property is read and written without a call, and accepts values of its own type only;
- any other name is a slot or a method, which can be neither overwritten nor called with keywords;
- `QTimer.singleShot` is not a property (PythonQt hides it, because a static slot has the same name);
- nothing else exists: neither what PySide6 adds, nor a name that `api_names.txt` does not list;
- reading anything of an object that C++ has destroyed raises a ValueError.

All other code, including the tests, sees PySide6 as it is.
"""

from __future__ import annotations

import ast
import enum
import inspect
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Set

from PySide6 import QtCore
from shiboken6 import isValid

#: Properties that PythonQt does not show: PythonQtClassInfo::lookForPropertyAndCache.
HIDDEN_PROPERTIES = {("QTimer", "singleShot")}
_PLAIN = {"bool": (bool,), "int": (int,), "double": (int, float), "QString": (str,), "QStringList": (list, tuple)}


class Entry(NamedTuple):
    """A line of `api_names.txt`."""

    owner: str
    name: str
    kind: str
    in_5_8: str
    in_5_12: str


def api_entries() -> List[Entry]:
    """The list of checked names."""
    lines = (Path(__file__).parents[1] / "api_names.txt").read_text(encoding="utf-8").splitlines()
    return [Entry(*line.split("\t")) for line in lines if line and not line.startswith("#")]


def _names_by_class() -> Dict[str, Dict[str, str]]:
    found: Dict[str, Dict[str, str]] = {}
    for entry in api_entries():
        owner = entry.owner.rpartition(".")[2]
        found.setdefault(owner, {})[entry.name.split("(")[0].split(" ")[0]] = entry.kind
    return found


def _names_in_product() -> Set[str]:
    """Every attribute name in the product's code; only Qt itself accesses others."""
    folder = Path(__file__).parents[3] / "LVNetSegmentation"
    files = [folder / "LVNetSegmentation.py", *(folder / "LVNetSegmentationLib").rglob("*.py")]
    trees = (ast.parse(file.read_text(encoding="utf-8")) for file in files)
    return {node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


_LISTED = _names_by_class()
_NAMED = _names_in_product()


def seen_by_product(depth: int) -> bool:
    """Whether the calling code belongs to the product."""
    name = str(sys._getframe(depth + 1).f_globals.get("__name__", ""))
    return name.split(".")[0] in ("LVNetSegmentation", "LVNetSegmentationLib")


def listed_kind(kind: type, name: str) -> str:
    """The kind listed for a name of a class or its bases; empty if it is not listed."""
    for base in kind.__mro__:
        entry = _LISTED.get(base.__name__, {}).get(name)
        if entry:
            return entry
    return ""


def property_named(widget: QtCore.QObject, name: str) -> Any:
    """Qt's description of a property that PythonQt shows, or None."""
    if any((base.__name__, name) in HIDDEN_PROPERTIES for base in type(widget).__mro__):
        return None
    meta = QtCore.QObject.metaObject(widget)
    index = meta.indexOfProperty("objectName" if name == "name" else name)
    return meta.property(index) if index >= 0 else None


def read(widget: Any, name: str, method: Callable[[], Any]) -> Any:
    """What PythonQt returns for `widget.name`.

    Args:
        method: returns PySide6's attribute of that name.
    """
    shown = type(widget).__name__
    if not isValid(widget):
        raise ValueError(f"Trying to read {name!r} on a destroyed {shown} object")
    kind = listed_kind(type(widget), name)
    if property_named(widget, name) is not None:
        if kind != "property":
            raise AttributeError(f"{shown}.{name} is a property, and not listed as one in api_names.txt")
        return QtCore.QObject.property(widget, "objectName" if name == "name" else name)
    if kind not in ("slot", "method"):
        raise AttributeError(f"{shown} has no attribute named '{name}' (in api_names.txt: {kind or 'not listed'})")
    return Slot(name, method())


def write(widget: Any, name: str, value: Any) -> None:
    """What PythonQt does on `widget.name = value`."""
    shown = type(widget).__name__
    if not isValid(widget):
        raise AttributeError(f"Trying to set property '{name}' on a destroyed {shown} object")
    described = property_named(widget, name)
    if described is None:
        known = QtCore.QObject.metaObject(widget)
        slots = {bytes(known.method(index).name()).decode() for index in range(known.methodCount())}
        if name in slots or hasattr(type(widget), name):
            raise AttributeError(f"Slot '{name}' can not be overwritten on {shown} object")
        raise AttributeError(f"Attribute '{name}' does not exist on {shown} and creating new attributes is not allowed")
    if listed_kind(type(widget), name) != "property":
        raise AttributeError(f"{shown}.{name} is not listed as a property in api_names.txt")
    if not described.isWritable():
        raise AttributeError(f"Property '{name}' of {shown} object is not writable")
    kinds = _PLAIN.get(described.typeName())
    fits = isinstance(value, kinds) if kinds else not isinstance(value, str)
    if described.typeName() != "bool" and isinstance(value, bool):
        fits = False
    if described.isEnumType():
        fits = isinstance(value, (enum.Enum, int))
    if not fits:
        raise AttributeError(
            f"Property '{name}' of type '{described.typeName()}' does not accept an object of type"
            f" {type(value).__name__} ({value})"
        )
    QtCore.QObject.setProperty(widget, name, value)


class Slot:
    """A slot or method as in PythonQt: it takes no keywords, and its results are just as strict."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self._name = name
        self._function = function

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        if keywords:
            raise TypeError(f"{self._name}() takes no keyword arguments: PythonQt would leave {list(keywords)} out")
        result = self._function(*[part.wrapped if isinstance(part, Handle) else part for part in arguments])
        undressed = isinstance(result, QtCore.QObject) and not isinstance(result, PythonQtObject)
        return Handle(result) if undressed else result


class Handle:
    """An object created by Qt itself, such as a style or a header, as PythonQt shows it."""

    def __init__(self, wrapped: QtCore.QObject) -> None:
        object.__setattr__(self, "wrapped", wrapped)

    def __getattr__(self, name: str) -> Any:
        wrapped = object.__getattribute__(self, "wrapped")
        return read(wrapped, name, lambda: getattr(wrapped, name))

    def __setattr__(self, name: str, value: Any) -> None:
        write(self.wrapped, name, value)


class PythonQtObject:
    """Mixin that gives a QObject class the behaviour of PythonQt.

    PySide6 finds its own `connect` before an inherited one, so every class has to assign it in its own body.
    """

    #: Signals with arguments unknown to Qt itself: C++ signature -> attribute of this class.
    own_signals: Dict[str, str] = {}

    def __getattribute__(self, name: str) -> Any:
        if name not in _NAMED or not seen_by_product(1):
            return super().__getattribute__(name)
        return read(self, name, lambda: super(PythonQtObject, self).__getattribute__(name))

    def __setattr__(self, name: str, value: Any) -> None:
        if seen_by_product(1):
            write(self, name, value)
        else:
            super().__setattr__(name, value)

    @property
    def name(self) -> str:
        """PythonQt's name for `objectName`."""
        return self.property("objectName")

    def connect(self, signature: str, slot: Callable[..., Any]) -> bool:
        """As in PythonQt: the signal is a string with its argument types, the slot any callable."""
        check_connection(self, signature, slot)
        if signature in self.own_signals:
            getattr(self, self.own_signals[signature]).connect(slot)
            return True
        return bool(QtCore.QObject.connect(self, QtCore.SIGNAL(signature), slot))


def check_connection(sender: Any, signature: str, slot: Callable[..., Any]) -> None:
    """Raises if the signal does not exist with exactly these arguments, or the slot cannot take them."""
    meta = QtCore.QObject.metaObject(sender)
    if signature not in sender.own_signals and meta.indexOfSignal(signature) < 0:
        raise TypeError(f"{type(sender).__name__} has no signal {signature}")
    inside = signature[signature.index("(") + 1 : -1]
    offered = len(inside.split(",")) if inside else 0
    if not callable(slot):
        raise TypeError(f"{slot!r} cannot be called")
    try:
        parameters = inspect.signature(slot).parameters.values()
    except ValueError:  # C functions have no signature
        return
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = sum(p.kind in positional and p.default is p.empty for p in parameters)
    if needed > offered:
        raise TypeError(f"{signature} gives {offered} arguments, and {slot} needs {needed}")


def dressed(kind: type) -> type:
    """A class of PySide6 with the behaviour of PythonQt, under the same name."""
    return type(kind.__name__, (PythonQtObject, kind), {"connect": PythonQtObject.connect})


class _Value:
    """Mixin for classes other than QObject: every name is a method, and only listed ones exist."""

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in _NAMED or not seen_by_product(1):
            return found
        if listed_kind(type(self), name) != "method":
            raise AttributeError(f"{type(self).__name__} has no attribute named '{name}' in api_names.txt")
        return Slot(name, found)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"'{name}' can not be overwritten on {type(self).__name__} object")


def dressed_value(kind: type) -> type:
    """The same for a class other than QObject, such as a table item."""
    return type(kind.__name__, (_Value, kind), {})
