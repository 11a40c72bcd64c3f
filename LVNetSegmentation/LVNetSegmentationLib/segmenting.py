"""One run: from a volume node to a segmentation node, by way of the worker."""

from __future__ import annotations

import contextlib
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

import numpy as np
import slicer
from lvnet.errors import Cancelled, ImageError
from lvnet.pipeline.options import SegmentOptions
from lvnet.recipe import LabelClass
from lvnet.worker.exchange import SCAN_FILE, Exchange, map_array
from lvnet.worker.handing import place_of

from . import nodes
from .checking import refuseOtherNodes
from .closedsurfaces import makeSurfaces
from .dependencies import ensureTorch
from .edits import checksumOf, fingerprintsOf
from .handover import handOver
from .jobs import ProgressCallback
from .outcome import Outcome
from .remote import RemoteJob
from .service import Service
from .steps import Steps, Work


class SegmentJob(RemoteJob):
    """Segments a volume node; the scene is touched once the result is there, and not before.

    Args:
        service: has the worker.
        volumeNode: a CT in HU.
        segmentationNode: takes the segments; None adds a new one.
        settings: how to segment, by the names that SegmentOptions has; None stands for the default.
        onDone: gets the segmentation node and an :class:`Outcome`.
    """

    def __init__(
        self,
        service: Service,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: Optional[slicer.vtkMRMLSegmentationNode],
        settings: Mapping[str, Any],
        onProgress: Optional[ProgressCallback] = None,
        onDone: Optional[Callable[..., None]] = None,
        onError: Optional[Callable[[str], None]] = None,
        onCancelled: Optional[Callable[[], None]] = None,
    ) -> None:
        self._volumeNode = volumeNode
        self._segmentationNode = segmentationNode
        self._settings = settings
        self._options = SegmentOptions()
        self._exchange: Optional[Exchange] = None
        self._handOver: Optional[Steps] = None
        self._collecting: Optional[Steps] = None
        self._answer: Dict[str, Any] = {}
        self._before: Dict[str, str] = {}
        #: The results once they are in the scene, and whether surfaces are left to be made.
        self._written: Optional[Tuple[tuple, bool]] = None
        super().__init__(service, True, onProgress, onDone, onError, onCancelled)

    def _begin(self) -> None:
        self._options = SegmentOptions.from_request(self._settings)
        refuseOtherNodes(self._volumeNode)
        if self._segmentationNode is not None:
            nodes.checkOutput(self._segmentationNode, self._volumeNode)
            self._before = self._fingerprints(self._segmentationNode)
        volume = nodes.viewOfNode(self._volumeNode)
        ensureTorch()
        self._exchange = self._service.makeExchange()
        # What comes back is at most a byte a voxel.
        self._handOver = Steps(handOver(volume, self._exchange, SCAN_FILE, answerBytes=1))

    def _message(self) -> Optional[Dict[str, Any]]:
        assert self._handOver is not None and self._exchange is not None
        if not self._handOver.advance():
            self._report(0.0, "handing over the scan")
            return None
        place = place_of(self._handOver.result)
        return {"do": "segment", "folder": str(self._exchange.path), **place, **self._options.to_dict()}

    def _results(self, answer: Dict[str, Any]) -> Optional[tuple]:
        assert self._exchange is not None
        self._answer = answer
        self._collecting = Steps(_collect(answer, self._exchange))
        return None

    def _step(self) -> Optional[tuple]:
        if self._collecting is None:
            return super()._step()
        if self._written is None and self._cancelledAt is not None:
            raise Cancelled
        if not self._collecting.done:
            # The nodes are written in a turn of their own, so that the window reacts in between.
            self._collecting.advance()
            return None
        scene = self._volumeNode.GetScene()
        if scene is not None and scene.IsBatchProcessing():
            # A scene is being loaded or closed: the result waits until that is done.
            return None
        # Writing, surfaces and whatever `onDone` does take a turn each.  From here on nothing can be cancelled.
        if self._written is None:
            self._written = self._apply()
            return None
        results, surfacesAreLeft = self._written
        output = results[0]
        if output.GetScene() is None or self._volumeNode.GetScene() is None:
            raise ImageError("the volume or its segmentation was removed from the scene meanwhile; load it again")
        if surfacesAreLeft and self._cancelledAt is None:
            self._written = results, False
            makeSurfaces(output)
            return None
        return results

    @staticmethod
    def _fingerprints(segmentationNode: slicer.vtkMRMLSegmentationNode) -> Dict[str, str]:
        return fingerprintsOf(segmentationNode, nodes.ownSegmentIds(segmentationNode))

    def _apply(self) -> Tuple[tuple, bool]:
        """Puts the result into the scene: what `onDone` gets, and whether there were surfaces to be made anew."""
        assert self._handOver is not None and self._collecting is not None
        answer, scan, pieces = self._answer, self._handOver.result, self._collecting.result
        volumeNode = self._volumeNode
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
            lines.append(f"{given.GetName()} was edited during the run and is as it was; this is a new segmentation")
            given = None
        output = nodes.addSegmentationNode(volumeNode) if given is None else given
        try:
            hadSurfaces = nodes.writeSegments(pieces, volumeNode, output)
        except Exception:
            if given is None:
                nodes.removeSegmentationNode(output)
            raise
        lines += [f"{name}: {volume:.0f} ml" for name, volume in answer["volumes_ml"].items()]
        notes = [note for note in (*scan.notes, *answer["notes"]) if note not in lines]
        outcome = Outcome(
            output,
            lines + notes,
            [(check["verdict"], check["sentence"]) for check in answer["checks"]],
            dict(answer["volumes_ml"]),
            time.monotonic() - self._began,
            str(volumeNode.GetID()),
            str(answer["device_reason"]),
            str(answer["weights"]),
            self._service.logPath,
        )
        return (output, outcome), hadSurfaces

    def _clean(self) -> None:
        for steps in (self._handOver, self._collecting):
            if steps is not None:
                steps.close()
        if self._exchange is not None:
            self._service.removeExchange(self._exchange)
        super()._clean()


def _collect(answer: Dict[str, Any], exchange: Exchange) -> Work:
    """Reads what the worker found and removes the files; touches no node.  It returns the pieces."""
    pieces = []
    for entry in answer["classes"]:
        piece = yield from _pieceOf(entry, exchange)
        pieces.append(piece)
    for file in exchange.path.glob("*.npy"):
        # Where another process still reads it, it goes with the folder.
        with contextlib.suppress(OSError):
            file.unlink()
    return pieces


def _pieceOf(answer: Dict[str, Any], exchange: Exchange) -> Work:
    fields = {key: value for key, value in answer.items() if key not in ("box", "file")}
    entry = LabelClass(**{**fields, "colour": tuple(fields["colour"])})
    if answer["box"] is None:
        return nodes.Piece(entry, None, None)
    sides: List[slice] = [slice(start, stop) for start, stop in answer["box"]]
    stored = map_array(exchange.path / str(answer["file"]))
    voxels = np.empty(stored.shape, stored.dtype)
    checksum = None
    for index, plane in enumerate(stored):
        voxels[index] = plane
        checksum = checksumOf(voxels[index], checksum)
        yield
    return nodes.Piece(entry, (sides[0], sides[1], sides[2]), voxels, checksum)
