"""The section `Compare with a reference`: the five metrics of a segmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, List, Optional, Tuple

import qt
import slicer
from lvnet.errors import LVNetError
from lvnet.evaluation.reference_sets import REFERENCE_SETS
from lvnet.metrics import PRESETS
from slicer.i18n import tr as _

from .context import PanelContext, Widgets
from .segments import SegmentChooser
from .wording import number, sentence

if TYPE_CHECKING:
    from lvnet.worker.client.job import Job

    from ..interfaces import Json
    from ..logic import LVNetSegmentationLogic

#: What each preset matches.
_MATCHES = {
    "lits": _("LiTS challenge"),
    "chaos": _("CHAOS challenge"),
    "medpy": _("MedPy library"),
    "surfel": _("surface-distance library (DeepMind)"),
}
#: How to interpret the label values of a reference: by its own names, or by the numbers of a public data set.
_DATA_SETS = {
    "": _("By name"),
    "lits": "LiTS",
    "msd": "Medical Segmentation Decathlon",
    "btcv": "BTCV",
    "synapse": "Synapse",
    "totalsegmentator": "TotalSegmentator",
    "totalsegmentator-v1": "TotalSegmentator v1",
    "amos": "AMOS",
    "flare": "FLARE22",
    "word": "WORD",
    "chaos": "CHAOS",
    "ircadb": "3D-IRCADb",
}


class CompareSection:
    """Compares two segmentations and shows the metrics in a table."""

    def __init__(self, ui: Widgets, logic: LVNetSegmentationLogic, panel: PanelContext) -> None:
        """Args:
        ui: the widgets of the panel by name.
        logic: the module's logic.
        panel: the panel around this section.
        """
        self._ui = ui
        self._logic = logic
        self._panel = panel
        self._result: Optional[Json] = None
        self._job: Optional[Job] = None
        for name in PRESETS:
            ui.presetComboBox.addItem(_MATCHES.get(name, name))
        ui.presetComboBox.connect("activated(int)", self._onPreset)
        self._dataSets = ["", *REFERENCE_SETS]
        for name in self._dataSets:
            ui.referenceSetComboBox.addItem(_DATA_SETS.get(name, name))
        ui.referenceSetComboBox.connect("activated(int)", self._onDataSet)
        for box in (ui.comparedSegmentComboBox, ui.referenceSegmentComboBox):
            box.connect("activated(int)", self._onSegment)
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
        """Updates the widgets from the parameters, and enables the buttons that can be clicked."""
        parameters = self._panel.parameters
        compared = None if parameters is None else parameters.comparedNode
        reference = None if parameters is None else parameters.referenceNode
        self._compared.offer(compared)
        dataSet = "" if parameters is None else parameters.referenceSet
        # A scene may name a data set that only another version knows.
        dataSet = dataSet if dataSet in self._dataSets else ""
        self._reference.offer(reference, dataSet, self._compared.organ())
        self._showDataSet(dataSet)
        for chooser, node in ((self._compared, compared), (self._reference, reference)):
            if node is not None and node.IsA("vtkMRMLSegmentationNode"):
                chooser.showVolumes(self._panel.volumesOf(node))
        if parameters is not None:
            self._ui.presetComboBox.currentIndex = list(PRESETS).index(parameters.preset)
            self._ui.presetComboBox.toolTip = PRESETS[parameters.preset].summary
        reason = ""
        if self._job is not None:
            reason = _("A comparison is running.")
        elif self._panel.busy:
            reason = _("A volume is being segmented.")
        elif compared is None:
            reason = _("Choose the segmentation to evaluate.")
        elif reference is None:
            reason = _("Choose a reference.")
        elif self._compared.count() == 0 or self._reference.count() == 0:
            reason = _("The segmentation or the reference contains no segment.")
        elif self._reference.chosen() is None:
            reason = _("With the labels of {set} the reference has no {organ}; choose a segment or another data set.")
            reason = reason.format(set=_DATA_SETS.get(dataSet, dataSet), organ=self._compared.organ())
        elif compared is reference and self._compared.chosen() == self._reference.chosen():
            reason = _("Choose a reference other than the segmentation itself.")
        self._ui.compareButton.enabled = not reason
        self._ui.compareButton.toolTip = reason or _("Compute DICE, VOE, RVD, ASSD, MSSD and the volumes.")
        self._ui.copyButton.enabled = self._result is not None
        self._ui.exportCsvButton.enabled = parameters is not None and parameters.metricsTable is not None

    def _showDataSet(self, dataSet: str) -> None:
        box = self._ui.referenceSetComboBox
        box.currentIndex = self._dataSets.index(dataSet) if self._reference.numbered else 0
        box.enabled = self._reference.numbered
        box.toolTip = (
            _("The public data set whose label values the reference has.")
            if self._reference.numbered
            else _("For references that hold label values without names.")
        )

    def _onDataSet(self, index: int) -> None:
        if self._panel.parameters is not None:
            self._panel.parameters.referenceSet = self._dataSets[index]

    def _onSegment(self, _index: int) -> None:
        self._panel.refresh()

    def _onPreset(self, index: int) -> None:
        if self._panel.parameters is not None:
            self._panel.parameters.preset = list(PRESETS)[index]

    def _onCompare(self, _checked: bool = False) -> None:
        parameters = self._panel.currentParameters()
        self._showStatus(_("Comparing..."))
        self._job = self._logic.evaluateAsync(
            parameters.comparedNode,
            parameters.referenceNode,
            segment=self._compared.chosen(),
            referenceSegment=self._reference.chosen(),
            preset=parameters.preset,
            tableNode=parameters.metricsTable,
            onDone=self._onDone,
            onError=self._onError,
        )
        self._panel.refresh()

    @property
    def running(self) -> bool:
        return self._job is not None

    def _onDone(self, result: Json, tableNode: slicer.vtkMRMLTableNode) -> None:
        self._job = None
        self._result = result
        self._panel.currentParameters().metricsTable = tableNode
        self._showStatus("\n".join(sentence(note) for note in result.get("notes") or []))
        self._panel.addToLog(_("Compared: DICE {dice}").format(dice=number(result.get("dice"), 4)))
        self._show()
        self._panel.refresh()

    def _onError(self, reason: str) -> None:
        self._job = None
        self._result = None
        self._showStatus(reason)
        self._panel.addToLog(_("The comparison failed: {reason}").format(reason=reason))
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
        lines = [f"{name}\t{text}" for name, text, _why in rowsOf(self._result or {})]
        slicer.app.clipboard().setText("\n".join(lines))
        self._panel.addToLog(_("The numbers are on the clipboard"))

    def _onExport(self, _checked: bool = False) -> None:
        tableNode = self._panel.currentParameters().metricsTable
        path = qt.QFileDialog.getSaveFileName(
            self._ui.compareCollapsibleButton, _("Export CSV"), f"{tableNode.GetName()}.csv", "CSV (*.csv)"
        )
        if not path:
            return
        try:
            self._logic.exportTableToCsv(tableNode, path)
        except LVNetError as error:
            self._showStatus(str(error))
        else:
            self._showStatus(_("Written: {path}").format(path=path))
            self._panel.addToLog(_("Written: {path}").format(path=path))

    def _showStatus(self, line: str) -> None:
        self._ui.compareStatusLabel.text = sentence(line)
        self._ui.compareStatusLabel.visible = bool(line)

    def forget(self) -> None:
        """Clears the result and cancels a running comparison, because the scene is closed."""
        if self._job is not None:
            self._job.forget()
            self._job.cancel()
            self._job = None
        self._result = None
        self._showStatus("")
        self._show()


def rowsOf(result: Json) -> List[Tuple[str, str, str]]:
    """The rows of the table in the panel: name, value as text, and why there is no value."""
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
