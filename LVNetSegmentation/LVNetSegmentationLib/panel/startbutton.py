"""A button that starts something and, for as long as that runs, cancels it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from slicer.i18n import tr as _

if TYPE_CHECKING:
    from ..interfaces import QPushButton


class Startable(Protocol):
    """What a button can start and cancel."""

    cancelling: bool

    @property
    def running(self) -> bool:
        """Whether a click cancels."""

    def reasonAgainst(self) -> str:
        """Why it cannot be started now; empty if it can."""

    def startOnceReady(self) -> None:
        """Starts, if nothing prevents it."""

    def cancel(self) -> None:
        """Requests cancellation."""


class StartButton:
    """Shows what a click does, or why the button is disabled."""

    def __init__(self, button: QPushButton, section: Startable, text: str, toolTip: str, toolTipOfCancel: str) -> None:
        """A button for a section of the panel.

        Args:
            button: starts and cancels.
            section: the section that it starts.
            text: on the button while nothing runs.
            toolTip: while it can be clicked to start.
            toolTipOfCancel: while it cancels.
        """
        self._button = button
        self._section = section
        self._text = text
        self._toolTip = toolTip
        self._toolTipOfCancel = toolTipOfCancel
        button.connect("clicked(bool)", self._onClicked)

    def refresh(self) -> None:
        """Shows what a click would do now."""
        button, section = self._button, self._section
        if section.running:
            button.text = _("Cancelling...") if section.cancelling else _("Cancel")
            button.enabled = not section.cancelling
            button.toolTip = self._toolTipOfCancel
            return
        reason = section.reasonAgainst()
        button.text = self._text
        button.enabled = not reason
        button.toolTip = reason or self._toolTip

    def _onClicked(self, _checked: bool = False) -> None:
        if self._section.running:
            self._section.cancel()
        else:
            self._section.startOnceReady()
