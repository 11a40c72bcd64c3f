"""The panel: its sections, and what they have in common."""

from __future__ import annotations

from typing import Any, Callable, List, Optional

from lvnet.pipeline.options import settings_of
from slicer.i18n import tr as _

from .advanced import AdvancedSection
from .batch import BatchSection
from .compare import CompareSection
from .log import LogSection
from .run import RunSection
from .volumes import SegmentVolumes
from .wording import sentence


class Panel:
    """All sections.  The Widget tells it which parameters count; it never looks for them itself.

    Attributes:
        parameters: the bound parameter node; None while another module or no scene is open.
    """

    def __init__(self, ui: Any, logic: Any, inputChoice: Any) -> None:
        """Args:
        ui: the widgets of the .ui file by name.
        logic: the module's logic.
        inputChoice: the inputchoice.InputChoice of the input selector.
        """
        self.parameters: Optional[Any] = None
        self._logic = logic
        self._devicesJob: Optional[Any] = None
        self.inputChoice = inputChoice
        self.volumes = SegmentVolumes(self.refresh)
        self.log = LogSection(ui)
        self.run = RunSection(ui, logic, self)
        self.compare = CompareSection(ui, logic, self)
        self.batch = BatchSection(ui, logic, self)
        self.advanced = AdvancedSection(ui, logic, self)

    @property
    def busy(self) -> bool:
        """Whether something is being segmented."""
        return self.run.running or self.batch.running

    def bind(self, parameters: Optional[Any]) -> None:
        """Takes other parameters, or none."""
        self.parameters = parameters
        self.refresh()

    def currentParameters(self) -> Any:
        """The parameters of the scene, also while another module is open."""
        return self.parameters or self._logic.getParameterNode()

    def settings(self) -> dict:
        """How to segment, as the logic takes it."""
        parameters = self.currentParameters()
        # What the scene keeps under the name of a setting; the series goes with a folder, not with a volume.
        kept = {name: getattr(parameters, name) for name in settings_of() if hasattr(parameters, name)}
        return {**kept, "weights": self.run.weights.chosen(), "threads": parameters.threads or None}

    def refresh(self) -> None:
        """Brings every section up to date."""
        for section in (self.run, self.compare, self.batch, self.advanced):
            section.refresh()

    def tellHidden(self, names: List[str]) -> None:
        """Notes which segmentations were hidden because their volume is in no slice view."""
        if names:
            self.log.say(_("Hidden, since another volume is shown: {names}").format(names=", ".join(names)))

    def torchIsReady(self, tell: Callable[[str], None]) -> bool:
        """Whether PyTorch is there, installed now if the user agrees.

        Args:
            tell: gets the reason where it is not.
        """
        reason = self.advanced.installTorch() if self._logic.torchIsMissing() else ""
        if reason:
            tell(sentence(reason))
        return not reason

    def opened(self) -> None:
        """The user looks at the panel: by the time of the first click the devices are known."""
        if self.parameters is not None and self.parameters.keepWarm:
            self.findDevices()

    def findDevices(self) -> None:
        """Asks the worker which devices there are, without waiting; a failure is only noted."""
        if self._devicesJob is not None or self.busy or self._logic.torchIsMissing():
            return

        def ended() -> None:
            self._devicesJob = None

        def onDone(devices: list) -> None:
            ended()
            self.run.devices.offer(devices)
            self.run.foretelling.workerIsWarm()

        def onError(sentence: str) -> None:
            ended()
            self.log.say(_("The devices are not known: {reason}").format(reason=sentence))

        self._devicesJob = self._logic.devicesAsync(onDone=onDone, onError=onError)

    def sceneCloses(self) -> None:
        """The scene is about to go, and with it what is computed for it."""
        self.run.sceneCloses()
        self.batch.cancel()
        self.compare.forget()
        self.volumes.stop()
        self.bind(None)

    def cleanup(self) -> None:
        """The panel is about to go: nothing runs on without it."""
        self.parameters = None
        self.volumes.stop()
        # Widgets may be gone already when a job says that it was cancelled.
        self._logic.forgetJobs()
        self._logic.shutdown()
