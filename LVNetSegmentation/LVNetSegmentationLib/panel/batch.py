"""The section `Batch`: all volumes of the scene, or a folder of scans."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Callable, Dict, List, Optional, Sequence, Tuple, Union

import qt
import slicer
from slicer.i18n import tr as _

from ..views import hideForeign
from .batchqueue import CANCELLED, DONE, FAILED, RUNNING, WAITING, BatchQueue
from .context import PanelContext, Widgets
from .startbutton import StartButton
from .wording import duration, progressLine, sentence

if TYPE_CHECKING:
    from lvnet.worker.client.job import Job

    from ..interfaces import Json
    from ..logic import LVNetSegmentationLogic
    from ..outcome import Outcome
    from ..parameters import LVNetSegmentationParameterNode


class BatchSection:
    """Segments many scans, one after the other; a table lists the results."""

    def __init__(self, ui: Widgets, logic: LVNetSegmentationLogic, panel: PanelContext) -> None:
        """Args:
        ui: the widgets of the panel by name.
        logic: the module's logic.
        panel: the panel around this section.
        """
        self._ui = ui
        self._logic = logic
        self._panel = panel
        self._queue: Optional[BatchQueue[slicer.vtkMRMLScalarVolumeNode, Outcome]] = None
        self._folderJob: Optional[Job] = None
        self._began = 0.0
        self.cancelling = False
        table = ui.batchTableWidget
        table.columnCount = 2
        table.setHorizontalHeaderLabels([_("Scan"), _("Result")])
        table.visible = False
        ui.batchProgressBar.visible = False
        ui.batchStatusLabel.visible = False
        ui.folderRadioButton.connect("toggled(bool)", self._onSourceChanged)
        ui.batchInputPathLineEdit.connect("currentPathChanged(QString)", panel.setterOf("batchInputFolder"))
        ui.batchOutputPathLineEdit.connect("currentPathChanged(QString)", panel.setterOf("batchOutputFolder"))
        self._button = StartButton(
            ui.batchButton,
            self,
            text=_("Start"),
            toolTip=_("Segment them all, one after the other."),
            toolTipOfCancel=_("Stop; finished results are kept."),
        )

    @property
    def running(self) -> bool:
        return self._queue is not None or self._folderJob is not None

    def refresh(self) -> None:
        """Updates the widgets from the parameters, and enables Start if it can be clicked."""
        parameters, ui = self._panel.parameters, self._ui
        ofFolder = parameters is not None and parameters.batchOfFolder
        if parameters is not None:
            (ui.folderRadioButton if ofFolder else ui.sceneRadioButton).checked = True
            for edit, path in (
                (ui.batchInputPathLineEdit, parameters.batchInputFolder),
                (ui.batchOutputPathLineEdit, parameters.batchOutputFolder),
            ):
                if edit.currentPath != path:
                    edit.currentPath = path
        for widget in (
            ui.batchInputLabel,
            ui.batchInputPathLineEdit,
            ui.batchOutputLabel,
            ui.batchOutputPathLineEdit,
            ui.batchFormatLabel,
            ui.batchFormatComboBox,
            ui.batchSeriesLabel,
            ui.batchSeriesLineEdit,
        ):
            widget.visible = ofFolder
        for widget in (ui.sceneRadioButton, ui.folderRadioButton):
            widget.enabled = not self.running
        self._button.refresh()

    def reasonAgainst(self) -> str:
        """Why Start cannot be clicked; empty if it can."""
        parameters = self._panel.parameters
        if self._panel.busy:
            return _("A volume is being segmented.")
        if parameters is None:
            return _("There is no scene.")
        if self._panel.weightsProblem:
            return self._panel.weightsProblem
        if not parameters.batchOfFolder:
            return "" if volumesOfScene() else _("The scene contains no volume.")
        if not os.path.isdir(parameters.batchInputFolder):
            return _("Choose a folder of scans.")
        if not parameters.batchOutputFolder:
            return _("Choose a folder for the results.")
        return ""

    def _onSourceChanged(self, ofFolder: bool) -> None:
        if self._panel.parameters is not None and self._panel.parameters.batchOfFolder != ofFolder:
            self._panel.parameters.batchOfFolder = ofFolder

    def startOnceReady(self) -> None:
        """Starts, unless PyTorch is missing and is not installed now."""
        if self._panel.torchIsReady(self._showStatus):
            self.start()

    def start(self) -> None:
        """Segments all volumes of the scene, or all scans of the folder."""
        parameters = self._panel.currentParameters()
        self._began, self.cancelling = time.monotonic(), False
        self._logic.keepWarm = parameters.keepWarm
        self._ui.batchProgressBar.value = 0
        self._ui.batchProgressBar.visible = True
        if parameters.batchOfFolder:
            self._startFolder(parameters)
        else:
            self._startScene()
        self._panel.refresh()

    def _startScene(self) -> None:
        volumes = volumesOfScene()
        settings = self._panel.settings()
        self._panel.addToLog(_("Batch: {count} volumes of the scene").format(count=len(volumes)))
        self._ui.batchTableWidget.rowCount = 0
        for volume in volumes:
            self._append(volume.GetName(), _("waiting"))
        self._fit()

        def begin(
            volumeNode: slicer.vtkMRMLScalarVolumeNode,
            onDone: Callable[[Outcome], None],
            onError: Callable[[str], None],
            onCancelled: Callable[[], None],
        ) -> Job:
            return self._logic.segmentAsync(
                volumeNode,
                None,
                **settings,
                onProgress=self._progressOf(volumeNode.GetName()),
                onDone=lambda _node, outcome: onDone(outcome),
                onError=onError,
                onCancelled=onCancelled,
            )

        self._queue = BatchQueue(volumes, begin, self._onVolume, self._onSceneDone)
        self._queue.next()

    def _progressOf(self, name: str) -> Callable[[float, str, Optional[float]], None]:
        def onProgress(share: float, stage: str, _remaining: Optional[float]) -> None:
            assert self._queue is not None  # it runs the job that reports this
            count = len(self._queue.states)
            whole = self._queue.share + share / count
            self._ui.batchProgressBar.value = round(100 * whole)
            self._showProgress(whole, f"{name}, {stage}")

        return onProgress

    def _showProgress(self, share: float, stage: str) -> None:
        elapsed = time.monotonic() - self._began
        remaining = elapsed / share - elapsed if share > 0.05 and elapsed > 1 else None
        if not self.cancelling:
            self._showStatus(progressLine(stage, elapsed, remaining))

    def _onVolume(self, index: int, state: str, reported: Union[Outcome, str, None]) -> None:
        words = {WAITING: _("waiting"), RUNNING: _("running"), CANCELLED: _("cancelled")}
        if reported is None:
            text = words[state]
        elif isinstance(reported, str):
            text = sentence(reported)
        else:
            self._panel.logHidden(hideForeign())
            text = findingsInWords(reported.volumes, reported.checks)
        self._write(index, text)
        if state in (DONE, FAILED):
            name = self._ui.batchTableWidget.item(index, 0).text()
            self._panel.addToLog(f"{name}: {text}")

    def _onSceneDone(self) -> None:
        assert self._queue is not None
        states = self._queue.states
        self._queue = None
        self._finish(states.count(DONE), len(states))

    def _startFolder(self, parameters: LVNetSegmentationParameterNode) -> None:
        self._panel.addToLog(_("Batch: the folder {folder}").format(folder=parameters.batchInputFolder))
        self._ui.batchTableWidget.rowCount = 0
        self._fit()
        for edit in (self._ui.batchInputPathLineEdit, self._ui.batchOutputPathLineEdit):
            edit.addCurrentPathToHistory()

        def onProgress(share: float, stage: str, _remaining: Optional[float]) -> None:
            self._ui.batchProgressBar.value = round(100 * share)
            self._showProgress(share, stage)

        self._folderJob = self._logic.segmentFolderAsync(
            parameters.batchInputFolder,
            parameters.batchOutputFolder,
            suffix=parameters.batchFormat,
            series=parameters.batchSeries.strip() or None,
            **self._panel.settings(),
            onProgress=onProgress,
            onDone=self._onFolderDone,
            onError=self._onFolderError,
            onCancelled=self._onFolderCancelled,
            onScan=self._onFolderScan,
        )

    def _onFolderScan(self, scan: Json) -> None:
        if "left_out" in scan:
            words = _("left out: {reason}").format(reason=scan["left_out"])
            self._append(os.path.basename(str(scan["input"]).rstrip("/\\")), words)
            self._fit()
            return
        checks = [(check["verdict"], check["sentence"]) for check in scan.get("checks") or []]
        name = os.path.basename(str(scan["input"]).rstrip("/\\"))
        if scan["error"]:
            # The row names the file already, and its path would fill the cell.
            words = sentence(str(scan["error"]).replace(str(scan["input"]), _("the file")))
        else:
            words = findingsInWords(scan["volumes_ml"], checks, aboutInput(scan))
        self._append(name, words)
        self._fit()
        self._panel.addToLog(f"{name}: {words}")

    def _onFolderDone(self, scans: List[Json]) -> None:
        self._folderJob = None
        self._finish(sum(not scan["error"] for scan in scans), len(scans))

    def _onFolderError(self, sentence: str) -> None:
        self._folderJob = None
        self._panel.addToLog(_("The batch failed: {reason}").format(reason=sentence))
        self._stopped(sentence)

    def _onFolderCancelled(self) -> None:
        self._folderJob = None
        self._panel.addToLog(_("The batch was cancelled"))
        self._stopped(_("Cancelled; finished results are kept."))

    def _finish(self, done: int, count: int) -> None:
        line = _("{done} of {count} scans segmented in {duration}").format(
            done=done, count=count, duration=duration(time.monotonic() - self._began)
        )
        self._panel.addToLog(line)
        self._stopped(line)

    def _stopped(self, line: str) -> None:
        self.cancelling = False
        self._ui.batchProgressBar.visible = False
        self._showStatus(line)
        self._panel.refresh()

    def cancel(self) -> None:
        """Requests cancellation of the batch."""
        work = self._queue or self._folderJob
        if work is None or self.cancelling:
            return
        self.cancelling = True
        self._showStatus(_("Cancelling..."))
        work.cancel()
        self._panel.refresh()

    def _append(self, name: str, words: str) -> None:
        table = self._ui.batchTableWidget
        index = table.rowCount
        table.rowCount = index + 1
        table.setItem(index, 0, qt.QTableWidgetItem(name))
        self._write(index, words)

    def _fit(self) -> None:
        """Fits the name column and the rows to their contents: a longer name leaves less width for the results."""
        table = self._ui.batchTableWidget
        table.resizeColumnToContents(0)
        table.resizeRowsToContents()
        table.visible = table.rowCount > 0

    def _write(self, index: int, words: str) -> None:
        item = qt.QTableWidgetItem(words)
        item.setToolTip(words)
        self._ui.batchTableWidget.setItem(index, 1, item)

    def _showStatus(self, line: str) -> None:
        self._ui.batchStatusLabel.text = sentence(line)
        self._ui.batchStatusLabel.visible = bool(line)


def volumesOfScene() -> List[slicer.vtkMRMLScalarVolumeNode]:
    """The scalar volumes of the scene that selectors list, without label maps."""
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return [node for node in nodes if not node.IsA("vtkMRMLLabelMapVolumeNode") and not node.GetHideFromEditors()]


def aboutInput(scan: Json) -> List[str]:
    """Remarks on a scan from a folder, which the user has not seen before segmenting it."""
    warnings = [found["sentence"] for found in scan.get("input_checks") or [] if found["severity"] != "note"]
    return [*(scan.get("scan_notes") or []), *warnings]


def findingsInWords(
    volumes: Dict[str, float], checks: Sequence[Tuple[Optional[str], str]], notes: Sequence[str] = ()
) -> str:
    """A result in one line: the volumes, remarks on the scan, and what to check."""
    words = ", ".join(f"{name} {volume:.0f} ml" for name, volume in volumes.items()) or _("nothing was found")
    doubts = [sentence for verdict, sentence in checks if verdict in ("look", "wrong")]
    return "; ".join([words, *notes, *doubts])
