"""What a section of the panel may ask of the panel around it; sections do not know each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Protocol

import slicer

if TYPE_CHECKING:
    from lvnet.acceleration import ComputePath

    from ..parameters import LVNetSegmentationParameterNode

#: The widgets of the .ui file by name.  What each of them has, Testing/widget/api_names.txt lists: Qt gives no types.
Widgets = Any


class PanelContext(Protocol):
    """Handed to every section; :class:`~LVNetSegmentationLib.panel.modulepanel.Panel` is one."""

    @property
    def parameters(self) -> Optional[LVNetSegmentationParameterNode]:
        """The bound parameter node; None while another module or no scene is open."""

    @property
    def busy(self) -> bool:
        """Whether something is being segmented."""

    @property
    def weightsProblem(self) -> str:
        """Why the chosen weights cannot be used; empty where they can."""

    def currentParameters(self) -> LVNetSegmentationParameterNode:
        """The parameters of the scene, also while another module is open."""

    def setterOf(self, name: str) -> Callable[[str], None]:
        """A slot that writes what it gets into a parameter."""

    def settings(self) -> Dict[str, Any]:
        """How to segment, as the logic takes it."""

    def refresh(self) -> None:
        """Brings every section up to date."""

    def say(self, line: str) -> None:
        """Adds a line to the log at the foot of the panel."""

    def tellHidden(self, names: List[str]) -> None:
        """Notes which segmentations were hidden because their volume is in no slice view."""

    def volumesOf(self, segmentationNode: Optional[slicer.vtkMRMLSegmentationNode]) -> Dict[str, float]:
        """Millilitres by the identifier of a segment; empty as long as they are not counted."""

    def keepInput(self) -> None:
        """The present input volume counts as chosen by the user."""

    def torchIsReady(self, tell: Callable[[str], None]) -> bool:
        """Whether PyTorch is there, installed now if the user agrees; `tell` gets the reason where it is not."""

    @property
    def runSeconds(self) -> Optional[float]:
        """Seconds of the last run of the chosen volume, else of the next one as foretold; None where unknown."""

    def tellComputePath(self, computePath: ComputePath) -> None:
        """Notes how the worker computes the network."""

    def tellPace(self, secondsPerLitre: Optional[float]) -> None:
        """Notes how fast this computer is since it has learnt to compute faster."""

    def findDevices(self) -> None:
        """Asks the worker which devices there are, without waiting."""
