"""Callbacks for progress and cancellation; the core does not depend on any user interface."""

from __future__ import annotations

from typing import Callable

from .errors import Cancelled

#: Called with the fraction done (0 to 1) and the name of the stage.
Progress = Callable[[float, str], None]
#: Returns True once the work should stop.
CancelCheck = Callable[[], bool]


def silent(share: float, stage: str) -> None:
    """A :data:`Progress` that does nothing."""


def never_cancelled() -> bool:
    """A :data:`CancelCheck` that never cancels."""
    return False


def raise_if_cancelled(cancelled: CancelCheck) -> None:
    """Raises :class:`~lvnet.errors.Cancelled` if the work should stop."""
    if cancelled():
        raise Cancelled
