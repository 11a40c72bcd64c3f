"""Lists of findings: a sentence each, with the icon that Qt has for its weight."""

from __future__ import annotations

from typing import Any, Iterable, Optional, Tuple

import qt
from slicer.i18n import tr as _

from .wording import sentence

Finding = Tuple[Optional[str], str]


class FindingsList:
    """A list widget that is only there while it has something to say.

    How it wraps its lines and takes the height that they need stands in the .ui file.
    """

    def __init__(self, widget: Any) -> None:
        """Args:
        widget: a QListWidget.
        """
        self.widget = widget
        self.findings: list = []
        self.show([])

    def show(self, findings: Iterable[Finding]) -> None:
        """Replaces what is shown, the gravest first.

        Args:
            findings: pairs of a verdict (`ok`, `look`, `wrong` or None) and a sentence.
        """
        order = {"wrong": 0, "look": 1, None: 2, "ok": 3}
        self.findings = sorted(findings, key=lambda finding: order.get(finding[0], 2))
        self.widget.clear()
        icons = {
            "ok": (qt.QStyle.SP_DialogApplyButton, _("In order")),
            "look": (qt.QStyle.SP_MessageBoxWarning, _("Have a look")),
            "wrong": (qt.QStyle.SP_MessageBoxCritical, _("Probably wrong")),
        }
        note = (qt.QStyle.SP_MessageBoxInformation, _("Note"))
        for verdict, words in self.findings:
            kind, meaning = icons.get(verdict, note)
            item = qt.QListWidgetItem(self.widget.style().standardIcon(kind), sentence(words))
            item.setToolTip(meaning)
            self.widget.addItem(item)
        self.widget.visible = bool(self.findings)
