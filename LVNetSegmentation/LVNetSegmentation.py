"""The 3D Slicer module: panel, logic and self-test, thin layers over LVNetSegmentationLib and lvnet."""

import logging
import os
import sys
from typing import Annotated, Callable, Optional, Union

import slicer
import vtk
from slicer import vtkMRMLLabelMapVolumeNode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode, vtkMRMLTableNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

HOMEPAGE = "https://github.com/lvnet-segmentation/SlicerLVNetSegmentation"
CITATION = "Lei et al., Lightweight V-Net for Liver Segmentation, ICASSP 2020, doi:10.1109/ICASSP40776.2020.9053454"


class LVNetSegmentation(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent) -> None:
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
            " independent implementation. The weights are for research use only; their model card lies beside them."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData() -> None:
    """Offers two scans in the module Sample Data: a made abdomen, and Slicer's own CT of a liver."""
    try:
        import SampleData
    except ImportError:  # a Slicer built without it
        return
    from LVNetSegmentationLib.sampledata import CATEGORY, addPhantom

    icons = os.path.join(os.path.dirname(os.path.abspath(__file__)), "Resources", "Icons")
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=_("Made abdomen with reference"),
        thumbnailFileName=os.path.join(icons, "SamplePhantom.png"),
        customDownloader=addPhantom,
    )
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=_("CT of a liver"),
        thumbnailFileName=os.path.join(icons, "LVNetSegmentation.png"),
        customDownloader=lambda source: SampleData.SampleDataLogic().downloadSample("CTLiver"),
    )


@parameterNodeWrapper
class LVNetSegmentationParameterNode:
    """What the user chose; saved with the scene.

    inputVolume - the CT, in HU
    outputSegmentation - takes the result; none adds a new one
    device - where to compute: auto, cpu, cuda:N, mps
    weights - a checkpoint file; empty takes the one that comes with the module
    overlap - share of a slab that its neighbour covers again
    postprocess - keep the largest piece and fill its holes
    threads - of the CPU; 0 takes as many as there are cores
    keepWarm - whether the worker process stays between runs
    comparedNode, referenceNode - what is compared with what
    preset - whose definitions of the metrics
    metricsTable - takes the numbers; none adds a new one
    batchOfFolder - a folder rather than the volumes of the scene
    batchInputFolder, batchOutputFolder, batchFormat - where the scans are, and where and how results go
    """

    inputVolume: vtkMRMLScalarVolumeNode
    outputSegmentation: vtkMRMLSegmentationNode
    device: str = "auto"
    weights: str = ""
    overlap: Annotated[float, WithinRange(0.0, 0.9)] = 0.5
    postprocess: bool = True
    threads: Annotated[int, WithinRange(0, 256)] = 0
    keepWarm: bool = True
    comparedNode: Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]
    referenceNode: Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]
    preset: Annotated[str, Choice(["lits", "chaos", "medpy", "surfel"])] = "lits"
    metricsTable: vtkMRMLTableNode
    batchOfFolder: bool = False
    batchInputFolder: str = ""
    batchOutputFolder: str = ""
    batchFormat: Annotated[str, Choice([".seg.nrrd", ".nii.gz", ".nrrd", ".mha"])] = ".seg.nrrd"


class LVNetSegmentationWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The life of the panel; what it does stands in LVNetSegmentationLib/panel."""

    def __init__(self, parent=None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None

    def setup(self) -> None:
        """Builds the panel when it is opened for the first time."""
        ScriptedLoadableModuleWidget.setup(self)
        from LVNetSegmentationLib.panel.panel import Panel

        uiWidget = slicer.util.loadUI(self.resourcePath("UI/LVNetSegmentation.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = LVNetSegmentationLogic()
        self.panel = Panel(self.ui, self.logic)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndImport)
        for event in (slicer.mrmlScene.NodeAddedEvent, slicer.mrmlScene.NodeRemovedEvent):
            self.addObserver(slicer.mrmlScene, event, self.onParametersModified)
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """The panel is about to go: Slicer exits, or the module is reloaded."""
        self.setParameterNode(None)
        self.removeObservers()
        if self.panel:
            self.panel.cleanup()

    def enter(self) -> None:
        """The user opens the panel."""
        self.initializeParameterNode()
        self.panel.opened()

    def exit(self) -> None:
        """The user opens another panel; what runs goes on."""
        self.setParameterNode(None)

    def onReload(self) -> None:
        """Developers only: the files that the module imports are read again too."""
        self.panel.cleanup()
        for name in [name for name in sys.modules if name.split(".")[0] in ("lvnet", "LVNetSegmentationLib")]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def onSceneStartClose(self, caller, event) -> None:
        self.panel.sceneCloses()
        self.setParameterNode(None)

    def onSceneEndClose(self, caller, event) -> None:
        if self.parent.isEntered:
            self.initializeParameterNode()

    def onSceneEndImport(self, caller, event) -> None:
        # A scene that was loaded brings its own parameters.
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
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        self._parameterNode = parameterNode
        if self._parameterNode:
            # Not connectGui: that of Slicer 5.8 gives no tag, so that what it binds is never released.
            self._parameterNodeGuiTag = self._parameterNode.connectParametersToGui(self._boundWidgets())
            self.addObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        if self.panel:
            self.panel.bind(self._parameterNode)

    def _boundWidgets(self) -> dict:
        """The widgets that the .ui file binds to a parameter, by the name of the parameter."""
        named = ((widget.property("SlicerParameterName"), widget) for widget in vars(self.ui).values())
        return {name: widget for name, widget in named if name}

    def onParametersModified(self, caller=None, event=None) -> None:
        if not slicer.mrmlScene.IsBatchProcessing():
            self.panel.refresh()


class LVNetSegmentationLogic(ScriptedLoadableModuleLogic):
    """What the module does, without a panel.

    The network runs in a process of its own that stays warm for the next run.  What is started with
    an `...Async` method goes on while Slicer does other things; its callbacks are called from
    :meth:`poll`, which a timer of this logic calls where Qt is at hand, and the caller elsewhere.
    """

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        #: What to tell the user about the last run.
        self.lines = []
        #: What the last run gave, a LVNetSegmentationLib.outcome.Outcome.
        self.outcome = None
        self._service = None
        self._timer = None

    def getParameterNode(self) -> LVNetSegmentationParameterNode:
        return LVNetSegmentationParameterNode(super().getParameterNode())

    @property
    def service(self):
        """The LVNetSegmentationLib.service.Service of this logic: the worker process and its jobs."""
        if self._service is None:
            from LVNetSegmentationLib.service import Service

            self._service = Service()
        return self._service

    @property
    def keepWarm(self) -> bool:
        """Whether the worker process stays for the next run (default); else it ends after each."""
        return self.service.keepWarm

    @keepWarm.setter
    def keepWarm(self, keep: bool) -> None:
        self.service.keepWarm = keep

    def checkInput(self, volumeNode) -> list:
        """Whether a volume can be expected to give a liver, before any computing.

        Args:
            volumeNode: any volume node, None, or a sequence; it is not changed.

        Returns:
            (severity, sentence) pairs, the gravest first, empty when all is well: "error" cannot be
            segmented, "warning" ask the user first, "note" worth knowing.
        """
        from LVNetSegmentationLib.checking import checkVolumeNode

        return checkVolumeNode(volumeNode)

    def segment(
        self,
        volumeNode: vtkMRMLScalarVolumeNode,
        segmentationNode: Optional[vtkMRMLSegmentationNode] = None,
        device: str = "auto",
        weights: Optional[str] = None,
        overlap: Optional[float] = None,
        postprocess: bool = True,
        threads: Optional[int] = None,
        progress: Optional[Callable[[float, str], None]] = None,
    ) -> vtkMRMLSegmentationNode:
        """Segments a volume, waits, and returns the segmentation node; works without a main window.

        Args:
            volumeNode: a CT in HU.
            segmentationNode: takes the segments; None adds a new one, named after the volume.
            device: auto, cpu, cuda, cuda:N or mps.
            weights: a checkpoint file; None takes the bundled one.
            overlap: share of a slab that its neighbour covers again, 0 to 0.9; None takes the usual one.
            postprocess: keep the largest component and fill its holes.
            threads: on the CPU; None takes all.
            progress: called with the share that is done (0 to 1) and the stage.

        Raises:
            LVNetError: something that the user can put right; one line says what and how.
        """
        job = self.segmentAsync(
            volumeNode,
            segmentationNode,
            device=device,
            weights=weights,
            overlap=overlap,
            postprocess=postprocess,
            threads=threads,
            onProgress=None if progress is None else lambda share, stage, _remaining: progress(share, stage),
        )
        return job.wait()[0]

    def segmentAsync(
        self,
        volumeNode: vtkMRMLScalarVolumeNode,
        segmentationNode: Optional[vtkMRMLSegmentationNode] = None,
        device: str = "auto",
        weights: Optional[str] = None,
        overlap: Optional[float] = None,
        postprocess: bool = True,
        threads: Optional[int] = None,
        onProgress: Optional[Callable] = None,
        onDone: Optional[Callable] = None,
        onError: Optional[Callable[[str], None]] = None,
        onCancelled: Optional[Callable[[], None]] = None,
    ):
        """Segments a volume in the worker process while Slicer goes on.

        The scene is touched once, at the end, when the result is there.  One job runs at a time: a
        second one fails with a sentence that says so.

        Args:
            volumeNode, segmentationNode, device, weights, overlap, postprocess, threads: see :meth:`segment`.
            onProgress: called with the share that is done, the stage and the remaining seconds or None.
            onDone: called with the segmentation node and a LVNetSegmentationLib.outcome.Outcome.
            onError: called with one sentence: what went wrong and what to do.
            onCancelled: called without arguments; without it `onError` is called.

        Returns:
            A LVNetSegmentationLib.jobs.Job: `cancel()`, `isRunning()`, `poll()`, `wait()`.  Errors of
            any kind come through `onError`, none is raised here.
        """
        from LVNetSegmentationLib.segmenting import SegmentJob

        def done(node, outcome) -> None:
            self._remember(outcome)
            if onDone is not None:
                onDone(node, outcome)

        return self._watched(
            SegmentJob(
                self.service,
                volumeNode,
                segmentationNode,
                _settings(device, weights, overlap, postprocess, threads),
                onProgress=onProgress,
                onDone=done,
                onError=onError,
                onCancelled=onCancelled,
            )
        )

    def segmentFolderAsync(
        self,
        inputFolder: str,
        outputFolder: str,
        suffix: str = ".seg.nrrd",
        device: str = "auto",
        weights: Optional[str] = None,
        overlap: Optional[float] = None,
        postprocess: bool = True,
        threads: Optional[int] = None,
        onProgress: Optional[Callable] = None,
        onDone: Optional[Callable] = None,
        onError: Optional[Callable[[str], None]] = None,
        onCancelled: Optional[Callable[[], None]] = None,
        onScan: Optional[Callable[[dict], None]] = None,
    ):
        """Segments every scan of a folder (images, or folders of DICOM) into another folder.

        The scene is not touched.  A scan that fails does not stop the others.

        Args:
            suffix: .seg.nrrd, .nii.gz, .nrrd or .mha.
            onDone: called with a list of dict, one a scan: `input`, `output` (None if it failed),
                `error` (None or one sentence), `volumes_ml`, `checks`, `input_checks`, `scan_notes`, `seconds`.
            onScan: called with each of these as it is done.

        Returns:
            A job, see :meth:`segmentAsync`.
        """
        from LVNetSegmentationLib.folders import FolderJob

        settings = _settings(device, weights, overlap, postprocess, threads)
        callbacks = (onProgress, onDone, onError, onCancelled, onScan)
        return self._watched(FolderJob(self.service, inputFolder, outputFolder, suffix, settings, *callbacks))

    def evaluate(
        self,
        segmentation,
        reference,
        segment: Optional[str] = None,
        referenceSegment=None,
        preset: str = "lits",
        resample: bool = True,
        tableNode=None,
    ):
        """Compares a segmentation with a reference: DICE, VOE, RVD, ASSD, MSSD and volumes.

        Both are compared where they lie in the world, parent transforms included.

        Args:
            segmentation: a segmentation node or a label map volume node.
            reference: the same.
            segment: name or identifier of the segment (for a label map: the label value); None takes
                the only one, or the one that this module made.
            referenceSegment: the same for the reference; None takes the segment of the same name, or
                the only one.
            preset: definitions of the metrics: lits, chaos, medpy or surfel.
            resample: bring the reference to the segmentation's grid where they differ, and say so in
                `notes`; False makes that an error.
            tableNode: takes the table; None adds a new one.

        Returns:
            The result of `lvnet.evaluate` as a dict, with `segment` and `reference_segment`; and the
            table node, one row a segment.

        Raises:
            LVNetError: the two cannot be compared; one line says why.
        """
        from LVNetSegmentationLib.evaluating import evaluateNodes
        from LVNetSegmentationLib.tables import tableOfResult

        result = evaluateNodes(segmentation, reference, segment, referenceSegment, preset, resample)
        return result, tableOfResult(result, segmentation, tableNode)

    def exportTableToCsv(self, tableNode, path: str) -> None:
        """Writes a table node as CSV, whole or not at all.

        Raises:
            ImageError: the file cannot be written there.
        """
        from LVNetSegmentationLib.tables import exportTable

        exportTable(tableNode, path)

    def devices(self) -> list:
        """The devices that can be chosen, asked from the worker; waits some seconds the first time.

        Returns:
            dict(id, name, freeMemory) each: `id` is what :meth:`segment` takes, `freeMemory` is in
            bytes or None; the CPU first.

        Raises:
            LVNetError: PyTorch is missing or broken.
        """
        return self.devicesAsync().wait()[0]

    def devicesAsync(self, onDone: Optional[Callable] = None, onError: Optional[Callable[[str], None]] = None):
        """The same without waiting: `onDone` gets the list.  Returns a job."""
        from LVNetSegmentationLib.asking import AskJob

        return self._watched(AskJob(self.service, "devices", onDone=onDone, onError=onError))

    def checkTorchAsync(self, onDone: Optional[Callable] = None, onError: Optional[Callable[[str], None]] = None):
        """Whether PyTorch works: `onDone` gets one sentence with its version and what it computes on.

        It is asked from the worker, so that a broken PyTorch cannot harm Slicer.  Returns a job.
        """
        from LVNetSegmentationLib.asking import AskJob

        return self._watched(AskJob(self.service, "torch", onDone=onDone, onError=onError))

    def torchIsMissing(self) -> bool:
        """Whether PyTorch is not installed."""
        from LVNetSegmentationLib.dependencies import torchIsMissing

        return torchIsMissing()

    def installTorch(self, askConfirmation: bool = True) -> None:
        """Installs PyTorch through the PyTorch extension where it is missing; waits.

        Raises:
            DependencyError: declined, failed, or the extension is missing; one line says what to do.
        """
        from LVNetSegmentationLib.dependencies import ensureTorch

        ensureTorch(askConfirmation)

    def weightsInfo(self, path: Optional[str] = None) -> dict:
        """What a checkpoint file says of itself; needs no PyTorch.

        Args:
            path: a file; None takes the bundled weights.

        Returns:
            dict: `name`, `organs` (names), `scores` (free JSON from its provenance, may be empty),
            `licence` (may be empty), `summary` (one line for the panel), `path`.

        Raises:
            CheckpointError: it is no checkpoint, or a damaged one.
        """
        from LVNetSegmentationLib.asking import weightsInfo

        return weightsInfo(path)

    def logFolder(self) -> str:
        """The folder with the logs of the last runs; it is there."""
        from LVNetSegmentationLib.logs import logFolder

        return str(logFolder())

    def poll(self) -> None:
        """Takes in what the worker has sent and calls the callbacks of the jobs; from the main thread."""
        self.service.poll()
        if self._timer is not None and not self.service.isBusy():
            self._timer.stop()

    def shutdown(self) -> None:
        """Cancels what runs and ends the worker process, at once; a later run starts a new one."""
        if self._timer is not None:
            self._timer.stop()
        if self._service is not None:
            self._service.shutdown()

    def _watched(self, job):
        """Has a job polled by a timer where Qt is at hand and an application runs its events."""
        try:
            import qt

            if self._timer is None:
                self._timer = qt.QTimer()
                self._timer.setInterval(50)
                self._timer.connect("timeout()", self.poll)
            self._timer.start()
        except (ImportError, AttributeError):
            self._timer = None
        return job

    def _remember(self, outcome) -> None:
        self.outcome, self.lines = outcome, outcome.lines
        for line in outcome.lines:
            logging.info("LV-Net Segmentation: %s", line)


def _settings(device, weights, overlap, postprocess, threads) -> dict:
    """How to segment, as the worker takes it."""
    return {
        "device": device,
        "weights": weights,
        "overlap": overlap,
        "postprocess": postprocess,
        "threads": threads,
    }


class LVNetSegmentationTest(ScriptedLoadableModuleTest):
    """The self-test, run in a real Slicer from the panel or by CTest; it makes its own scan and loads nothing."""

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

    def addMadeAbdomen(self) -> tuple:
        """A made abdomen under a transform, and the exact liver as a segmentation under the same one."""
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
        volumeNode = self.addMadeAbdomen()[0]
        count = slicer.mrmlScene.GetNumberOfNodes()
        ended = []
        job = self.logic.segmentAsync(volumeNode, device="cpu", onCancelled=lambda: ended.append("cancelled"))
        job.cancel()
        while job.isRunning():
            self.logic.poll()
        assert ended == ["cancelled"]
        assert slicer.mrmlScene.GetNumberOfNodes() == count

    def test_segmentsAMadeAbdomenUnderATransformAndScoresIt(self) -> None:
        if self.logic.torchIsMissing():
            self.delayDisplay("Not run: PyTorch is not installed")
            return
        volumeNode, referenceNode = self.addMadeAbdomen()
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
