"""The log at the foot of the panel."""

from __future__ import annotations

import time
from typing import Any


class LogSection:
    """What happened since the panel was opened, with the time of day."""

    def __init__(self, ui: Any) -> None:
        self._text = ui.logTextEdit

    def say(self, line: str) -> None:
        self._text.appendPlainText(f"{time.strftime('%H:%M:%S')}  {line}")
