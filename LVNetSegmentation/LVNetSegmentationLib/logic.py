"""What the module does, as public calls: for the panel, the Python console and scripts of users."""

import logging
from typing import Callable, Optional

from lvnet.pipeline.options import SegmentOptions, settings_of
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode

from .parameters import LVNetSegmentationParameterNode
from .workerlogic import WorkerLogic


class LVNetSegmentationLogic(WorkerLogic):
    """What the module does, without a panel.

    The network runs in a process of its own that stays warm for the next run.  What is started with
    an `...Async` method goes on while Slicer does other things; its callbacks are called from
    :meth:`poll`, which a timer of this logic calls where Qt is at hand, and the caller elsewhere.
    """

    def __init__(self) -> None:
        WorkerLogic.__init__(self)
        #: What to tell the user about the last run.
        self.lines = []
        #: What the last run gave, a LVNetSegmentationLib.outcome.Outcome.
        self.outcome = None

    def getParameterNode(self) -> LVNetSegmentationParameterNode:
        return LVNetSegmentationParameterNode(super().getParameterNode())

    def checkInput(self, volumeNode) -> list:
        """Whether a volume can be expected to give a liver, before any computing.

        Args:
            volumeNode: any volume node, None, or a sequence; it is not changed.

        Returns:
            (severity, sentence) pairs, the gravest first, empty when all is well: "error" cannot be
            segmented, "warning" ask the user first, "note" worth knowing.
        """
        from .checking import checkVolumeNode

        return checkVolumeNode(volumeNode)

    def segment(
        self,
        volumeNode: vtkMRMLScalarVolumeNode,
        segmentationNode: Optional[vtkMRMLSegmentationNode] = None,
        device: str = SegmentOptions.device,
        weights: Optional[str] = None,
        overlap: Optional[float] = None,
        postprocess: bool = SegmentOptions.postprocess,
        threads: Optional[int] = None,
        progress: Optional[Callable[[float, str], None]] = None,
        **more,
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
            more: any further setting of lvnet.pipeline.SegmentOptions.
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
            **more,
            onProgress=None if progress is None else lambda share, stage, _remaining: progress(share, stage),
        )
        return job.wait()[0]

    def segmentAsync(
        self,
        volumeNode: vtkMRMLScalarVolumeNode,
        segmentationNode: Optional[vtkMRMLSegmentationNode] = None,
        device: str = SegmentOptions.device,
        weights: Optional[str] = None,
        overlap: Optional[float] = None,
        postprocess: bool = SegmentOptions.postprocess,
        threads: Optional[int] = None,
        onProgress: Optional[Callable] = None,
        onDone: Optional[Callable] = None,
        onError: Optional[Callable[[str], None]] = None,
        onCancelled: Optional[Callable[[], None]] = None,
        **more,
    ):
        """Segments a volume in the worker process while Slicer goes on.

        The scene is touched once, at the end, when the result is there.  One job runs at a time: a
        second one fails with a sentence that says so.

        Args:
            volumeNode, segmentationNode, device, weights, overlap, postprocess, threads, more: see
                :meth:`segment`.
            onProgress: called with the share that is done, the stage and the remaining seconds or None.
            onDone: called with the segmentation node and a LVNetSegmentationLib.outcome.Outcome.
            onError: called with one sentence: what went wrong and what to do.
            onCancelled: called without arguments; without it `onError` is called.

        Returns:
            A LVNetSegmentationLib.jobs.Job: `cancel()`, `isRunning()`, `poll()`, `wait()`.  Errors of
            any kind come through `onError`, none is raised here.
        """
        from .segmenting import SegmentJob

        def done(node, outcome) -> None:
            self._remember(outcome)
            if onDone is not None:
                onDone(node, outcome)

        return self._watched(
            SegmentJob(
                self.service,
                volumeNode,
                segmentationNode,
                _settings(
                    more, device=device, weights=weights, overlap=overlap, postprocess=postprocess, threads=threads
                ),
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
        device: str = SegmentOptions.device,
        weights: Optional[str] = None,
        overlap: Optional[float] = None,
        postprocess: bool = SegmentOptions.postprocess,
        threads: Optional[int] = None,
        onProgress: Optional[Callable] = None,
        onDone: Optional[Callable] = None,
        onError: Optional[Callable[[str], None]] = None,
        onCancelled: Optional[Callable[[], None]] = None,
        onScan: Optional[Callable[[dict], None]] = None,
        series: Optional[str] = None,
        **more,
    ):
        """Segments every scan of a folder (images, or folders of DICOM) into another folder.

        The scene is not touched.  A scan that fails does not stop the others.

        Args:
            suffix: .seg.nrrd, .nii.gz, .nrrd, .mha, or .dcm for DICOM SEG, which needs highdicom.
            onDone: called with a list of dict, one a scan: `input`, `output` (None if it failed),
                `error` (None or one sentence), and what lvnet.pipeline.ScanReport.to_dict says: `volumes_ml`,
                `checks`, `input_checks`, `scan_notes`, `seconds` and more.
            onScan: called with each of these as it is done; then with one for each entry of the folder that is
                no scan: `input` and `left_out`, the reason.
            series: of each folder of DICOM, the series' UID, number or description; None takes the most suitable.
            more: any further setting of lvnet.pipeline.SegmentOptions.

        Returns:
            A job, see :meth:`segmentAsync`.
        """
        from .folders import FolderJob

        settings = _settings(
            more,
            device=device,
            weights=weights,
            overlap=overlap,
            postprocess=postprocess,
            threads=threads,
            series=series,
        )
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
            segment: name or identifier of the segment (for a label map: the label value), or several
                joined by `+` (`liver+tumour`, `1+2`); None takes the only one, or the one that this
                module made, the liver with the tumours in it.
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
        from .evaluating import evaluateNodes
        from .tables import tableOfResult

        result = evaluateNodes(segmentation, reference, segment, referenceSegment, preset, resample)
        return result, tableOfResult(result, segmentation, tableNode)

    def evaluateAsync(
        self,
        segmentation,
        reference,
        segment: Optional[str] = None,
        referenceSegment=None,
        preset: str = "lits",
        resample: bool = True,
        tableNode=None,
        onDone: Optional[Callable] = None,
        onError: Optional[Callable[[str], None]] = None,
        onCancelled: Optional[Callable[[], None]] = None,
    ):
        """The same in the worker process, without waiting; it needs no PyTorch.

        Args:
            segmentation, reference, segment, referenceSegment, preset, resample, tableNode: see :meth:`evaluate`.
            onDone: called with the result and the table node.

        Returns:
            A job, see :meth:`segmentAsync`.
        """
        from .comparing import CompareJob
        from .tables import tableOfResult

        def done(result) -> None:
            inScene = tableNode is not None and tableNode.GetScene() is not None
            table = tableOfResult(result, segmentation, tableNode if inScene else None)
            if onDone is not None:
                onDone(result, table)

        callbacks = {"onDone": done, "onError": onError, "onCancelled": onCancelled}
        which = (segmentation, reference, segment, referenceSegment, preset, resample)
        return self._watched(CompareJob(self.service, *which, **callbacks))

    def addPhantomAsync(self, onDone: Optional[Callable] = None, onError: Optional[Callable[[str], None]] = None):
        """Adds a synthetic abdomen and its reference to the scene, computed in the worker process.

        Args:
            onDone: called with the volume node and the segmentation node.

        Returns:
            A job, see :meth:`segmentAsync`.
        """
        from .sampledata import PhantomJob

        return self._watched(PhantomJob(self.service, onDone=onDone, onError=onError))

    def exportTableToCsv(self, tableNode, path: str) -> None:
        """Writes a table node as CSV, whole or not at all.

        Raises:
            ImageError: the file cannot be written there.
        """
        from .tables import exportTable

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
        from .asking import AskJob

        return self._watched(AskJob(self.service, "devices", onDone=onDone, onError=onError))

    def paceAsync(self, onDone: Optional[Callable] = None, onError: Optional[Callable[[str], None]] = None, **settings):
        """How fast this computer is, tried on one slab in the worker, which then has the network loaded.

        Args:
            onDone: called with the seconds that a litre of a scan will take, None where they cannot be told before.
            settings: device, weights, overlap and threads, see :meth:`segment`.

        Returns:
            A job, see :meth:`segmentAsync`.
        """
        from .asking import AskJob

        return self._watched(AskJob(self.service, "pace", onDone=onDone, onError=onError, settings=_settings(settings)))

    def checkTorchAsync(self, onDone: Optional[Callable] = None, onError: Optional[Callable[[str], None]] = None):
        """Whether PyTorch works: `onDone` gets one sentence with its version and what it computes on.

        It is asked from the worker, so that a broken PyTorch cannot harm Slicer.  Returns a job.
        """
        from .asking import AskJob

        return self._watched(AskJob(self.service, "torch", onDone=onDone, onError=onError))

    def torchIsMissing(self) -> bool:
        """Whether PyTorch is not installed."""
        from .dependencies import torchIsMissing

        return torchIsMissing()

    def installTorch(self, askConfirmation: bool = True) -> None:
        """Installs PyTorch through the PyTorch extension where it is missing; waits.

        Raises:
            DependencyError: declined, failed, or the extension is missing; one line says what to do.
        """
        from .dependencies import ensureTorch

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
        from .asking import weightsInfo

        return weightsInfo(path)

    def logFolder(self) -> str:
        """The folder with the logs of the last runs; it is there."""
        from .logs import logFolder

        return str(logFolder())

    def _remember(self, outcome) -> None:
        self.outcome, self.lines = outcome, outcome.lines
        for line in outcome.lines:
            logging.info("LV-Net Segmentation: %s", line)


def _settings(more: dict, **given) -> dict:
    """How to segment, by the names that SegmentOptions has.

    Raises:
        TypeError: a further keyword is none of them.
    """
    unknown = [name for name in more if name not in settings_of()]
    if unknown:
        raise TypeError(f"unexpected keyword argument {unknown[0]!r}")
    return {**given, **more}
