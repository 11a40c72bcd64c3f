"""Which connections of a signal with a Python function work in PythonQt."""

from __future__ import annotations

import inspect
from typing import Any, Callable

from PySide6 import QtCore


def check_connection(sender: Any, signature: str, slot: Callable[..., Any]) -> None:
    """Raises if the signal does not exist with exactly these arguments, or the slot cannot take them."""
    meta = QtCore.QObject.metaObject(sender)
    if signature not in sender.own_signals and meta.indexOfSignal(signature) < 0:
        raise TypeError(f"{type(sender).__name__} has no signal {signature}")
    inside = signature[signature.index("(") + 1 : -1]
    given = len(inside.split(",")) if inside else 0
    if not callable(slot):
        raise TypeError(f"{slot!r} cannot be called")
    try:
        taken = inspect.signature(slot)
    except ValueError:  # C functions have no signature
        return
    kinds = [parameter.kind for parameter in taken.parameters.values()]
    if (inspect.isfunction(slot) or inspect.ismethod(slot)) and inspect.Parameter.VAR_POSITIONAL not in kinds:
        # PythonQt leaves out the last arguments for functions and methods that take fewer, and for nothing else.
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        given = min(given, sum(kind in positional for kind in kinds))
    try:
        taken.bind(*[None] * given)
    except TypeError as error:
        raise TypeError(f"{slot} cannot be called with the arguments of {signature}: {error}") from None
