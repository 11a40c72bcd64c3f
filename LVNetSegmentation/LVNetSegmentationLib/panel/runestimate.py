"""The estimated duration of a run, shown before it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, Optional

import slicer
from lvnet.worker.client import pace
from slicer.i18n import tr as _

from ..volumechecks import litresOf
from .context import PanelContext
from .wording import duration

if TYPE_CHECKING:
    from lvnet.acceleration import ComputePath

    from ..interfaces import QLabel
    from ..logic import LVNetSegmentationLogic


class RunEstimate:
    """A line below the button, based on earlier runs on this computer, or else on one slab in the worker."""

    def __init__(self, label: QLabel, panel: PanelContext, logic: LVNetSegmentationLogic) -> None:
        """Args:
        label: shows the estimate.
        panel: the panel around it.
        logic: the module's logic.
        """
        self._label = label
        self._panel = panel
        self._logic = logic
        #: Seconds that a run of the present volume will take; None where that is unknown.
        self.seconds: Optional[float] = None
        #: Seconds per litre by device, measured on one slab; None until they are known.
        self._tried: Dict[str, Optional[float]] = {}
        self._workerIsWarm = False
        label.visible = False

    def workerIsWarm(self) -> None:
        """Called when the worker has loaded PyTorch, so that it can try a slab before the first run."""
        self._workerIsWarm = True
        self._panel.refresh()

    def learn(self, device: str, secondsPerLitre: Optional[float]) -> None:
        """Replaces what was known, after Numba was installed and one slab was computed with it."""
        self._tried = {device: secondsPerLitre}

    def show(self, volumeNode: Optional[slicer.vtkMRMLScalarVolumeNode], device: str) -> None:
        """Shows how long a run will take.

        Args:
            volumeNode: the scan; None hides the line.
            device: the chosen one.
        """
        self._label.visible, self.seconds = False, None
        litres = 0.0 if volumeNode is None else litresOf(volumeNode)
        if not litres:
            return
        words = _("A run will take about {duration} on this computer.")
        seconds = pace.expected(device, litres)
        if seconds is None or self._logic.numbaIsMissing():
            # The slab also shows whether Numba would help.
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
        """Tries one slab in the worker, once per device; a failure is left to the run to report."""
        if device in self._tried or not self._workerIsWarm or self._panel.busy:
            return
        self._tried[device] = None

        def onDone(secondsPerLitre: Optional[float], computePath: ComputePath) -> None:
            self._tried[device] = secondsPerLitre
            self._panel.noteComputePath(computePath)

        self._logic.paceAsync(onDone=onDone, **self._panel.settings())
