"""Lists of findings: a sentence each, with the icon that Qt has for its weight."""

from __future__ import annotations

from typing import Any, Iterable, Optional, Tuple

import qt
from slicer.i18n import tr as _

Finding = Tuple[Optional[str], str]


class FindingsList:
    """A list widget that is only there while it has something to say."""

    #: Beyond this height there is a scroll bar.
    MOST_PIXELS = 240

    def __init__(self, widget: Any) -> None:
        """Args:
        widget: a QListWidget.
        """
        self.widget = widget
        self.findings: list = []
        self.widget.wordWrap = True
        self.widget.iconSize = qt.QSize(16, 16)
        self.widget.focusPolicy = qt.Qt.NoFocus
        self.widget.horizontalScrollBarPolicy = qt.Qt.ScrollBarAlwaysOff
        self._timer = qt.QTimer()
        self._timer.singleShot = True
        self._timer.connect("timeout()", self._fit)
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
        for verdict, sentence in self.findings:
            kind, meaning = icons.get(verdict, note)
            words = sentence[:1].upper() + sentence[1:]
            item = qt.QListWidgetItem(self.widget.style().standardIcon(kind), words)
            item.setToolTip(meaning)
            self.widget.addItem(item)
        self.widget.visible = bool(self.findings)
        # Long sentences wrap: their height is known once the list has its width.
        self._timer.start()

    def cleanup(self) -> None:
        """The widget is about to go."""
        self._timer.stop()

    def _fit(self) -> None:
        if not self.findings:
            return
        self.widget.doItemsLayout()
        last = self.widget.visualItemRect(self.widget.item(len(self.findings) - 1))
        self.widget.setFixedHeight(min(last.bottom() + 1, self.MOST_PIXELS) + 2 * self.widget.frameWidth)
