"""What PythonQt does differently from PySide6: properties without a call, connect() on the object."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable

from PySide6 import QtCore
from shibokensupport import feature

#: The number of `from __feature__ import true_property`, without snake_case.
TRUE_PROPERTY = 0x02


def speak_pythonqt(module_names: Iterable[str]) -> None:
    """Switches `true_property` on for modules by name.

    The statement `from __feature__ import true_property` acts on the module that holds it; the
    product's files cannot hold it, so their names are entered here, before they are imported.
    """
    for name in module_names:
        feature.set_selection(TRUE_PROPERTY, name)


def speak_pyside(module_name: str) -> None:
    """Makes sure that a module sees PySide6 as it is; one that does not name PySide6 sees whatever came last."""
    feature.set_selection(0, module_name)


class PythonQtObject:
    """Mixed into every QObject class: what PythonQt adds to an object.

    PySide6 finds its own `connect` before an inherited one: each class repeats it in its own body.
    """

    #: Signals whose arguments Qt itself does not know: C++ signature -> name of the attribute here.
    own_signals: Dict[str, str] = {}

    @property
    def name(self) -> str:
        """PythonQt calls the object name so."""
        return self.property("objectName")

    def connect(self, signature: str, slot: Callable[..., Any]) -> bool:
        """As in PythonQt: the signal as text, the slot anything that can be called."""
        if signature in self.own_signals:
            getattr(self, self.own_signals[signature]).connect(slot)
            return True
        if QtCore.QObject.metaObject(self).indexOfSignal(signature) < 0:
            raise TypeError(f"{type(self).__name__} has no signal {signature}")
        return bool(QtCore.QObject.connect(self, QtCore.SIGNAL(signature), slot))


def dressed(kind: type) -> type:
    """A class of PySide6 with the manners of PythonQt, under the same name."""
    return type(kind.__name__, (PythonQtObject, kind), {"connect": PythonQtObject.connect})
