"""The default input volume, until the user chooses one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

import slicer

from ..views import shownVolume

if TYPE_CHECKING:
    from ..interfaces import qMRMLNodeComboBox
    from ..parameters import LVNetSegmentationParameterNode


class InputChoice:
    """Follows the volume shown in the views, until the user chooses one.

    A volume counts as chosen by the user if they picked it in the selector, started a run on it, chose an output for
    it, or loaded a scene that names it as input; and if a script set it in the parameters.
    """

    def __init__(self, selector: qMRMLNodeComboBox) -> None:
        """Args:
        selector: for the input volume.
        """
        self._parameters: Optional[LVNetSegmentationParameterNode] = None
        self._automatic = ""
        #: Identifier of a volume that the selector is about to report as picked by the user, although nobody picked it.
        self._notPicked = ""
        selector.connect("currentNodeChanged(vtkMRMLNode*)", self._onCurrentNode)
        selector.connect("nodeActivated(vtkMRMLNode*)", self._onActivated)

    def bind(self, parameters: Optional[LVNetSegmentationParameterNode]) -> None:
        """Binds other parameters, or none; chooses a volume if they have none.

        Call it before the selector is bound to them, because an empty selector selects the first volume by itself.
        """
        self._parameters = parameters
        if parameters is None:
            return
        if parameters.inputVolume is None:
            self._choose(shownVolume() or slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode"))
        else:
            self.follow()

    def follow(self) -> None:
        """Switches to the volume that is shown now, unless the user chose the current one."""
        parameters = self._parameters
        if parameters is None or parameters.outputSegmentation is not None:
            return
        chosen = parameters.inputVolume
        if chosen is None or chosen.GetID() == self._automatic:
            self._choose(shownVolume())

    def keep(self) -> None:
        """Marks the current volume as chosen by the user."""
        self._automatic = ""

    def _choose(self, volumeNode: Optional[slicer.vtkMRMLScalarVolumeNode]) -> None:
        if self._parameters is None or volumeNode is None or volumeNode.GetID() == self._automatic:
            return
        self._automatic = volumeNode.GetID()
        self._parameters.inputVolume = volumeNode

    def _onCurrentNode(self, volumeNode: Optional[slicer.vtkMRMLScalarVolumeNode]) -> None:
        if self._parameters is None or volumeNode is None:
            return
        before = self._parameters.inputVolume
        if before is None:
            # An empty selector selects the first volume that is added.
            self._automatic = volumeNode.GetID()
        elif before.GetID() != volumeNode.GetID():
            return
        # Otherwise the parameters already had it, from `_choose` or a script.  In both cases, Slicer's selector sends
        # itself a key event, and therefore reports right after this that the user picked the volume.
        self._notPicked = volumeNode.GetID()

    def _onActivated(self, volumeNode: Optional[slicer.vtkMRMLScalarVolumeNode]) -> None:
        picked = volumeNode is not None and volumeNode.GetID() != self._notPicked
        self._notPicked = ""
        if picked and self._parameters is not None:
            self.keep()
