"""Metadata of a setting besides its default: its check, and its flag and help text on the command line."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Callable, Optional

#: Returns what is wrong with a value, as a phrase that follows the setting's name; None if it is valid.
Problem = Callable[[Any], Optional[str]]

# Longer than the longest path on any system.
_LONGEST_TEXT = 32768


@dataclass(frozen=True)
class Setting:
    """One setting of :class:`~lvnet.pipeline.options.SegmentOptions`.

    Attributes:
        problem: checks a value.
        help: help text on the command line.
        kind: float, int, str or bool.
        label: its name in messages.
        flag: the command line's flag; for a bool, the flag that switches it off.
        metavar: placeholder for the value in the help text.
        changes_results: whether the value affects results.
    """

    problem: Problem
    help: str
    kind: type
    label: str
    flag: str
    metavar: Optional[str] = None
    changes_results: bool = True


def setting(default: Any, known: Setting) -> Any:
    """A field of a dataclass with its default and its :class:`Setting`."""
    return dataclasses.field(default=default, metadata={"setting": known})


def number_within(low: float, high: float, words: str) -> Problem:
    """A check for a real number.

    Args:
        low: the minimum.
        high: the maximum.
        words: the phrase of the message, up to the given value.
    """

    def problem(value: Any) -> Optional[str]:
        real = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        return None if real and low <= value <= high else f"{words}, not {shown(value)}"

    return problem


def count_within(low: int, high: int, words: str) -> Problem:
    """A check for a whole number, or None; see :func:`number_within`."""

    def problem(value: Any) -> Optional[str]:
        fits = value is None or (type(value) is int and low <= value <= high)
        return None if fits else f"{words}, not {shown(value)}"

    return problem


def text(words: str, *, optional: bool) -> Problem:
    """A check for a path or a name: a text, not empty, no null character; see :func:`number_within`."""

    def problem(value: Any) -> Optional[str]:
        return None if (value is None and optional) or is_text(value) else f"{words}, not {shown(value)}"

    return problem


def yes_or_no(value: Any) -> Optional[str]:
    """A check for a bool."""
    return None if isinstance(value, bool) else f"must be true or false, not {shown(value)}"


def is_text(value: Any) -> bool:
    """Whether a value is a text that an operating system accepts as a file name."""
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_TEXT or "\0" in value:
        return False
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # an unpaired surrogate
        return False
    return True


def shown(value: Any) -> str:
    """Any value, formatted for a message: ASCII on one line, shortened if it is long."""
    said = ascii(value)
    return said if len(said) <= 60 else said[:60] + "..."
