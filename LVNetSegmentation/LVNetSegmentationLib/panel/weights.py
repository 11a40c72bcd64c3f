"""The chooser for the weights, with a description of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Optional

from lvnet.errors import LVNetError
from slicer.i18n import tr as _

from .wording import sentence

if TYPE_CHECKING:
    from ..interfaces import Json, QLabel, ctkPathLineEdit


class WeightsChooser:
    """A path, empty for the bundled weights, and a line that says what they segment."""

    def __init__(self, pathLineEdit: ctkPathLineEdit, infoLabel: QLabel, read: Callable[[Optional[str]], Json]) -> None:
        """Args:
        pathLineEdit: for the file.
        infoLabel: for the description.
        read: returns the metadata of a checkpoint, or raises an LVNetError; None stands for the bundled one.
        """
        self._edit = pathLineEdit
        self._label = infoLabel
        self._read = read
        self._described: Optional[str] = None
        #: Why these weights cannot be used; empty if they can.
        self.problem = ""

    def chosen(self) -> Optional[str]:
        """The chosen file; None for the bundled one."""
        return self._edit.currentPath.strip() or None

    def choose(self, path: str) -> None:
        if path != self._edit.currentPath:
            self._edit.currentPath = path

    def describe(self) -> None:
        """Reads the chosen checkpoint if it has changed."""
        path = self.chosen()
        if self._described == (path or ""):
            return
        self._described = path or ""
        try:
            facts = self._read(path)
            start = _("Bundled weights: {summary}") if path is None else _("These weights: {summary}")
            self._label.text = start.format(summary=facts["summary"])
            self._label.toolTip = facts.get("licence") or ""
            self.problem = ""
        except LVNetError as error:
            self._label.text = self.problem = sentence(str(error))

    def remember(self) -> None:
        """Adds the chosen file to the history of the path."""
        if self.chosen():
            self._edit.addCurrentPathToHistory()
