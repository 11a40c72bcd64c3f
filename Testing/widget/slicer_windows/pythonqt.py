"""Imitates the differences of PythonQt from PySide6, compared with PythonQt 4.1.0 in Slicer 5.12.3.

The product's code sees Qt objects as PythonQt shows them:

- a property is read and written without a call; a value of an enum is read as an int;
- any other name is a slot, a method or a signal, which cannot be overwritten, and new names cannot be added;
- constructors, slots and methods take no keywords: PySide6 would take those of a constructor for properties;
- `QTimer.singleShot` is not a property;
- reading anything of an object that C++ has destroyed raises a ValueError.

Where PythonQt lets a mistake pass, the stand-in does not:

- a name that `api_names.txt` does not list does not exist;
- a property takes values of its own type only, whereas PythonQt converts: 3 to "3", "yes" to True, 3.5 to 3, and the
  value of any enum to that of another;
- `connect` raises an error.  PythonQt only prints that a signal does not exist, and returns False; it notices when the
  signal is emitted that a slot cannot be called, or takes more arguments than the signal has.

All other code, including the tests, sees PySide6 as it is.
"""

from __future__ import annotations

import ast
import enum
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Set

from PySide6 import QtCore
from shiboken6 import isValid

from .connections import check_connection

#: Properties that PythonQt does not show.  It has no rule for them: in both versions, its lookForPropertyAndCache
#: (PythonQtClassInfo.cpp) compares the names with "QTimer" and "singleShot", which is a static method too.
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
    """The kind listed for a name of a class or its bases; empty if it is not listed.

    `listed_as` of a class names further bases, which it has in Slicer only.
    """
    for shown in (*getattr(kind, "listed_as", ()), *(base.__name__ for base in kind.__mro__)):
        entry = _LISTED.get(shown, {}).get(name)
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
    described = property_named(widget, name)
    if described is not None:
        if kind != "property":
            raise AttributeError(f"{shown}.{name} is a property, and not listed as one in api_names.txt")
        if described.isEnumType():
            return method()().value
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
        raise AttributeError(_why_not_writable(type(widget), name))
    if listed_kind(type(widget), name) != "property":
        raise AttributeError(f"{shown}.{name} is not listed as a property in api_names.txt")
    if not described.isWritable():
        raise AttributeError(f"Property '{name}' of {shown} object is not writable")
    if not (_is_enum_value(widget, described, value) if described.isEnumType() else _fits(described.typeName(), value)):
        raise AttributeError(
            f"Property '{name}' of type '{described.typeName()}' does not accept an object of type"
            f" {type(value).__name__} ({value!r})"
        )
    QtCore.QObject.setProperty(widget, name, value)


def _why_not_writable(kind: type, name: str) -> str:
    """PythonQt's words for a name that is not a property."""
    known = getattr(kind, name, None)
    if isinstance(known, (QtCore.Signal, QtCore.SignalInstance)):
        return f"Signal '{name}' can not be overwritten on {kind.__name__} object"
    if known is not None:
        return f"Slot '{name}' can not be overwritten on {kind.__name__} object"
    return f"'{name}' does not exist on {kind.__name__} and creating new attributes on C++ objects is not allowed"


def _fits(type_name: str, value: Any) -> bool:
    """Whether a value has the type of a property, other than an enum."""
    if isinstance(value, bool):
        return type_name == "bool"
    kinds = _PLAIN.get(type_name)
    return isinstance(value, kinds) if kinds else not isinstance(value, str)


def _is_enum_value(widget: QtCore.QObject, described: QtCore.QMetaProperty, value: Any) -> bool:
    """Whether a value is one for a property with an enum: a number, or one or more of the names, as in PythonQt."""
    if isinstance(value, enum.Enum):
        return isinstance(value, type(getattr(widget, described.name())()))
    if isinstance(value, str):
        names = described.enumerator()
        return bool((names.keysToValue if described.isFlagType() else names.keyToValue)(value)[1])
    return isinstance(value, int) and not isinstance(value, bool) and -(2**31) <= value < 2**31


def _refuse_keywords(name: str, keywords: Dict[str, Any]) -> None:
    if keywords:
        raise ValueError(f"Called {name}() with keyword arguments, but called slot does not support kwargs.")


class Slot:
    """A slot or method as in PythonQt: it takes no keywords, and its results are just as strict."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self._name = name
        self._function = function

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        _refuse_keywords(self._name, keywords)
        try:
            result = self._function(*[part.wrapped if isinstance(part, Handle) else part for part in arguments])
        except TypeError as error:
            if error.__traceback__ and error.__traceback__.tb_next:
                raise  # from within a Python function
            raise ValueError(f"Called {self._name}() with wrong arguments: {arguments}") from error
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

    def __new__(cls, *_arguments: Any, **keywords: Any) -> Any:
        if seen_by_product(1):
            _refuse_keywords(cls.__name__, keywords)
        return super().__new__(cls)

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


def dressed(kind: type) -> type:
    """A class of PySide6 with the behaviour of PythonQt, under the same name."""
    return type(kind.__name__, (PythonQtObject, kind), {"connect": PythonQtObject.connect})


class _Value:
    """Mixin for classes other than QObject: every name is a method, and only listed ones exist."""

    def __new__(cls, *_arguments: Any, **keywords: Any) -> Any:
        if seen_by_product(1):
            _refuse_keywords(cls.__name__, keywords)
        return super().__new__(cls)

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in _NAMED or not seen_by_product(1):
            return found
        if listed_kind(type(self), name) != "method":
            raise AttributeError(f"{type(self).__name__} has no attribute named '{name}' in api_names.txt")
        return Slot(name, found)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(_why_not_writable(type(self), name))


def dressed_value(kind: type) -> type:
    """The same for a class other than QObject, such as a table item."""
    return type(kind.__name__, (_Value, kind), {})
