"""Shows findings: one sentence each, with an icon for its severity."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Iterable, List, Optional, Tuple

from .wording import sentence

if TYPE_CHECKING:
    from ..interfaces import QLabel

Finding = Tuple[Optional[str], str]

#: Icon and colour by verdict, the most severe first; the colours are legible on light and dark.
_SIGNS = {
    "wrong": ("&#10006;", "#d9534f"),
    "look": ("&#9888;", "#c98a00"),
    None: ("&#8226;", "#808080"),
    "ok": ("&#10004;", "#3c9d4e"),
}


class FindingsLabel:
    """A label that is visible only while there are findings.

    Not a list widget, because Qt gives a label the height that its lines need at any width.
    """

    def __init__(self, label: QLabel) -> None:
        """Args:
        label: with rich text and word wrap.
        """
        self._label = label
        self.findings: List[Finding] = []
        self.show([])

    def show(self, findings: Iterable[Finding]) -> None:
        """Replaces the findings; the most severe come first.

        Args:
            findings: pairs of a verdict (`ok`, `look`, `wrong` or None) and a sentence.
        """
        order = list(_SIGNS)
        known = [(verdict if verdict in _SIGNS else None, sentence(words)) for verdict, words in findings]
        self.findings = sorted(known, key=lambda finding: order.index(finding[0]))
        rows = "".join(_row(verdict, words) for verdict, words in self.findings)
        self._label.text = f"<table cellspacing='2'>{rows}</table>"
        self._label.visible = bool(self.findings)


def _row(verdict: Optional[str], words: str) -> str:
    sign, colour = _SIGNS[verdict]
    # A name in a sentence may contain any character.
    return f"<tr><td style='color:{colour}'>{sign}&nbsp;</td><td>{html.escape(words)}</td></tr>"
