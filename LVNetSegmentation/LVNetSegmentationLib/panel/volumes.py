"""The volumes of the segments in the panel."""

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
    """Counts volumes of segments in small steps, so that the window stays responsive."""

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
        """Volumes in ml by segment identifier; empty until they are counted."""
        state = stateOfOutput(segmentationNode)
        if len(state) < 2:
            return {}
        if state not in self._known and state not in self._work:
            # An older state of the same segmentation is outdated.
            for old in [old for old in self._work if old[0] == state[0]]:
                del self._work[old]
            self._work[state] = Steps(segmentVolumes(segmentationNode))
            self._timer.start()
        return self._known.get(state, {})

    @property
    def counting(self) -> bool:
        return bool(self._work)

    def stop(self) -> None:
        """Stops counting."""
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
    """The name of a segment with its volume, if known: `liver (1480 ml)`."""
    if millilitres is None:
        return name
    return _("{name} ({volume:.0f} ml)").format(name=name, volume=millilitres)
