"""The 3D Slicer module: panel, logic and self-test, thin layers over LVNetSegmentationLib and lvnet."""

import logging
from typing import Annotated, Callable, Optional

import qt
import slicer
import vtk
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

HOMEPAGE = "https://github.com/lvnet-segmentation/SlicerLVNetSegmentation"


class LVNetSegmentation(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("LV-Net Segmentation")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Segmentations"]
        parent.contributors = ["LVNetSegmentation contributors"]
        parent.helpText = _(
            "Segments the liver on CT with LV-Net, a lightweight 3D network. For research use, not for diagnosis."
            ' See <a href="{url}">{url}</a>.'
        ).format(url=HOMEPAGE)
        parent.acknowledgementText = _(
            'The network follows "Lightweight V-Net for Liver Segmentation" by Lei et al., ICASSP 2020.'
        )


@parameterNodeWrapper
class LVNetSegmentationParameterNode:
    """What the user chose; saved with the scene.

    inputVolume - the CT, in HU
    outputSegmentation - takes the result; none adds a new one
    device - where to compute
    """

    inputVolume: vtkMRMLScalarVolumeNode
    outputSegmentation: vtkMRMLSegmentationNode
    device: Annotated[str, Choice(["auto", "cpu", "cuda", "mps"])] = "auto"


class LVNetSegmentationWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel."""

    def __init__(self, parent=None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        self._running = False

    def setup(self) -> None:
        """Builds the panel when it is opened for the first time."""
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/LVNetSegmentation.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = LVNetSegmentationLogic()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.ui.applyButton.connect("clicked(bool)", self.onApplyButton)
        self.ui.progressBar.hide()
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """The panel is about to go."""
        self.removeObservers()

    def enter(self) -> None:
        """The user opens the panel."""
        self.initializeParameterNode()

    def exit(self) -> None:
        """The user opens another panel."""
        self.setParameterNode(None)

    def onSceneStartClose(self, caller, event) -> None:
        self.setParameterNode(None)

    def onSceneEndClose(self, caller, event) -> None:
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self) -> None:
        """Takes the scene's parameter node, and the first volume where none was chosen."""
        self.setParameterNode(self.logic.getParameterNode())
        if not self._parameterNode.inputVolume:
            volumeNode = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
            if volumeNode:
                self._parameterNode.inputVolume = volumeNode

    def setParameterNode(self, parameterNode: Optional[LVNetSegmentationParameterNode]) -> None:
        """Binds the panel to a parameter node, or to none."""
        if self._parameterNode:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._checkCanApply)
        self._parameterNode = parameterNode
        if self._parameterNode:
            self._parameterNodeGuiTag = self._parameterNode.connectGui(self.ui)
            self.addObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._checkCanApply)
            self._checkCanApply()

    def _checkCanApply(self, caller=None, event=None) -> None:
        if self._running:
            reason = _("A volume is being segmented.")
        elif not (self._parameterNode and self._parameterNode.inputVolume):
            reason = _("Choose an input volume.")
        else:
            reason = ""
        self.ui.applyButton.enabled = not reason
        self.ui.applyButton.toolTip = reason or _("Segment the input volume.")

    def onApplyButton(self) -> None:
        """Segments the chosen volume; what goes wrong is shown once."""
        from lvnet.errors import LVNetError

        parameters = self._parameterNode
        self._setRunning(True)
        try:
            with slicer.util.tryWithErrorDisplay(_("The segmentation failed."), waitCursor=True):
                try:
                    parameters.outputSegmentation = self.logic.segment(
                        parameters.inputVolume,
                        parameters.outputSegmentation,
                        device=parameters.device,
                        progress=self._showProgress,
                    )
                    self.ui.statusLabel.text = "\n".join(self.logic.lines)
                except LVNetError as error:
                    # The user's to put right: the line says how, a traceback would only hide it.
                    self.ui.statusLabel.text = str(error)
        finally:
            self._setRunning(False)

    def _setRunning(self, running: bool) -> None:
        self._running = running
        self.ui.progressBar.visible = running
        if running:
            self.ui.progressBar.value = 0
            self.ui.statusLabel.text = ""
        self._checkCanApply()

    def _showProgress(self, share: float, stage: str) -> None:
        self.ui.progressBar.value = round(100 * share)
        self.ui.statusLabel.text = stage
        # Painted, but not clickable: the work runs within this very call.
        slicer.app.processEvents(qt.QEventLoop.ExcludeUserInputEvents)


