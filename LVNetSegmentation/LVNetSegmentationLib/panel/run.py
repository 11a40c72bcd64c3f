"""The section `Segment`: one volume in, one segmentation out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, List, Optional, Tuple

import slicer
from lvnet.worker.client import pace
from slicer.i18n import tr as _

from ..belonging import belongsTo, referenceVolumeOf
from ..choosing import listed, namesOf
from ..views import resetThreeDViews, showResult
from ..volumechecks import litresOf
from .context import PanelContext, Widgets
from .devices import DeviceChooser
from .doubtfulregions import DoubtfulRegionsRow
from .doubts import aboutOutput, editedOf, identifiersOf, stateOfOutput, stateOfVolume
from .findings import FindingsLabel
from .runestimate import RunEstimate
from .startbutton import StartButton
from .surfaces import SurfaceButton
from .volumes import withVolume
from .weights import WeightsChooser
from .wording import duration, progressLine, sentence

if TYPE_CHECKING:
    from lvnet.worker.client.job import Job

    from ..interfaces import Settings
    from ..logic import LVNetSegmentationLogic
    from ..outcome import Outcome
    from ..parameters import LVNetSegmentationParameterNode


class RunSection:
    """The Apply button, the progress, cancellation and the result."""

    def __init__(self, ui: Widgets, logic: LVNetSegmentationLogic, panel: PanelContext) -> None:
        """Args:
        ui: the widgets of the panel by name.
        logic: the module's logic.
        panel: the panel around this section.
        """
        self._ui = ui
        self._logic = logic
        self._panel = panel
        self._job: Optional[Job] = None
        self._began = 0.0
        self._took: Optional[float] = None
        self._lastStage = ""
        self.cancelling = False
        self._checked: Optional[tuple] = None
        self._findings: List[Tuple[str, str]] = []
        #: State of the volume and weights of the last check, and its findings; a check takes a moment.
        self._aboutVolume: Tuple[Optional[tuple], List[Tuple[str, str]]] = (None, [])
        self._input = ""
        self._settings: Settings = {}
        #: The input of the last run; empty once its scene is closed.
        self._inputOfRun = ""
        self.devices = DeviceChooser(ui.deviceComboBox, panel.setterOf("device"))
        self.weights = WeightsChooser(ui.weightsPathLineEdit, ui.weightsInfoLabel, logic.weightsInfo)
        self.inputFindings = FindingsLabel(ui.inputFindingsLabel)
        self.resultFindings = FindingsLabel(ui.resultFindingsLabel)
        self.estimate = RunEstimate(ui.estimateLabel, panel, logic)
        self.doubtful = DoubtfulRegionsRow(ui, panel)
        self.surfaces = SurfaceButton(ui.show3DButton, panel.logHidden)
        ui.editButton.connect("clicked(bool)", self._onEdit)
        self._button = StartButton(
            ui.applyButton,
            self,
            text=_("Apply"),
            toolTip=_("Segment the input volume."),
            toolTipOfCancel=_("Stop; the scene stays as it was."),
        )
        ui.weightsPathLineEdit.connect("currentPathChanged(QString)", panel.setterOf("weights"))
        ui.anywayCheckBox.connect("toggled(bool)", lambda _checked: panel.refresh())
        ui.anywayCheckBox.visible = False
        ui.progressBar.visible = False
        self._showStatus("")

    @property
    def running(self) -> bool:
        return self._job is not None

    @property
    def seconds(self) -> Optional[float]:
        """Those of the last run of this volume, else the estimate for the next one; None where unknown."""
        return self.estimate.seconds if self._took is None else self._took

    def refresh(self) -> None:
        """Updates the widgets from the parameters, and enables Apply if it can be clicked."""
        parameters, ui = self._panel.parameters, self._ui
        output = None
        if parameters is not None:
            self.devices.choose(parameters.device)
            self.weights.choose(parameters.weights)
            self._followInput(parameters)
            output = parameters.outputSegmentation
        self.weights.describe()
        if parameters is not None:
            self._check(parameters.inputVolume, output)
        self.surfaces.watch(output)
        self.doubtful.refresh()
        self._listSegments(output)
        for selector in (ui.inputSelector, ui.outputSelector):
            selector.enabled = not self.running
        ui.editButton.enabled = output is not None and not self.running
        ui.editButton.toolTip = _("Edit the segmentation by hand.") if output else _("There is no segmentation yet.")
        # The outcome of a run matters more than how long it would take again.
        if parameters is not None and not self.running and not ui.statusLabel.text:
            self.estimate.show(parameters.inputVolume, parameters.device)
        else:
            self.estimate.show(None, "")
        self._button.refresh()

    def reasonAgainst(self) -> str:
        """Why Apply cannot be clicked; empty if it can."""
        parameters = self._panel.parameters
        if self._panel.busy:
            return _("A batch is running.")
        if parameters is None or parameters.inputVolume is None:
            return _("Choose an input volume.")
        for severity, words in self._findings:
            if severity == "error":
                return sentence(words)
        if self._doubts() and not self._ui.anywayCheckBox.checked:
            return _("Read the findings above, then tick 'Segment it anyway'.")
        return self.weights.problem

    def _doubts(self) -> List[str]:
        """The warnings that the user has to confirm before a run."""
        return [words for severity, words in self._findings if severity == "warning"]

    def _followInput(self, parameters: LVNetSegmentationParameterNode) -> None:
        """Clears the result and the output segmentation when the input changes, since they belong to its volume."""
        volumeNode = parameters.inputVolume
        # With its address: in another scene, another patient's volume may have the same identifier.
        identity = "" if volumeNode is None else volumeNode.GetID() + volumeNode.GetAddressAsString("")
        if identity == self._input:
            return
        self._input = identity
        if not self.running:
            self.forget()
        output = parameters.outputSegmentation
        if volumeNode is not None and output is not None and not belongsTo(output, volumeNode):
            parameters.outputSegmentation = None

    def _check(
        self, volumeNode: Optional[slicer.vtkMRMLScalarVolumeNode], output: Optional[slicer.vtkMRMLSegmentationNode]
    ) -> None:
        """Checks the input and the output if they, or their voxels, have changed."""
        if self.running:
            return
        # Unusable weights are reported elsewhere.
        weights = None if self.weights.problem else self.weights.chosen()
        state = (stateOfVolume(volumeNode), stateOfOutput(output), (weights or "",))
        if state == self._checked:
            return
        before, self._checked = self._checked, state
        confirmed, self._findings = self._doubts(), []
        if editedOf(output):
            # The findings refer to the result before the edits; doubtful regions stay as a guide for editing.
            self._forgetFindings()
        if volumeNode is not None:
            if self._aboutVolume[0] != (state[0], weights):
                self._aboutVolume = (state[0], weights), self._logic.checkInput(volumeNode, weights)
            self._findings = [*self._aboutVolume[1], *aboutOutput(output, volumeNode)]
        if before is None or identifiersOf(before) != identifiersOf(state) or self._doubts() != confirmed:
            # What the user confirmed was something else.
            self._ui.anywayCheckBox.checked = False
        icons = {"error": "wrong", "warning": "look"}
        self.inputFindings.show([(icons.get(severity), words) for severity, words in self._findings])
        self._ui.anywayCheckBox.visible = bool(self._doubts())

    def _listSegments(self, output: Optional[slicer.vtkMRMLSegmentationNode]) -> None:
        """Lists the segments of the output with their volumes, as soon as these are counted."""
        volumes = self._panel.volumesOf(output)
        names = namesOf(output) if volumes else {}
        self._ui.segmentsLabel.text = listed([withVolume(names[key], volumes[key]) for key in names if key in volumes])
        self._ui.segmentsLabel.visible = bool(names)

    def startOnceReady(self) -> None:
        """Starts, unless something prevents it now, or PyTorch is missing and is not installed now."""
        # A segment may have been edited, or a volume changed, since the last check.
        self.refresh()
        reason = self.reasonAgainst()
        if reason:
            self._showStatus(reason)
        elif self._panel.torchIsReady(self._showStatus):
            self.start()

    def start(self) -> None:
        """Segments the chosen volume."""
        parameters = self._panel.currentParameters()
        volumeNode = parameters.inputVolume
        self._panel.keepInput()
        self._began, self._took, self._lastStage, self.cancelling = time.monotonic(), None, "", False
        self._inputOfRun = self._input
        self.resultFindings.show([])
        self.doubtful.forget()
        self._panel.addToLog(_("Segmenting {name}").format(name=volumeNode.GetName()))
        self.weights.remember()
        self._logic.keepWarm = parameters.keepWarm
        self._settings = self._panel.settings()
        self._ui.progressBar.value = 0
        self._showStatus(_("Starting..."))
        self._job = self._logic.segmentAsync(
            volumeNode,
            parameters.outputSegmentation,
            **self._settings,
            onProgress=self._onProgress,
            onDone=self._onDone,
            onError=self._onError,
            onCancelled=self._onCancelled,
        )
        self._ui.progressBar.visible = True
        self._panel.refresh()

    def cancel(self) -> None:
        """Requests cancellation of the running job."""
        if self._job is not None and not self.cancelling:
            self.cancelling = True
            self._showStatus(_("Cancelling..."))
            self._job.cancel()
            self._panel.refresh()

    def _onProgress(self, share: float, stage: str, remaining: Optional[float]) -> None:
        if stage != self._lastStage:
            self._lastStage = stage
            self._panel.addToLog(sentence(stage))
        self._ui.progressBar.value = round(100 * share)
        if not self.cancelling:
            self._showStatus(progressLine(stage, time.monotonic() - self._began, remaining))

    def _onDone(self, segmentationNode: slicer.vtkMRMLSegmentationNode, outcome: Outcome) -> None:
        self._stopped()
        took = duration(outcome.seconds)
        for line in outcome.lines:
            self._panel.addToLog(sentence(line))
        path = outcome.computePath
        self._panel.addToLog(
            _("Done in {duration} with {path} on {device}").format(duration=took, path=path.name, device=outcome.device)
        )
        volumeNode = slicer.mrmlScene.GetNodeByID(outcome.volumeNodeID)
        pace.remember(self._settings["device"], litresOf(volumeNode), outcome.seconds)
        parameters = self._panel.currentParameters()
        # Another volume may be chosen by now, for example by loading a scene; the result does not belong to it.
        if self._inputIsThatOfTheRun():
            parameters.outputSegmentation = segmentationNode
            parameters.comparedNode = segmentationNode
            self._show(volumeNode, outcome, took)
            if self._panel.parameters is not None:
                self._panel.logHidden(showResult(volumeNode, segmentationNode))
                if self.surfaces.isShown():
                    resetThreeDViews()
        else:
            self._showStatus("")
        self._panel.noteComputePath(path)

    def _show(self, volumeNode: slicer.vtkMRMLScalarVolumeNode, outcome: Outcome, took: str) -> None:
        self.resultFindings.show(outcome.checks or [(None, line) for line in outcome.lines])
        self.doubtful.show(volumeNode, outcome.doubtful)
        self._took = outcome.seconds
        volumes = ", ".join(f"{name} {volume:.0f} ml" for name, volume in outcome.volumes.items())
        self._showStatus(
            _("{volume}: {found}, in {duration} with {path}").format(
                volume=volumeNode.GetName(),
                found=volumes or _("nothing was found"),
                duration=took,
                path=outcome.computePath.name,
            )
        )

    def _onError(self, reason: str) -> None:
        self._stopped()
        self._panel.addToLog(_("Failed: {reason}").format(reason=reason))
        if self._inputIsThatOfTheRun():
            self.resultFindings.show([("wrong", reason)])
        self._showStatus("")
        self._panel.refresh()

    def _onCancelled(self) -> None:
        self._stopped()
        self._showStatus(_("Cancelled; the scene is as it was.") if self._inputIsThatOfTheRun() else "")
        self._panel.addToLog(_("Cancelled"))
        self._panel.refresh()

    def _inputIsThatOfTheRun(self) -> bool:
        """Whether the panel still shows the volume of the run, to which its results and errors refer."""
        self._followInput(self._panel.currentParameters())
        return bool(self._inputOfRun) and self._input == self._inputOfRun

    def _stopped(self) -> None:
        self._job = None
        self.cancelling = False
        self._ui.progressBar.visible = False

    def _showStatus(self, line: str) -> None:
        self._ui.statusLabel.text = line
        self._ui.statusLabel.visible = bool(line)

    def sceneCloses(self) -> None:
        """Cancels the run and clears its results, because the scene is closed."""
        self.cancel()
        self._inputOfRun = self._input = ""
        self.forget()

    def forget(self) -> None:
        """Clears the results of an earlier run."""
        self._took = None
        self._forgetFindings()
        self.doubtful.forget()

    def _forgetFindings(self) -> None:
        self.resultFindings.show([])
        self._showStatus("")

    def _onEdit(self, _checked: bool = False) -> None:
        """Opens Slicer's Segment Editor on the result."""
        parameters = self._panel.currentParameters()
        output, volumeNode = parameters.outputSegmentation, parameters.inputVolume
        if output is None:
            return
        volumeNode = referenceVolumeOf(output) or volumeNode
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.modules.SegmentEditorWidget.editor
        editor.setSegmentationNode(output)
        editor.setSourceVolumeNode(volumeNode)
