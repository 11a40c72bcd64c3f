"""The 3D Slicer module: panel, logic and self-test, thin layers over LVNetSegmentationLib and lvnet."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Dict, Optional, Tuple

import slicer
import vtk
from LVNetSegmentationLib.logic import LVNetSegmentationLogic
from LVNetSegmentationLib.parameters import LVNetSegmentationParameterNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

if TYPE_CHECKING:
    from LVNetSegmentationLib.interfaces import QWidget, qSlicerScriptedLoadableModule
    from LVNetSegmentationLib.panel.inputchoice import InputChoice
    from LVNetSegmentationLib.panel.modulepanel import Panel

HOMEPAGE = "https://github.com/lvnet-segmentation/SlicerLVNetSegmentation"
CITATION = "Lei et al., Lightweight V-Net for Liver Segmentation, ICASSP 2020, doi:10.1109/ICASSP40776.2020.9053454"


class LVNetSegmentation(ScriptedLoadableModule):
    """The module's metadata, which Slicer shows before the module is opened."""

    def __init__(self, parent: qSlicerScriptedLoadableModule) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("LV-Net Segmentation")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Segmentations"]
        parent.contributors = ["LVNetSegmentation contributors"]
        parent.helpText = _(
            "<p>Segments the liver on CT with LV-Net, a lightweight 3D network that comes with its weights, and"
            " compares a segmentation with a reference. For research use, not for diagnosis.</p>"
            '<p>Tutorial and troubleshooting: <a href="{url}">{url}</a></p>'
            "<p>Please cite: {citation}</p>"
        ).format(url=HOMEPAGE, citation=CITATION)
        parent.acknowledgementText = _(
            'The network follows the paper "Lightweight V-Net for Liver Segmentation" (ICASSP 2020); this is an'
            " independent implementation. The weights are for research use only; see their model card."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData() -> None:
    """Adds two scans to the Sample Data module: a synthetic abdomen, and Slicer's own CT of a liver."""
    try:
        import SampleData
    except ImportError:  # a Slicer built without it
        return
    from LVNetSegmentationLib.sampledata import CATEGORY, CT_LIVER_SHA256, PhantomLoader

    icons = os.path.join(os.path.dirname(os.path.abspath(__file__)), "Resources", "Icons")
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=_("Synthetic abdomen (phantom) with reference"),
        # Nothing is downloaded, but Slicer counts the files.
        uris="",
        fileNames="",
        thumbnailFileName=os.path.join(icons, "SamplePhantom.png"),
        customDownloader=PhantomLoader(LVNetSegmentationLogic),
    )
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=_("CT of a liver"),
        uris=f"{slicer.util.TESTING_DATA_URL}SHA256/{CT_LIVER_SHA256}",
        fileNames="CTLiver.nrrd",
        nodeNames="CTLiver",
        checksums=f"SHA256:{CT_LIVER_SHA256}",
        thumbnailFileName=os.path.join(icons, "LVNetSegmentation.png"),
    )


class LVNetSegmentationWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The lifecycle of the panel, which is implemented in LVNetSegmentationLib/panel."""

    def __init__(self, parent: Optional[QWidget] = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        # None until `setup`, which Slicer calls before anything but `cleanup`.
        self.logic: LVNetSegmentationLogic = None  # type: ignore[assignment]
        self.panel: Panel = None  # type: ignore[assignment]
        self._inputChoice: InputChoice = None  # type: ignore[assignment]
        self._parameterNode: Optional[LVNetSegmentationParameterNode] = None
        self._parameterNodeGuiTag: Optional[str] = None

    def setup(self) -> None:
        """Builds the panel when it is opened for the first time."""
        ScriptedLoadableModuleWidget.setup(self)
        from LVNetSegmentationLib.panel.inputchoice import InputChoice
        from LVNetSegmentationLib.panel.modulepanel import Panel

        uiWidget = slicer.util.loadUI(self.resourcePath("UI/LVNetSegmentation.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = LVNetSegmentationLogic()
        self._inputChoice = InputChoice(self.ui.inputSelector)
        self.panel = Panel(self.ui, self.logic, self._inputChoice)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartImportEvent, self.onSceneStartImport)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndImport)
        for event in (slicer.mrmlScene.NodeAddedEvent, slicer.mrmlScene.NodeRemovedEvent):
            self.addObserver(slicer.mrmlScene, event, self.onParametersModified)
        selectionNode = slicer.mrmlScene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
        if selectionNode is not None:
            self.addObserver(selectionNode, vtk.vtkCommand.ModifiedEvent, self.onSelectionModified)
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """Called before the panel is destroyed: Slicer exits, or the module is reloaded."""
        self.removeObservers()
        if self.panel:
            self.panel.cleanup()
        self._release()

    def enter(self) -> None:
        """Called when the user opens the module."""
        self.initializeParameterNode()
        self.panel.opened()

    def exit(self) -> None:
        """Called when the user leaves the module; running jobs continue."""
        self.setParameterNode(None)

    def onReload(self) -> None:
        """For developers: reloads the module together with the packages that it imports."""
        self.panel.cleanup()
        for name in [name for name in sys.modules if name.split(".")[0] in ("lvnet", "LVNetSegmentationLib")]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def onSelectionModified(self, caller: vtk.vtkObject, event: str) -> None:
        """Called when Slicer shows another volume, for example after loading one."""
        if not slicer.mrmlScene.IsBatchProcessing() and not self.panel.busy:
            self._inputChoice.follow()

    def onSceneStartClose(self, caller: vtk.vtkObject, event: str) -> None:
        self.panel.sceneCloses()
        self._inputChoice.keep()
        self.setParameterNode(None)

    def onSceneEndClose(self, caller: vtk.vtkObject, event: str) -> None:
        if self.parent.isEntered:
            self.initializeParameterNode()

    def onSceneStartImport(self, caller: vtk.vtkObject, event: str) -> None:
        # During an import, each selector picks the first suitable node.  These picks must not replace the
        # parameters of the imported scene, whose volume the user chose.
        self._inputChoice.keep()
        self.setParameterNode(None)

    def onSceneEndImport(self, caller: vtk.vtkObject, event: str) -> None:
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self) -> None:
        """Binds the scene's parameter node; without an input volume, it gets the volume shown in the views."""
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, parameterNode: Optional[LVNetSegmentationParameterNode]) -> None:
        """Binds the panel to a parameter node, or to none."""
        self._release()
        self._parameterNode = parameterNode
        self._inputChoice.bind(parameterNode)
        if self._parameterNode:
            # Not connectGui: in Slicer 5.8 it returns no tag, without which its bindings cannot be released.
            tag = self._parameterNode.connectParametersToGui(self._boundWidgets())  # type: ignore[attr-defined]
            self._parameterNodeGuiTag = tag
            self.addObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        if self.panel:
            self.panel.bind(self._parameterNode)

    def _release(self) -> None:
        """Unbinds the parameter node."""
        if self._parameterNode:
            if self.hasObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified):
                self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
            released, self._parameterNode = self._parameterNode, None
            try:
                released.disconnectGui(self._parameterNodeGuiTag)  # type: ignore[attr-defined]
            except (ValueError, AttributeError, RuntimeError):
                # When Slicer exits, widgets may already be destroyed.  `disconnectGui` stops at the first of them, and
                # every change of the node would still update all of them.
                released.parameterNode.RemoveObservers(vtk.vtkCommand.ModifiedEvent)  # type: ignore[attr-defined]

    def _boundWidgets(self) -> Dict[str, QWidget]:
        """The widgets that the .ui file binds to a parameter, by parameter name."""
        named = ((widget.property("SlicerParameterName"), widget) for widget in vars(self.ui).values())
        return {name: widget for name, widget in named if name}

    def onParametersModified(self, caller: Optional[vtk.vtkObject] = None, event: str = "") -> None:
        if not slicer.mrmlScene.IsBatchProcessing():
            self.panel.refresh()


class LVNetSegmentationTest(ScriptedLoadableModuleTest):
    """The self-test, run in a real Slicer from the panel or by CTest, on a scan that it generates itself."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()
        self.logic = LVNetSegmentationLogic()

    def tearDown(self) -> None:
        self.logic.shutdown()

    def runTest(self) -> None:
        names = [name for name in dir(self) if name.startswith("test_")]
        for name in names:
            self.setUp()
            try:
                self.delayDisplay(name)
                getattr(self, name)()
            finally:
                self.tearDown()
        self.delayDisplay("Test passed")

    def addSyntheticAbdomen(self) -> Tuple[slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLSegmentationNode]:
        """A synthetic abdomen and its exact liver segmentation, both under the same transform."""
        from LVNetSegmentationLib.sampledata import addPhantom

        volumeNode, referenceNode = addPhantom()
        transformNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        matrix = vtk.vtkMatrix4x4()
        matrix.SetElement(0, 3, 50.0)
        transformNode.SetMatrixTransformToParent(matrix)
        for node in (volumeNode, referenceNode):
            node.SetAndObserveTransformNodeID(transformNode.GetID())
        return volumeNode, referenceNode

    def test_aCancelledRunLeavesTheSceneAsItWas(self) -> None:
        if self.logic.torchIsMissing():
            self.delayDisplay("Not run: PyTorch is not installed")
            return
        volumeNode = self.addSyntheticAbdomen()[0]
        count = slicer.mrmlScene.GetNumberOfNodes()
        ended = []
        job = self.logic.segmentAsync(volumeNode, device="cpu", onCancelled=lambda: ended.append("cancelled"))
        job.cancel()
        while job.isRunning():
            self.logic.poll()
        assert ended == ["cancelled"]
        assert slicer.mrmlScene.GetNumberOfNodes() == count

    def test_segmentsASyntheticAbdomenUnderATransformAndScoresIt(self) -> None:
        if self.logic.torchIsMissing():
            self.delayDisplay("Not run: PyTorch is not installed")
            return
        volumeNode, referenceNode = self.addSyntheticAbdomen()
        assert self.logic.checkInput(volumeNode) == []
        segmentationNode = self.logic.segment(volumeNode, device="cpu")
        assert segmentationNode.GetParentTransformNode() is volumeNode.GetParentTransformNode()
        result, tableNode = self.logic.evaluate(segmentationNode, referenceNode)
        assert result["dice"] > 0.85, f"DICE is {result['dice']:.3f}"
        assert tableNode.GetTable().GetNumberOfRows() == 1

    def test_anEmptyVolumeIsRefusedInOneLine(self) -> None:
        from lvnet.errors import LVNetError

        volumeNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
        assert self.logic.checkInput(volumeNode)[0][0] == "error"
        said = ""
        try:
            self.logic.segment(volumeNode)
        except LVNetError as error:
            said = str(error)
        assert len(said.splitlines()) == 1, said