class LVNetSegmentationLogic(ScriptedLoadableModuleLogic):
    """What the module does, without a panel."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        #: What to tell the user about the last run.
        self.lines = []

    def getParameterNode(self) -> LVNetSegmentationParameterNode:
        return LVNetSegmentationParameterNode(super().getParameterNode())

    def segment(
        self,
        volumeNode: vtkMRMLScalarVolumeNode,
        segmentationNode: Optional[vtkMRMLSegmentationNode] = None,
        device: str = "auto",
        weights: Optional[str] = None,
        overlap: Optional[float] = None,
        progress: Optional[Callable[[float, str], None]] = None,
    ) -> vtkMRMLSegmentationNode:
        """Segments a volume and returns the segmentation node.

        It computes within Slicer's own process, so Slicer waits, and it cannot be cancelled yet.

        Args:
            volumeNode: a CT in HU.
            segmentationNode: takes the segments; None adds a new one, named after the volume.
            device: auto, cpu, cuda, cuda:N or mps.
            weights: a checkpoint file; None takes the bundled one.
            overlap: share of a slab that its neighbour covers again, 0 to 0.9; None takes the usual one.
            progress: called with the share that is done (0 to 1) and the stage.

        Raises:
            LVNetError: something that the user can put right; one line says what and how.
        """
        from LVNetSegmentationLib.dependencies import ensureTorch

        ensureTorch()
        from LVNetSegmentationLib.segmenting import segmentVolumeNode

        outcome = segmentVolumeNode(volumeNode, segmentationNode, device, weights, overlap, progress)
        self.lines = outcome.lines
        for line in outcome.lines:
            logging.info("LV-Net Segmentation: %s", line)
        return outcome.segmentationNode


class LVNetSegmentationTest(ScriptedLoadableModuleTest):
    """The self-test, run in a real Slicer from the panel or by CTest."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        self.setUp()
        self.test_segmentsAMadeAbdomenUnderATransform()

    def test_segmentsAMadeAbdomenUnderATransform(self) -> None:
        """A made abdomen under a transform gives a liver that overlaps the exact one."""
        from lvnet.phantom import make_phantom
        from LVNetSegmentationLib.dependencies import torchIsMissing
        from LVNetSegmentationLib.nodes import addVolumeNode

        if torchIsMissing():
            self.delayDisplay("Skipped: PyTorch is not installed")
            return
        scan, label = make_phantom(1)
        volumeNode = addVolumeNode(scan, "Made abdomen")
        transformNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        matrix = vtk.vtkMatrix4x4()
        matrix.SetElement(0, 3, 50.0)
        transformNode.SetMatrixTransformToParent(matrix)
        volumeNode.SetAndObserveTransformNodeID(transformNode.GetID())
        segmentationNode = LVNetSegmentationLogic().segment(volumeNode, device="cpu")
        assert segmentationNode.GetParentTransformNode() is transformNode
        segmentId = segmentationNode.GetSegmentation().GetSegmentIdBySegmentName("liver")
        found = slicer.util.arrayFromSegmentBinaryLabelmap(segmentationNode, segmentId, volumeNode) > 0
        exact = label.array > 0
        dice = 2.0 * (found & exact).sum() / (found.sum() + exact.sum())
        assert dice > 0.8, f"DICE is {dice:.3f}"
        self.delayDisplay("Test passed")
