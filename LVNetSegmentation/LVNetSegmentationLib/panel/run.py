"""The section `Segment`: one volume in, one segmentation out."""

from __future__ import annotations

import time
from typing import Any, Callable, Optional

from slicer.i18n import tr as _

from .devices import DeviceChooser
from .findings import FindingsList
from .startbutton import StartButton
from .surfaces import SurfaceButton
from .weights import WeightsChooser
from .wording import duration, progressLine


class RunSection:
    """Apply, progress, cancel, result."""

    def __init__(self, ui: Any, logic: Any, panel: Any) -> None:
        """Args:
        ui: the widgets of the panel by name.
        logic: the module's logic.
        panel: the panel.Panel that this is part of.
        """
        self._ui = ui
        self._logic = logic
        self._panel = panel
        self._job: Optional[Any] = None
        self._began = 0.0
        self._lastStage = ""
        self.cancelling = False
        self._checked: Optional[tuple] = None
        self._inputFindings: list = []
        self.devices = DeviceChooser(ui.deviceComboBox, self._set("device"))
        self.weights = WeightsChooser(ui.weightsPathLineEdit, ui.weightsInfoLabel, logic.weightsInfo)
        self.inputFindings = FindingsList(ui.inputFindingsList)
        self.resultFindings = FindingsList(ui.resultFindingsList)
        self.surfaces = SurfaceButton(ui.show3DButton)
        self._button = StartButton(
            ui.applyButton,
            self,
            text=_("Apply"),
            toolTip=_("Segment the input volume."),
            toolTipOfCancel=_("Stop; the scene stays as it was."),
        )
        ui.weightsPathLineEdit.connect("currentPathChanged(QString)", self._set("weights"))
        ui.anywayCheckBox.connect("toggled(bool)", lambda _checked: panel.refresh())
        ui.anywayCheckBox.visible = False
        ui.progressBar.visible = False
        self._tell("")

    def _set(self, name: str) -> Callable[[str], None]:
        def write(value: str) -> None:
            if self._panel.parameters is not None and getattr(self._panel.parameters, name) != value:
                setattr(self._panel.parameters, name, value)

        return write

    @property
    def running(self) -> bool:
        return self._job is not None

    def refresh(self) -> None:
        """Shows what the parameters say, and whether Apply can be clicked."""
        parameters = self._panel.parameters
        if parameters is not None:
            self.devices.choose(parameters.device)
            self.weights.choose(parameters.weights)
            self._checkInput(parameters.inputVolume)
        self.weights.describe()
        self.surfaces.watch(None if parameters is None else parameters.outputSegmentation)
        self._button.refresh()

    def reasonAgainst(self) -> str:
        """Why Apply cannot be clicked; empty if it can."""
        parameters = self._panel.parameters
        if self._panel.busy:
            return _("A batch is running.")
        if parameters is None or parameters.inputVolume is None:
            return _("Choose an input volume.")
        for severity, sentence in self._inputFindings:
            if severity == "error":
                return sentence
        if self._hasDoubts() and not self._ui.anywayCheckBox.checked:
            return _("Read what was noticed about the input volume, then tick 'Segment it anyway'.")
        return self.weights.problem

    def _hasDoubts(self) -> bool:
        return any(severity == "warning" for severity, _sentence in self._inputFindings)

    def _checkInput(self, volumeNode: Any) -> None:
        """Looks at the voxels of another volume than before, or at voxels that have changed."""
        image = None if volumeNode is None else volumeNode.GetImageData()
        state = None if volumeNode is None else (volumeNode.GetID(), None if image is None else image.GetMTime())
        if state == self._checked:
            return
        if self._checked is None or state is None or state[0] != self._checked[0]:
            self._ui.anywayCheckBox.checked = False
        self._checked = state
        self._inputFindings = [] if volumeNode is None else self._logic.checkInput(volumeNode)
        icons = {"error": "wrong", "warning": "look"}
        self.inputFindings.show([(icons.get(severity), sentence) for severity, sentence in self._inputFindings])
        self._ui.anywayCheckBox.visible = self._hasDoubts()

    def startOnceReady(self) -> None:
        """Starts, unless PyTorch is missing and stays so."""
        if self._panel.torchIsReady(self._tell):
            self.start()

    def start(self) -> None:
        """Segments the chosen volume."""
        parameters = self._panel.parameters
        volumeNode = parameters.inputVolume
        self._began, self._lastStage, self.cancelling = time.monotonic(), "", False
        self.resultFindings.show([])
        self._panel.log.say(_("Segmenting {name}").format(name=volumeNode.GetName()))
        self.weights.remember()
        self._logic.keepWarm = parameters.keepWarm
        self._onProgress(0.0, _("starting"), None)
        self._job = self._logic.segmentAsync(
            volumeNode,
            parameters.outputSegmentation,
            **self._panel.settings(),
            onProgress=self._onProgress,
            onDone=self._onDone,
            onError=self._onError,
            onCancelled=self._onCancelled,
        )
        self._ui.progressBar.visible = True
        self._panel.refresh()

    def cancel(self) -> None:
        """Asks the running job to stop."""
        if self.running and not self.cancelling:
            self.cancelling = True
            self._tell(_("cancelling"))
            self._job.cancel()
            self._panel.refresh()

    def _onProgress(self, share: float, stage: str, remaining: Optional[float]) -> None:
        if stage != self._lastStage:
            self._lastStage = stage
            self._panel.log.say(stage)
        self._ui.progressBar.value = round(100 * share)
        if not self.cancelling:
            self._tell(progressLine(stage, time.monotonic() - self._began, remaining))

    def _onDone(self, segmentationNode: Any, outcome: Any) -> None:
        self._stopped()
        parameters = self._panel.currentParameters()
        parameters.outputSegmentation = segmentationNode
        parameters.comparedNode = segmentationNode
        findings = outcome.checks or [(None, line) for line in outcome.lines]
        self.resultFindings.show(findings)
        volumes = ", ".join(f"{name} {volume:.0f} ml" for name, volume in outcome.volumes.items())
        took = duration(outcome.seconds)
        self._tell(_("{volumes}, in {duration}").format(volumes=volumes or _("Nothing was found"), duration=took))
        for line in outcome.lines:
            self._panel.log.say(line)
        self._panel.log.say(_("Done in {duration} on {device}").format(duration=took, device=outcome.device))
        self._panel.refresh()

    def _onError(self, sentence: str) -> None:
        self._stopped()
        self.resultFindings.show([("wrong", sentence)])
        self._tell("")
        self._panel.log.say(_("Failed: {reason}").format(reason=sentence))
        self._panel.refresh()

    def _onCancelled(self) -> None:
        self._stopped()
        self._tell(_("Cancelled; the scene is as it was."))
        self._panel.log.say(_("Cancelled"))
        self._panel.refresh()

    def _stopped(self) -> None:
        self._job = None
        self.cancelling = False
        self._ui.progressBar.visible = False

    def _tell(self, line: str) -> None:
        self._ui.statusLabel.text = line
        self._ui.statusLabel.visible = bool(line)

    def cleanup(self) -> None:
        """The panel is about to go."""
        self.inputFindings.cleanup()
        self.resultFindings.cleanup()
