"""One run: from a volume node to a segmentation node, through the worker."""

from __future__ import annotations

import contextlib
import time
from typing import Dict, List, NamedTuple, Optional, Tuple

import numpy as np
import slicer
from lvnet.acceleration import ComputePath
from lvnet.errors import ImageError
from lvnet.pipeline.options import SegmentOptions
from lvnet.volume import Volume
from lvnet.worker.client.handover import hand_over
from lvnet.worker.client.job import NOBODY, Callbacks
from lvnet.worker.client.remote_job import RemoteJob
from lvnet.worker.client.service import Service
from lvnet.worker.client.steps import Steps, Work
from lvnet.worker.exchange import SCAN_FILE, Exchange, map_array
from lvnet.worker.messages.place import Place
from lvnet.worker.messages.requests import SegmentRequest
from lvnet.worker.messages.results import FoundClass, SegmentResult

from . import nodes
from .closedsurfaces import makeSurfaces
from .dependencies import ensureTorch
from .edits import checksumOf, fingerprintsOf
from .interfaces import Json, Settings
from .outcome import DoubtfulRegion, DoubtfulRegions, Outcome
from .volumechecks import refuseOtherNodes


class SegmentJob(RemoteJob[SegmentResult]):
    """Segments a volume node; the scene is not changed until the result is available.

    Args:
        service: owns the worker.
        volumeNode: a CT in HU.
        segmentationNode: receives the segments; None adds a new one.
        settings: by their names in SegmentOptions; None stands for the default.
        callbacks: `on_done` gets the segmentation node and an :class:`Outcome`.
    """

    computes = True
    result_type = SegmentResult

    def __init__(
        self,
        service: Service,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: Optional[slicer.vtkMRMLSegmentationNode],
        settings: Settings,
        callbacks: Callbacks = NOBODY,
    ) -> None:
        super().__init__(service, callbacks)
        self._volumeNode = volumeNode
        self._segmentationNode = segmentationNode
        self._settings = settings
        self._options = SegmentOptions()
        self._exchange: Optional[Exchange] = None
        self._handOver: Optional[Steps[Volume]] = None
        self._collecting: Optional[Steps[_Found]] = None
        self._before: Dict[str, str] = {}
        #: The results once they are in the scene, and whether surfaces remain to be created.
        self._written: Optional[Tuple[Tuple[slicer.vtkMRMLSegmentationNode, Outcome], bool]] = None

    def _begin(self) -> None:
        self._options = SegmentOptions.from_request(self._settings)
        refuseOtherNodes(self._volumeNode)
        if self._segmentationNode is not None:
            nodes.checkOutput(self._segmentationNode, self._volumeNode)
            self._before = self._fingerprints(self._segmentationNode)
        volume = nodes.viewOfNode(self._volumeNode)
        ensureTorch()
        self._exchange = self._service.make_exchange()
        # The answer takes at most one byte per voxel.
        self._handOver = Steps(hand_over(volume, self._exchange, SCAN_FILE, answer_bytes=1))

    def _request(self) -> Optional[SegmentRequest]:
        assert self._handOver is not None and self._exchange is not None
        if not self._handOver.advance():
            self._report(0.0, "handing over the scan")
            return None
        return SegmentRequest(str(self._exchange.path), Place.of(self._handOver.result), self._options)

    def _collect(self, result: SegmentResult) -> Optional[Tuple[slicer.vtkMRMLSegmentationNode, Outcome]]:
        if self._collecting is None:
            assert self._exchange is not None
            self._collecting = Steps(_found(result, self._exchange))
            return None
        if not self._collecting.done:
            # The nodes are written in a separate turn of the event loop, so that the window stays responsive.
            self._collecting.advance()
            return None
        scene = self._volumeNode.GetScene()
        if scene is not None and scene.IsBatchProcessing():
            # A scene is being loaded or closed: the result waits until that is done.
            return None
        # Writing, surfaces and `on_done` get a turn of the event loop each.  From here on, nothing can be cancelled.
        if self._written is None:
            self._written = self._apply(result.report, self._collecting.result)
            return None
        results, surfacesAreLeft = self._written
        output = results[0]
        if output.GetScene() is None or self._volumeNode.GetScene() is None:
            raise ImageError("the volume or its segmentation was removed from the scene meanwhile; load it again")
        if surfacesAreLeft:
            self._written = results, False
            makeSurfaces(output)
            return None
        return results

    @staticmethod
    def _fingerprints(segmentationNode: slicer.vtkMRMLSegmentationNode) -> Dict[str, str]:
        return fingerprintsOf(segmentationNode, nodes.ownSegmentIds(segmentationNode))

    def cancel(self) -> None:
        """Requests cancellation; has no effect once the result is in the scene."""
        if self._written is None:
            super().cancel()

    def _apply(self, report: Json, found: _Found) -> Tuple[Tuple[slicer.vtkMRMLSegmentationNode, Outcome], bool]:
        """Writes the result into the scene; returns what `on_done` gets, and whether to recreate surfaces."""
        assert self._handOver is not None
        scan, volumeNode = self._handOver.result, self._volumeNode
        if volumeNode.GetScene() is None:
            raise ImageError("the volume was removed from the scene while it was segmented; load it again")
        image = volumeNode.GetImageData()
        if image is None or tuple(image.GetDimensions()[::-1]) != scan.shape:
            raise ImageError("the volume was changed while it was segmented; segment it again")
        given = self._segmentationNode
        if given is not None and given.GetScene() is None:
            raise ImageError("the output segmentation was removed from the scene meanwhile; choose another")
        lines: List[str] = []
        if given is not None and self._fingerprints(given) != self._before:
            lines.append(f"{given.GetName()} was edited during the run and left unchanged; this is a new segmentation")
            given = None
        output = nodes.addSegmentationNode(volumeNode) if given is None else given
        try:
            hadSurfaces = nodes.writeSegments(found.pieces, volumeNode, output)
        except Exception:
            if given is None:
                nodes.removeSegmentationNode(output)
            raise
        lines += [f"{name}: {volume:.0f} ml" for name, volume in report["volumes_ml"].items()]
        notes = [note for note in (*scan.notes, *report["notes"]) if note not in lines]
        outcome = Outcome(
            output,
            lines + notes,
            [(check["verdict"], check["sentence"]) for check in report["checks"]],
            dict(report["volumes_ml"]),
            time.monotonic() - self._began,
            str(volumeNode.GetID()),
            str(report["device_reason"]),
            ComputePath.from_dict(report["compute_path"]),
            str(report["weights"]),
            self._service.log_path,
            found.doubtful,
        )
        return (output, outcome), hadSurfaces

    def _clean(self) -> None:
        for steps in (self._handOver, self._collecting):
            if steps is not None:
                steps.close()
        if self._exchange is not None:
            self._service.remove_exchange(self._exchange)
        super()._clean()


