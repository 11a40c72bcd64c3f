"""The public Python interface of the module, for the panel, the Python console and user scripts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Callable, List, Optional, Tuple, Union

import slicer
from lvnet.pipeline.options import refuse_unknown

from .machinelogic import MachineLogic
from .parameters import LVNetSegmentationParameterNode

if TYPE_CHECKING:
    from lvnet.worker.client.job import Job, ProgressCallback

    from .interfaces import Json, Setting, Settings
    from .masks import ComparedNode
    from .outcome import Outcome


class LVNetSegmentationLogic(MachineLogic):
    """The functions of the module, without the panel.

    The network runs in a separate worker process, which is kept for the next run.  Jobs started with an
    `...Async` method do not block Slicer; their callbacks are called from :meth:`poll`, which a timer of
    this logic calls if Qt is available, and which the caller has to call otherwise.
    """

    def __init__(self) -> None:
        MachineLogic.__init__(self)
        #: Messages for the user about the last run.
        self.lines: List[str] = []
        #: Result of the last run.
        self.outcome: Optional[Outcome] = None

    def getParameterNode(self) -> LVNetSegmentationParameterNode:
        return LVNetSegmentationParameterNode(super().getParameterNode())  # type: ignore[call-arg]

    def checkInput(
        self, volumeNode: Optional[slicer.vtkMRMLScalarVolumeNode], weights: Optional[str] = None
    ) -> List[Tuple[str, str]]:
        """Checks before a run whether a volume is likely to show what the weights segment.

        Args:
            volumeNode: any volume node, None, or a sequence; it is not changed.
            weights: a checkpoint file; None takes the bundled one.

        Returns:
            (severity, sentence) pairs, the most severe first, empty if there is nothing to report: "error"
            the volume cannot be segmented, "warning" the user should confirm, "note" for information.
        """
        from .volumechecks import checkVolumeNode

        return checkVolumeNode(volumeNode, weights)

    def segment(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: Optional[slicer.vtkMRMLSegmentationNode] = None,
        *,
        progress: Optional[Callable[[float, str], None]] = None,
        **settings: Setting,
    ) -> slicer.vtkMRMLSegmentationNode:
        """Segments a volume and returns the segmentation node; blocks until done, and needs no main window.

        Args:
            volumeNode: a CT in HU.
            segmentationNode: receives the segments; None adds a new one, named after the volume.
            progress: called with the fraction done (0 to 1) and the stage.
            settings: those of lvnet.pipeline.SegmentOptions by name; None stands for the default.  `device` (auto, cpu,
                cuda, cuda:N or mps), `weights` (a checkpoint file; by default the bundled one), `overlap` (fraction by
                which neighbouring slabs overlap, 0 to 0.9), `postprocess` (keep the largest component and fill its
                holes), `search` (search for the organ on a coarse grid first) and `threads` (by default all cores).

        Raises:
            LVNetError: a problem that the user can solve; one line says what is wrong and what to do.
            TypeError: a keyword is not a setting.
        """
        known: Settings = settings
        job = self.segmentAsync(
            volumeNode,
            segmentationNode,
            **known,
            onProgress=None if progress is None else lambda share, stage, _remaining: progress(share, stage),
        )
        return job.wait()[0]

    def segmentAsync(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: Optional[slicer.vtkMRMLSegmentationNode] = None,
        *,
        onProgress: Optional[ProgressCallback] = None,
        onDone: Optional[Callable[[slicer.vtkMRMLSegmentationNode, Outcome], None]] = None,
        onError: Optional[Callable[[str], None]] = None,
        onCancelled: Optional[Callable[[], None]] = None,
        **settings: Setting,
    ) -> Job:
        """Segments a volume in the worker process without blocking Slicer.

        The scene is changed only once, when the result is available.  One job runs at a time: a second
        one fails with a message that says so.

        Args:
            volumeNode, segmentationNode, settings: see :meth:`segment`.
            onProgress: called with the fraction done, the stage and the remaining seconds or None.
            onDone: called with the segmentation node and a LVNetSegmentationLib.outcome.Outcome.
            onError: called with one sentence: what went wrong and what to do.
            onCancelled: called without arguments; if it is None, `onError` is called.

        Returns:
            A lvnet.worker.client.job.Job: `cancel()`, `isRunning()`, `poll()`, `wait()`.  Errors of
            any kind are passed to `onError`; none is raised here.
        """
        from lvnet.worker.client.job import Callbacks

        from .segmenting import SegmentJob

        def done(node: slicer.vtkMRMLSegmentationNode, outcome: Outcome) -> None:
            self._remember(outcome)
            if onDone is not None:
                onDone(node, outcome)

        refuse_unknown(settings)
        callbacks = Callbacks(onProgress, done, onError, onCancelled)
        return self._start(SegmentJob(self.service, volumeNode, segmentationNode, settings, callbacks))

    def segmentFolderAsync(
        self,
        inputFolder: str,
        outputFolder: str,
        suffix: str = ".seg.nrrd",
        *,
        onProgress: Optional[ProgressCallback] = None,
        onDone: Optional[Callable[[List[Json]], None]] = None,
        onError: Optional[Callable[[str], None]] = None,
        onCancelled: Optional[Callable[[], None]] = None,
        onScan: Optional[Callable[[Json], None]] = None,
        **settings: Setting,
    ) -> Job:
        """Segments every scan in a folder (image files, or folders of DICOM files) into another folder.

        The scene is not changed.  A scan that fails does not stop the others.

        Args:
            suffix: .seg.nrrd, .nii.gz, .nrrd, .mha, or .dcm for DICOM SEG, which needs highdicom.
            onDone: called with a list of dicts, one per scan: `input`, `output` (None if it failed),
                `error` (None or one sentence), and the entries of lvnet.pipeline.ScanReport.to_dict: `volumes_ml`,
                `checks`, `input_checks`, `scan_notes`, `seconds` and more.
            onScan: called with each of these dicts when its scan is finished; then with one for each entry of the
                folder that is not a scan: `input` and `left_out`, the reason.
            settings: see :meth:`segment`; also `series` (UID, number or description of the series in each DICOM folder;
                by default the most suitable).

        Returns:
            A job, see :meth:`segmentAsync`.
        """
        from lvnet.worker.client.folder_job import FolderJob
        from lvnet.worker.client.job import Callbacks

        from .dependencies import ensureTorch

        refuse_unknown(settings)
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
    ) -> Tuple[Json, slicer.vtkMRMLTableNode]:
        """Compares a segmentation with a reference: DICE, VOE, RVD, ASSD, MSSD and volumes.

        Both are compared in world coordinates, parent transforms included.

        Args:
            segmentation: a segmentation node or a label map volume node.
            reference: the same.
            segment: name or identifier of the segment (for a label map: the label value), or several
                joined by `+` (`liver+tumour`, `1+2`); None takes the liver with the tumours in it, the
                only segment, or the one that this module created.
            referenceSegment: the same for the reference; None takes the segment of the same name, or
                the only one.
            preset: the metric definitions: lits, chaos, medpy or surfel.
            resample: resample the reference to the segmentation's grid if the grids differ, with a remark
                in `notes`; False makes that an error.
            tableNode: receives the metrics; None adds a new one.

        Returns:
            The result of `lvnet.evaluate` as a dict, with `segment` and `reference_segment`; and the
            table node, with one row per segment.

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
        onDone: Optional[Callable[[Json, slicer.vtkMRMLTableNode], None]] = None,
        onError: Optional[Callable[[str], None]] = None,
        onCancelled: Optional[Callable[[], None]] = None,
    ) -> Job:
        """Like :meth:`evaluate`, in the worker process and without blocking; needs no PyTorch.

        Args:
            segmentation, reference, segment, referenceSegment, preset, resample, tableNode: see :meth:`evaluate`.
            onDone: called with the result and the table node.

        Returns:
            A job, see :meth:`segmentAsync`.
        """
        from lvnet.worker.client.job import Callbacks

        from .comparing import CompareJob
        from .metricstable import tableOfResult

        def done(result: Json) -> None:
            inScene = tableNode is not None and tableNode.GetScene() is not None
            table = tableOfResult(result, segmentation, tableNode if inScene else None)
            if onDone is not None:
                onDone(result, table)

        callbacks = Callbacks(on_done=done, on_error=onError, on_cancelled=onCancelled)
        which = (segmentation, reference, segment, referenceSegment, preset, resample)
        return self._start(CompareJob(self.service, *which, callbacks))

    def addPhantomAsync(
        self,
        onDone: Optional[Callable[[slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLSegmentationNode], None]] = None,
        onError: Optional[Callable[[str], None]] = None,
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
        """Writes a table node as a CSV file, completely or not at all.

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
