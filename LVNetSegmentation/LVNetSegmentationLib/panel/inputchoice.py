"""Which volume is segmented as long as nobody has chosen one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

import slicer

from ..views import shownVolume

if TYPE_CHECKING:
    from ..parameters import LVNetSegmentationParameterNode


class InputChoice:
    """Follows the volume that the user looks at, until the user chooses one.

    A volume counts as chosen by the user if they picked it in the selector, started a run on it, chose an output for
    it, or loaded it as the choice of a scene; and if a script wrote it into the parameters.
    """

    def __init__(self, selector: Any) -> None:
        """Args:
        selector: the qMRMLNodeComboBox of the input.
        """
        self._parameters: Optional[LVNetSegmentationParameterNode] = None
        self._automatic = ""
        #: The volume of which the selector is about to say that the user picked it, without anybody having done so.
        self._notPicked = ""
        selector.connect("currentNodeChanged(vtkMRMLNode*)", self._onCurrentNode)
        selector.connect("nodeActivated(vtkMRMLNode*)", self._onActivated)

    def bind(self, parameters: Optional[LVNetSegmentationParameterNode]) -> None:
        """Takes other parameters, or none; chooses a volume where none is chosen.

        It is called before the selector is bound to them, for an empty selector takes the first volume by itself.
        """
        self._parameters = parameters
        if parameters is None:
            return
        if parameters.inputVolume is None:
            self._choose(shownVolume() or slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode"))
        else:
            self.follow()

    def follow(self) -> None:
        """Takes the volume that is shown now, unless the present one was chosen."""
        parameters = self._parameters
        if parameters is None or parameters.outputSegmentation is not None:
            return
        chosen = parameters.inputVolume
        if chosen is None or chosen.GetID() == self._automatic:
            self._choose(shownVolume())

    def keep(self) -> None:
        """The present volume counts as chosen by the user."""
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
            # A selector without a choice takes the first volume that comes.
            self._automatic = volumeNode.GetID()
        elif before.GetID() != volumeNode.GetID():
            return
        # Else the parameters had it before, from `_choose` or a script.  In both cases Slicer's selector sends itself a
        # key, and so says right after this that the user picked the volume.
        self._notPicked = volumeNode.GetID()

    def _onActivated(self, volumeNode: Optional[slicer.vtkMRMLScalarVolumeNode]) -> None:
        picked = volumeNode is not None and volumeNode.GetID() != self._notPicked
        self._notPicked = ""
        if picked and self._parameters is not None:
            self.keep()
