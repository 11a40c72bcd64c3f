"""The panel: its sections, and what they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Dict, List, Optional

import slicer
from lvnet.pipeline.options import settings_of
from slicer.i18n import tr as _

from .advanced import AdvancedSection
from .batch import BatchSection
from .compare import CompareSection
from .context import Widgets
from .faster import FasterSection
from .inputchoice import InputChoice
from .log import LogSection
from .run import RunSection
from .volumes import SegmentVolumes
from .wording import sentence

if TYPE_CHECKING:
    from lvnet.acceleration import ComputePath
    from lvnet.worker.client.job import Job
    from lvnet.worker.messages.results import Device

    from ..interfaces import Settings
    from ..logic import LVNetSegmentationLogic
    from ..parameters import LVNetSegmentationParameterNode


class Panel:
    """All sections.  The module widget sets the parameters; the panel never looks for them itself.

    Attributes:
        parameters: the bound parameter node; None while another module or no scene is open.
    """

    def __init__(self, ui: Widgets, logic: LVNetSegmentationLogic, inputChoice: InputChoice) -> None:
        """Args:
        ui: the widgets of the .ui file by name.
        logic: the module's logic.
        inputChoice: of the input selector.
        """
        self.parameters: Optional[LVNetSegmentationParameterNode] = None
        self._logic = logic
        self._devicesJob: Optional[Job] = None
        self.inputChoice = inputChoice
        self.volumes = SegmentVolumes(self.refresh)
        self.log = LogSection(ui)
        self.run = RunSection(ui, logic, self)
        self.compare = CompareSection(ui, logic, self)
        self.batch = BatchSection(ui, logic, self)
        self.advanced = AdvancedSection(ui, logic, self)
        self.faster = FasterSection(ui, logic, self)

    @property
    def busy(self) -> bool:
        """Whether something is being segmented."""
        return self.run.running or self.batch.running

    @property
    def weightsProblem(self) -> str:
        """Why the chosen weights cannot be used; empty if they can."""
        return self.run.weights.problem

    def bind(self, parameters: Optional[LVNetSegmentationParameterNode]) -> None:
        """Binds other parameters, or none."""
        self.parameters = parameters
        self.refresh()

    def currentParameters(self) -> LVNetSegmentationParameterNode:
        """The parameters of the scene, also while another module is open."""
        return self.parameters or self._logic.getParameterNode()

    def setterOf(self, name: str) -> Callable[[str], None]:
        """A slot that sets a parameter to the value it receives."""

        def write(value: str) -> None:
            if self.parameters is not None and getattr(self.parameters, name) != value:
                setattr(self.parameters, name, value)

        return write

    def settings(self) -> Settings:
        """The segmentation settings, as keyword arguments for the logic."""
        parameters = self.currentParameters()
        # Parameters named like a setting; the series is a setting for folders, not for volumes.
        kept = {name: getattr(parameters, name) for name in settings_of() if hasattr(parameters, name)}
        return {**kept, "weights": self.run.weights.chosen(), "threads": parameters.threads or None}

    def refresh(self) -> None:
        """Updates every section."""
        for section in (self.run, self.compare, self.batch, self.advanced, self.faster):
            section.refresh()

    def addToLog(self, line: str) -> None:
        """Adds a line to the log."""
        self.log.add(line)

    def volumesOf(self, segmentationNode: Optional[slicer.vtkMRMLSegmentationNode]) -> Dict[str, float]:
        """Volumes in ml by segment identifier; empty until they are counted."""
        return self.volumes.of(segmentationNode)

    def keepInput(self) -> None:
        """Marks the current input volume as chosen by the user."""
        self.inputChoice.keep()

    def logHidden(self, names: List[str]) -> None:
        """Logs which segmentations were hidden because no slice view shows their volume."""
        if names:
            self.addToLog(_("Hidden, since another volume is shown: {names}").format(names=", ".join(names)))

    def torchIsReady(self, report: Callable[[str], None]) -> bool:
        """Whether PyTorch is there, installed now if the user agrees.

        Args:
            report: gets the reason where it is not.
        """
        reason = self.advanced.installTorch() if self._logic.torchIsMissing() else ""
        if reason:
            report(sentence(reason))
        return not reason

    @property
    def runSeconds(self) -> Optional[float]:
        """Seconds of the last run of the chosen volume, else the estimate for the next one; None where unknown."""
        return self.run.seconds

    def noteComputePath(self, computePath: ComputePath) -> None:
        """Notes how the worker computes the network."""
        self.faster.noteComputePath(computePath)
        self.refresh()

    def notePace(self, secondsPerLitre: Optional[float]) -> None:
        """Notes how fast this computer is since it has learnt to compute faster."""
        self.run.estimate.learn(self.currentParameters().device, secondsPerLitre)

    def opened(self) -> None:
        """Called when the user opens the panel; queries the devices before the first click."""
        if self.parameters is not None and self.parameters.keepWarm:
            self.findDevices()

    def findDevices(self) -> None:
        """Queries the available devices from the worker, without blocking; a failure is only logged."""
        if self._devicesJob is not None or self.busy or self._logic.torchIsMissing():
            return

        def ended() -> None:
            self._devicesJob = None

        def onDone(devices: List[Device]) -> None:
            ended()
            self.run.devices.offer(devices)
            self.run.estimate.workerIsWarm()

        def onError(sentence: str) -> None:
            ended()
            self.addToLog(_("The devices are not known: {reason}").format(reason=sentence))

        self._devicesJob = self._logic.devicesAsync(onDone=onDone, onError=onError)

    def sceneCloses(self) -> None:
        """Called before the scene is closed; cancels what is computed for it."""
        self.run.sceneCloses()
        self.batch.cancel()
        self.compare.forget()
        self.volumes.stop()
        self.bind(None)

    def cleanup(self) -> None:
        """Called before the panel is destroyed; stops everything."""
        self.parameters = None
        self.faster.stop()
        self.volumes.stop()
        # Widgets may already be destroyed; the overlay is useless without them.
        self.run.doubtful.removeOverlay()
        # Widgets may already be destroyed when a job reports its cancellation.
        self._logic.forgetJobs()
        self._logic.shutdown()
