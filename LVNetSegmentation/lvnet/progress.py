"""How long work reports and stops; nothing else in the core knows about bars or buttons."""

from __future__ import annotations

from typing import Callable

from .errors import Cancelled

#: Called with the share that is done (0 to 1) and the stage in words.
Progress = Callable[[float, str], None]
#: Answers True once the work should stop.
CancelCheck = Callable[[], bool]


def silent(share: float, stage: str) -> None:
    """A :data:`Progress` that says nothing."""


def never_cancelled() -> bool:
    """A :data:`CancelCheck` that lets the work run to its end."""
    return False


def raise_if_cancelled(cancelled: CancelCheck) -> None:
    """Raises :class:`~lvnet.errors.Cancelled` when the work should stop."""
    if cancelled():
        raise Cancelled
