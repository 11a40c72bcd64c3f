"""Checking values from a file against the field types of a dataclass."""

from __future__ import annotations

import collections.abc
import math
import typing
from dataclasses import fields, is_dataclass
from typing import Any, Dict, Mapping, Tuple, Type, TypeVar

T = TypeVar("T")

_hints: Dict[type, Dict[str, Any]] = {}


def build(kind: Type[T], data: Mapping[str, Any]) -> T:
    """A dataclass from JSON or YAML; lists become tuples, and mappings the dataclasses that are declared.

    Raises:
        ValueError: as :func:`check_fields` says.
    """
    hints = _hints_of(kind)
    made = {name: _made(value, hints.get(name, Any)) for name, value in data.items()}
    check_fields(kind, made)
    return kind(**made)


def _made(value: Any, wanted: Any) -> Any:
    inner: Any = next((choice for choice in (wanted, *typing.get_args(wanted)) if is_dataclass(choice)), None)
    if isinstance(value, list):
        return tuple(_made(part, inner) for part in value)
    return build(inner, value) if isinstance(value, Mapping) and inner is not None else value


def _hints_of(kind: type) -> Dict[str, Any]:
    if kind not in _hints:
        _hints[kind] = typing.get_type_hints(kind)
    return _hints[kind]


def check_fields(kind: Type[Any], data: Mapping[str, Any]) -> None:
    """Checks values against the annotations of a dataclass; lists are accepted as tuples, integers as floats.

    Args:
        kind: a dataclass.
        data: values by field name, from JSON or YAML.

    Raises:
        ValueError: a field is unknown, has another type than declared, or is a number that is not finite.
    """
    known = sorted(field.name for field in fields(kind))
    hints = _hints_of(kind)
    for name, value in data.items():
        if name not in known:
            raise ValueError(f"unknown setting {name!r}; {kind.__name__} takes {', '.join(known)}")
        if not _fits(value, hints[name]):
            shown = repr(value)
            raise ValueError(f"{name} cannot be {shown if len(shown) <= 60 else shown[:60] + '...'}")


def _fits(value: Any, wanted: Any) -> bool:
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if wanted is Any:
        return True
    if origin is typing.Union:
        return any(_fits(value, choice) for choice in inner)
    if origin is tuple:
        return isinstance(value, (list, tuple)) and _fits_tuple(value, inner)
    if origin in (dict, collections.abc.Mapping):
        return isinstance(value, Mapping) and all(_fits(k, inner[0]) and _fits(v, inner[1]) for k, v in value.items())
    if wanted in (int, float):
        kinds = int if wanted is int else (int, float)
        return isinstance(value, kinds) and not isinstance(value, bool) and abs(value) <= 1e18 and math.isfinite(value)
    return isinstance(value, wanted)


def _fits_tuple(values: Any, inner: Tuple[Any, ...]) -> bool:
    if len(inner) == 2 and inner[1] is Ellipsis:
        return all(_fits(value, inner[0]) for value in values)
    return len(values) == len(inner) and all(_fits(value, kind) for value, kind in zip(values, inner))
