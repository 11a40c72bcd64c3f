"""What a section may use of the panel around it; sections do not know each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Protocol

import slicer

if TYPE_CHECKING:
    from ..parameters import LVNetSegmentationParameterNode

#: The widgets of the .ui file by name.  What each of them has, Testing/widget/api_names.txt lists: Qt gives no types.
Widgets = Any


class PanelContext(Protocol):
    """Passed to every section; :class:`~LVNetSegmentationLib.panel.modulepanel.Panel` is one."""

    @property
    def parameters(self) -> Optional[LVNetSegmentationParameterNode]:
        """The bound parameter node; None while another module or no scene is open."""

    @property
    def busy(self) -> bool:
        """Whether something is being segmented."""

    @property
    def weightsProblem(self) -> str:
        """Why the chosen weights cannot be used; empty if they can."""

    def currentParameters(self) -> LVNetSegmentationParameterNode:
        """The parameters of the scene, also while another module is open."""

    def setterOf(self, name: str) -> Callable[[str], None]:
        """A slot that sets a parameter to the value it receives."""

    def settings(self) -> Dict[str, Any]:
        """The segmentation settings, as keyword arguments for the logic."""

    def refresh(self) -> None:
        """Updates every section."""

    def say(self, line: str) -> None:
        """Adds a line to the log at the bottom of the panel."""

    def tellHidden(self, names: List[str]) -> None:
        """Logs which segmentations were hidden because no slice view shows their volume."""

    def volumesOf(self, segmentationNode: Optional[slicer.vtkMRMLSegmentationNode]) -> Dict[str, float]:
        """Volumes in ml by segment identifier; empty until they are counted."""

    def keepInput(self) -> None:
        """Marks the current input volume as chosen by the user."""

    def torchIsReady(self, tell: Callable[[str], None]) -> bool:
        """Whether PyTorch is there, installed now if the user agrees; `tell` gets the reason where it is not."""

    def findDevices(self) -> None:
        """Queries the available devices from the worker, without blocking."""
