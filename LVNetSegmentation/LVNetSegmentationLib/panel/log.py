"""The log at the bottom of the panel."""

from __future__ import annotations

import time

from .context import Widgets


class LogSection:
    """Lists what happened since the panel was opened, with the time of day."""

    def __init__(self, ui: Widgets) -> None:
        self._text = ui.logTextEdit

    def add(self, line: str) -> None:
        self._text.appendPlainText(f"{time.strftime('%H:%M:%S')}  {line}")
