"""What the module does, as public calls: for the panel, the Python console and scripts of users."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Tuple, Union

import slicer
from lvnet.pipeline.options import SegmentOptions, settings_of

from .machinelogic import MachineLogic
from .parameters import LVNetSegmentationParameterNode

if TYPE_CHECKING:
    from lvnet.worker.client.job import Job, ProgressCallback

    from .masks import ComparedNode
    from .outcome import Outcome


class LVNetSegmentationLogic(MachineLogic):
    """What the module does, without a panel.

    The network runs in a process of its own that stays warm for the next run.  What is started with
    an `...Async` method goes on while Slicer does other things; its callbacks are called from
    :meth:`poll`, which a timer of this logic calls where Qt is at hand, and the caller elsewhere.
    """

    def __init__(self) -> None:
        MachineLogic.__init__(self)
        #: What to tell the user about the last run.
        self.lines: List[str] = []
        #: What the last run gave.
        self.outcome: Optional[Outcome] = None

    def getParameterNode(self) -> LVNetSegmentationParameterNode:
        return LVNetSegmentationParameterNode(super().getParameterNode())  # type: ignore[call-arg]

    def checkInput(
        self, volumeNode: Optional[slicer.vtkMRMLScalarVolumeNode], weights: Optional[str] = None
    ) -> List[Tuple[str, str]]:
        """Whether a volume can be expected to show what the weights segment, before any computing.

        Args:
            volumeNode: any volume node, None, or a sequence; it is not changed.
            weights: a checkpoint file; None takes the bundled one.

        Returns:
            (severity, sentence) pairs, the gravest first, empty when all is well: "error" cannot be
            segmented, "warning" ask the user first, "note" worth knowing.
        """
        from .volumechecks import checkVolumeNode

        return checkVolumeNode(volumeNode, weights)

    def segment(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: Optional[slicer.vtkMRMLSegmentationNode] = None,
        device: str = SegmentOptions.device,
        weights: Optional[str] = None,
        overlap: Optional[float] = None,
        postprocess: bool = SegmentOptions.postprocess,
        threads: Optional[int] = None,
        progress: Optional[Callable[[float, str], None]] = None,
        **more: Any,
    ) -> slicer.vtkMRMLSegmentationNode:
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
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: Optional[slicer.vtkMRMLSegmentationNode] = None,
        device: str = SegmentOptions.device,
        weights: Optional[str] = None,
        overlap: Optional[float] = None,
        postprocess: bool = SegmentOptions.postprocess,
        threads: Optional[int] = None,
        onProgress: Optional[ProgressCallback] = None,
        onDone: Optional[Callable[..., None]] = None,
        onError: Optional[Callable[[str], None]] = None,
        onCancelled: Optional[Callable[[], None]] = None,
        **more: Any,
    ) -> Job:
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
            A lvnet.worker.client.job.Job: `cancel()`, `isRunning()`, `poll()`, `wait()`.  Errors of
            any kind come through `onError`, none is raised here.
        """
        from lvnet.worker.client.job import Callbacks

        from .segmenting import SegmentJob

        def done(node: slicer.vtkMRMLSegmentationNode, outcome: Outcome) -> None:
            self._remember(outcome)
            if onDone is not None:
                onDone(node, outcome)

        settings = _settings(
            more, device=device, weights=weights, overlap=overlap, postprocess=postprocess, threads=threads
        )
        callbacks = Callbacks(onProgress, done, onError, onCancelled)
        return self._start(SegmentJob(self.service, volumeNode, segmentationNode, settings, callbacks))

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
        onProgress: Optional[ProgressCallback] = None,
        onDone: Optional[Callable[..., None]] = None,
        onError: Optional[Callable[[str], None]] = None,
        onCancelled: Optional[Callable[[], None]] = None,
        onScan: Optional[Callable[[Dict[str, Any]], None]] = None,
        series: Optional[str] = None,
        **more: Any,
    ) -> Job:
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
        from lvnet.worker.client.folder_job import FolderJob
        from lvnet.worker.client.job import Callbacks

        from .dependencies import ensureTorch

        settings = _settings(
            more,
            device=device,
            weights=weights,
            overlap=overlap,
            postprocess=postprocess,
            threads=threads,
            series=series,
        )
        callbacks = Callbacks(onProgress, onDone, onError, onCancelled)
        places = (inputFolder, outputFolder, suffix)
        return self._start(FolderJob(self.service, *places, settings, callbacks, onScan, prepare=ensureTorch))

    def evaluate(
        self,
        segmentation: Optional[ComparedNode],
        reference: Optional[ComparedNode],
        segment: Optional[Union[str, int]] = None,
        referenceSegment: Optional[Union[str, int]] = None,
        preset: str = "lits",
        resample: bool = True,
        tableNode: Optional[slicer.vtkMRMLTableNode] = None,
    ) -> Tuple[Dict[str, Any], slicer.vtkMRMLTableNode]:
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
        from .metricstable import tableOfResult

        result = evaluateNodes(segmentation, reference, segment, referenceSegment, preset, resample)
        return result, tableOfResult(result, segmentation, tableNode)

    def evaluateAsync(
        self,
        segmentation: Optional[ComparedNode],
        reference: Optional[ComparedNode],
        segment: Optional[Union[str, int]] = None,
        referenceSegment: Optional[Union[str, int]] = None,
        preset: str = "lits",
        resample: bool = True,
        tableNode: Optional[slicer.vtkMRMLTableNode] = None,
        onDone: Optional[Callable[..., None]] = None,
        onError: Optional[Callable[[str], None]] = None,
        onCancelled: Optional[Callable[[], None]] = None,
    ) -> Job:
        """The same in the worker process, without waiting; it needs no PyTorch.

        Args:
            segmentation, reference, segment, referenceSegment, preset, resample, tableNode: see :meth:`evaluate`.
            onDone: called with the result and the table node.

        Returns:
            A job, see :meth:`segmentAsync`.
        """
        from lvnet.worker.client.job import Callbacks

        from .comparing import CompareJob
        from .metricstable import tableOfResult

        def done(result: Dict[str, Any]) -> None:
            inScene = tableNode is not None and tableNode.GetScene() is not None
            table = tableOfResult(result, segmentation, tableNode if inScene else None)
            if onDone is not None:
                onDone(result, table)

        callbacks = Callbacks(on_done=done, on_error=onError, on_cancelled=onCancelled)
        which = (segmentation, reference, segment, referenceSegment, preset, resample)
        return self._start(CompareJob(self.service, *which, callbacks))

    def addPhantomAsync(
        self, onDone: Optional[Callable[..., None]] = None, onError: Optional[Callable[[str], None]] = None
    ) -> Job:
        """Adds a synthetic abdomen and its reference to the scene, computed in the worker process.

        Args:
            onDone: called with the volume node and the segmentation node.

        Returns:
            A job, see :meth:`segmentAsync`.
        """
        from lvnet.worker.client.job import Callbacks

        from .sampledata import PhantomJob

        return self._start(PhantomJob(self.service, Callbacks(on_done=onDone, on_error=onError)))

    def exportTableToCsv(self, tableNode: slicer.vtkMRMLTableNode, path: str) -> None:
        """Writes a table node as CSV, whole or not at all.

        Raises:
            ImageError: the file cannot be written there.
        """
        from .metricstable import exportTable

        exportTable(tableNode, path)

    def _remember(self, outcome: Outcome) -> None:
        self.outcome, self.lines = outcome, outcome.lines
        computed = f"{outcome.seconds:.1f} s with {outcome.computePath.name} on {outcome.device}"
        for line in [*outcome.lines, computed]:
            logging.info("LV-Net Segmentation: %s", line)


def _settings(more: Dict[str, Any], **given: Any) -> Dict[str, Any]:
    """How to segment, by the names that SegmentOptions has.

    Raises:
        TypeError: a further keyword is none of them.
    """
    unknown = [name for name in more if name not in settings_of()]
    if unknown:
        raise TypeError(f"unexpected keyword argument {unknown[0]!r}")
    return {**given, **more}
