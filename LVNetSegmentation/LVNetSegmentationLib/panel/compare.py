"""The section `Compare with a reference`: the five metrics of a segmentation."""

from __future__ import annotations

from typing import Any, List, Optional, Tuple

import qt
import slicer
from lvnet.errors import LVNetError
from lvnet.metrics import PRESETS
from slicer.i18n import tr as _

from .segments import SegmentChooser
from .wording import number


class CompareSection:
    """Two segmentations in, a table out."""

    def __init__(self, ui: Any, logic: Any, panel: Any) -> None:
        """Args:
        ui: the widgets of the panel by name.
        logic: the module's logic.
        panel: the panel.Panel that this is part of.
        """
        self._ui = ui
        self._logic = logic
        self._panel = panel
        self._result: Optional[dict] = None
        self._compared = SegmentChooser(ui.comparedSegmentComboBox)
        self._reference = SegmentChooser(ui.referenceSegmentComboBox)
        table = ui.metricsTableWidget
        table.columnCount = 2
        table.setHorizontalHeaderLabels([_("Measure"), _("Value")])
        table.visible = False
        ui.compareStatusLabel.visible = False
        ui.compareButton.connect("clicked(bool)", self._onCompare)
        ui.exportCsvButton.connect("clicked(bool)", self._onExport)
        ui.copyButton.connect("clicked(bool)", self._onCopy)

    def refresh(self) -> None:
        """Shows what the parameters say, and which buttons can be clicked."""
        parameters = self._panel.parameters
        compared = None if parameters is None else parameters.comparedNode
        reference = None if parameters is None else parameters.referenceNode
        self._compared.offer(compared)
        self._reference.offer(reference)
        if parameters is not None:
            self._ui.presetComboBox.toolTip = PRESETS[parameters.preset].summary
        reason = ""
        if compared is None:
            reason = _("Choose the segmentation that is to be judged.")
        elif reference is None:
            reason = _("Choose a reference.")
        elif self._compared.count() == 0 or self._reference.count() == 0:
            reason = _("One of the two holds no segment.")
        elif compared is reference and self._compared.chosen() == self._reference.chosen():
            reason = _("Choose a reference other than the segmentation itself.")
        self._ui.compareButton.enabled = not reason
        self._ui.compareButton.toolTip = reason or _("Compute DICE, VOE, RVD, ASSD, MSSD and the volumes.")
        self._ui.copyButton.enabled = self._result is not None
        self._ui.exportCsvButton.enabled = parameters is not None and parameters.metricsTable is not None

    def _onCompare(self, _checked: bool = False) -> None:
        parameters = self._panel.parameters
        try:
            with slicer.util.WaitCursor():
                self._result, parameters.metricsTable = self._logic.evaluate(
                    parameters.comparedNode,
                    parameters.referenceNode,
                    segment=self._compared.chosen(),
                    referenceSegment=self._reference.chosen(),
                    preset=parameters.preset,
                    tableNode=parameters.metricsTable,
                )
        except LVNetError as error:
            self._result = None
            self._tell(str(error))
            self._panel.log.say(_("The comparison failed: {reason}").format(reason=error))
        else:
            self._tell("\n".join(self._result.get("notes") or []))
            self._panel.log.say(_("Compared: DICE {dice}").format(dice=number(self._result.get("dice"), 4)))
        self._show()
        self._panel.refresh()

    def _show(self) -> None:
        rows = [] if self._result is None else rowsOf(self._result)
        table = self._ui.metricsTableWidget
        table.rowCount = len(rows)
        for index, (name, text, why) in enumerate(rows):
            for column, words in enumerate((name, text)):
                item = qt.QTableWidgetItem(words)
                item.setToolTip(why)
                table.setItem(index, column, item)
        table.resizeColumnToContents(0)
        table.resizeRowsToContents()
        height = table.horizontalHeader().height + sum(table.rowHeight(index) for index in range(len(rows)))
        table.setFixedHeight(height + 2 * table.frameWidth)
        table.visible = bool(rows)

    def _onCopy(self, _checked: bool = False) -> None:
        lines = [f"{name}\t{text}" for name, text, _why in rowsOf(self._result)]
        slicer.app.clipboard().setText("\n".join(lines))
        self._panel.log.say(_("The numbers are on the clipboard"))

    def _onExport(self, _checked: bool = False) -> None:
        tableNode = self._panel.parameters.metricsTable
        path = qt.QFileDialog.getSaveFileName(
            self._ui.compareCollapsibleButton, _("Export CSV"), f"{tableNode.GetName()}.csv", "CSV (*.csv)"
        )
        if not path:
            return
        try:
            self._logic.exportTableToCsv(tableNode, path)
        except LVNetError as error:
            self._tell(str(error))
        else:
            self._tell(_("Written: {path}").format(path=path))
            self._panel.log.say(_("Written: {path}").format(path=path))

    def _tell(self, line: str) -> None:
        self._ui.compareStatusLabel.text = line
        self._ui.compareStatusLabel.visible = bool(line)

    def forget(self) -> None:
        """The scene is closed: its numbers go with it."""
        self._result = None
        self._tell("")
        self._show()


def rowsOf(result: dict) -> List[Tuple[str, str, str]]:
    """What the table of the panel shows: name, value in words, and why there is no value."""
    percent = result.get("preset") == "chaos"
    rows = [
        ("DICE", "dice", 4, ""),
        ("VOE", "voe", 4, ""),
        ("RVD", "rvd", 2 if percent else 4, "%" if percent else ""),
        ("ASSD", "assd_mm", 2, "mm"),
        ("MSSD", "mssd_mm", 2, "mm"),
        (_("Volume"), "prediction_ml", 1, "ml"),
        (_("Reference volume"), "reference_ml", 1, "ml"),
    ]
    return [
        (name, number(result.get(key), decimals, unit), result.get(f"{key}_reason", ""))
        for name, key, decimals, unit in rows
    ]
