"""The volume of each segment that the panel names."""

from __future__ import annotations

from typing import Callable, Dict, Optional

import qt
import slicer
from lvnet.worker.client.steps import Steps
from slicer.i18n import tr as _

from ..segmentvolumes import segmentVolumes
from .doubts import stateOfOutput

_MOST_KNOWN = 16


class SegmentVolumes:
    """Millilitres by segment, counted a little at a time between two events of the window."""

    def __init__(self, onCounted: Callable[[], None]) -> None:
        """Args:
        onCounted: called without arguments as soon as a segmentation is counted.
        """
        self._onCounted = onCounted
        self._known: Dict[tuple, Dict[str, float]] = {}
        self._work: Dict[tuple, Steps[Dict[str, float]]] = {}
        self._timer = qt.QTimer()
        self._timer.setInterval(20)
        self._timer.connect("timeout()", self._advance)

    def of(self, segmentationNode: Optional[slicer.vtkMRMLSegmentationNode]) -> Dict[str, float]:
        """Millilitres by the identifier of a segment; empty as long as they are not counted."""
        state = stateOfOutput(segmentationNode)
        if len(state) < 2:
            return {}
        if state not in self._known and state not in self._work:
            # Whoever is counted in an older state has changed since.
            for old in [old for old in self._work if old[0] == state[0]]:
                del self._work[old]
            self._work[state] = Steps(segmentVolumes(segmentationNode))
            self._timer.start()
        return self._known.get(state, {})

    @property
    def counting(self) -> bool:
        return bool(self._work)

    def stop(self) -> None:
        """Nothing is counted any more."""
        self._timer.stop()
        self._work.clear()

    def _advance(self) -> None:
        if not self._work:
            self._timer.stop()
            return
        state, steps = next(iter(self._work.items()))
        if not steps.advance():
            return
        del self._work[state]
        while len(self._known) >= _MOST_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[state] = steps.result
        self._onCounted()


def withVolume(name: str, millilitres: Optional[float]) -> str:
    """The name of a segment with its volume, where that is known: `liver (1480 ml)`."""
    if millilitres is None:
        return name
    return _("{name} ({volume:.0f} ml)").format(name=name, volume=millilitres)
