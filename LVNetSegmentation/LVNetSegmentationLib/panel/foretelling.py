"""What is said of how long a run will take, before it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Optional

import slicer
from lvnet.worker.client import pace
from slicer.i18n import tr as _

from ..volumechecks import litresOf
from .context import PanelContext
from .wording import duration

if TYPE_CHECKING:
    from lvnet.acceleration import ComputePath

    from ..logic import LVNetSegmentationLogic


class Foretelling:
    """A line below the button: by earlier runs on this computer, or else by one slab that the worker has tried."""

    def __init__(self, label: Any, panel: PanelContext, logic: LVNetSegmentationLogic) -> None:
        """Args:
        label: a QLabel.
        panel: that this is part of.
        logic: the module's logic.
        """
        self._label = label
        self._panel = panel
        self._logic = logic
        #: Seconds of a run of the present volume; None where nothing is foretold.
        self.seconds: Optional[float] = None
        #: Seconds a litre by device, as one slab told them; None as long as they are not known.
        self._tried: Dict[str, Optional[float]] = {}
        self._workerIsWarm = False
        label.visible = False

    def workerIsWarm(self) -> None:
        """The worker has PyTorch loaded: it can try a slab before the first run."""
        self._workerIsWarm = True
        self._panel.refresh()

    def learn(self, device: str, secondsPerLitre: Optional[float]) -> None:
        """One slab was tried after this computer had learnt to compute faster: what was known before is out of date."""
        self._tried = {device: secondsPerLitre}

    def show(self, volumeNode: Optional[slicer.vtkMRMLScalarVolumeNode], device: str) -> None:
        """Says how long a run will take.

        Args:
            volumeNode: the scan; None says nothing.
            device: as it is chosen.
        """
        self._label.visible, self.seconds = False, None
        litres = 0.0 if volumeNode is None else litresOf(volumeNode)
        if not litres:
            return
        words = _("A run will take about {duration} on this computer.")
        seconds = pace.expected(device, litres)
        if seconds is None or self._logic.numbaIsMissing():
            # The slab also tells whether Numba would help.
            self._try(device)
        if seconds is None:
            words = _("The first run will take about {duration}, as estimated from a short test of this computer.")
            tried = self._tried.get(device)
            seconds = None if tried is None else pace.seconds_for(tried, litres)
        self.seconds = seconds
        if seconds is not None:
            self._label.text = words.format(duration=duration(max(1.0, seconds)))
            self._label.visible = True

    def _try(self, device: str) -> None:
        """Has the worker try one slab, once for each device; a failure is told by the run itself."""
        if device in self._tried or not self._workerIsWarm or self._panel.busy:
            return
        self._tried[device] = None

        def onDone(secondsPerLitre: Optional[float], computePath: ComputePath) -> None:
            self._tried[device] = secondsPerLitre
            self._panel.tellComputePath(computePath)

        self._logic.paceAsync(onDone=onDone, **self._panel.settings())