class _Found(NamedTuple):
    """The worker's result, read into memory."""

    pieces: List[nodes.Piece]
    doubtful: Optional[DoubtfulRegions]


def _found(result: SegmentResult, exchange: Exchange) -> Work[_Found]:
    """Reads the worker's result and removes its files; accesses no node."""
    pieces = []
    for found in result.classes:
        piece = yield from _piece(found, exchange)
        pieces.append(piece)
    doubtful = yield from _doubtful(result, exchange)
    for file in exchange.path.glob("*.npy"):
        # If another process still reads it, it is removed with the folder.
        with contextlib.suppress(OSError):
            file.unlink()
    return _Found(pieces, doubtful)


def _piece(found: FoundClass, exchange: Exchange) -> Work[nodes.Piece]:
    if found.slices is None:
        return nodes.Piece(found.entry, None, None)
    voxels, checksum = yield from _voxels(exchange, str(found.file))
    return nodes.Piece(found.entry, found.slices, voxels, checksum)


def _doubtful(result: SegmentResult, exchange: Exchange) -> Work[Optional[DoubtfulRegions]]:
    if result.doubtful is None:
        return None
    voxels, _ = yield from _voxels(exchange, result.doubtful.file)
    regions = []
    for region in result.report["doubtful_regions"]:
        x, y, z = region["centre_lps_mm"]
        regions.append(DoubtfulRegion(float(region["volume_ml"]), (-float(x), -float(y), float(z))))
    return DoubtfulRegions(tuple(regions), result.doubtful.slices, voxels)


def _voxels(exchange: Exchange, file: str) -> Work[Tuple[np.ndarray, Optional[int]]]:
    """Reads the voxels of a file plane by plane, with their checksum, see :func:`~.edits.checksumOf`."""
    stored = map_array(exchange.path / file)
    voxels = np.empty(stored.shape, stored.dtype)
    checksum = None
    for index, plane in enumerate(stored):
        voxels[index] = plane
        checksum = checksumOf(voxels[index], checksum)
        yield
    return voxels, checksum
