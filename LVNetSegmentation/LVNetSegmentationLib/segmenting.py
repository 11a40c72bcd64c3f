"""One run: from a volume node to a segmentation node, by way of the worker."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any, Callable, Dict, List, Optional

import numpy as np
import slicer
from lvnet.errors import Cancelled, ImageError
from lvnet.recipe import LabelClass
from lvnet.volume import Volume
from lvnet.worker.exchange import SCAN_FILE, Exchange, check_space, map_array, write_array

from . import nodes
from .checking import refuseOtherNodes
from .dependencies import ensureTorch
from .jobs import ProgressCallback
from .outcome import Outcome
from .remote import RemoteJob
from .service import Service


class SegmentJob(RemoteJob):
    """Segments a volume node; the scene is touched once the result is there, and not before.

    Args:
        service: has the worker.
        volumeNode: a CT in HU.
        segmentationNode: takes the segments; None adds a new one.
        settings: `device`, `weights`, `overlap`, `postprocess`, `threads`, as the logic has them.
        onDone: gets the segmentation node and an :class:`Outcome`.
    """

    def __init__(
        self,
        service: Service,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: Optional[slicer.vtkMRMLSegmentationNode],
        settings: Dict[str, Any],
        onProgress: Optional[ProgressCallback] = None,
        onDone: Optional[Callable[..., None]] = None,
        onError: Optional[Callable[[str], None]] = None,
        onCancelled: Optional[Callable[[], None]] = None,
    ) -> None:
        self._volumeNode = volumeNode
        self._segmentationNode = segmentationNode
        self._settings = settings
        self._handOver: Optional[_HandOver] = None
        self._collecting: Optional[_Collecting] = None
        super().__init__(service, True, onProgress, onDone, onError, onCancelled)

    def cancel(self) -> None:
        if self._handOver is not None:
            self._handOver.cancelled.set()
        super().cancel()

    def _begin(self) -> None:
        refuseOtherNodes(self._volumeNode)
        if self._segmentationNode is not None:
            nodes.checkOutput(self._segmentationNode, self._volumeNode)
        volume = nodes.viewOfNode(self._volumeNode)
        ensureTorch()
        self._handOver = _HandOver(self._service, volume)

    def _message(self) -> Optional[Dict[str, Any]]:
        assert self._handOver is not None
        if self._handOver.is_alive():
            self._report(0.0, "handing over the scan")
            return None
        volume, exchange = self._handOver.result()
        return {
            "do": "segment",
            "folder": str(exchange.path),
            "spacing": list(volume.spacing),
            "origin": list(volume.origin),
            "direction": list(volume.direction),
            **self._settings,
        }

    def _results(self, answer: Dict[str, Any]) -> Optional[tuple]:
        assert self._handOver is not None
        self._collecting = _Collecting(answer, *self._handOver.result())
        return None

    def _step(self) -> Optional[tuple]:
        if self._collecting is None:
            return super()._step()
        if self._cancelledAt is not None:
            raise Cancelled
        return None if self._collecting.is_alive() else self._apply(self._collecting)

    def _apply(self, collected: _Collecting) -> tuple:
        answer, scan, pieces = collected.answer, collected.scan, collected.result()
        volumeNode = self._volumeNode
        if volumeNode.GetScene() is None:
            raise ImageError("the volume was removed from the scene while it was segmented; load it again")
        image = volumeNode.GetImageData()
        if image is None or tuple(image.GetDimensions()[::-1]) != scan.shape:
            raise ImageError("the volume was changed while it was segmented; segment it again")
        given = self._segmentationNode
        if given is not None and given.GetScene() is None:
            raise ImageError("the output segmentation was removed from the scene meanwhile; choose another")
        output = nodes.addSegmentationNode(volumeNode) if given is None else given
        try:
            nodes.writeSegments(pieces, volumeNode, output)
        except Exception:
            if given is None:
                nodes.removeSegmentationNode(output)
            raise
        lines = [f"{name}: {volume:.0f} ml" for name, volume in answer["volumes_ml"].items()]
        notes = [note for note in (*scan.notes, *answer["notes"]) if note not in lines]
        return output, Outcome(
            output,
            lines + notes,
            [(check["verdict"], check["sentence"]) for check in answer["checks"]],
            dict(answer["volumes_ml"]),
            time.monotonic() - self._began,
            str(answer["device"]),
            str(answer["weights"]),
            self._service.logPath,
        )

    def _clean(self) -> None:
        if self._collecting is not None:
            self._collecting.join()
        if self._handOver is not None:
            self._handOver.remove()
        super()._clean()


class _HandOver(threading.Thread):
    """Writes the voxels to where the worker reads them, while Slicer goes on; touches no node."""

    def __init__(self, service: Service, volume: Volume) -> None:
        super().__init__(name="lvnet hand over", daemon=True)
        self.cancelled = threading.Event()
        self._service = service
        self._volume = volume
        self._exchange: Optional[Exchange] = None
        self._error: Optional[Exception] = None
        self.start()

    def run(self) -> None:
        try:
            self._volume = volume = nodes.usualVoxels(self._volume, self.cancelled.is_set)
            self._exchange = self._service.makeExchange()
            # The scan itself, and what comes back: at most a byte a voxel.
            check_space(self._exchange.path, volume.array.nbytes + volume.array.size)
            write_array(
                self._exchange.path / SCAN_FILE, volume.array, volume.shape, volume.array.dtype, self.cancelled.is_set
            )
            # Only the place is needed from here on; the voxels may go.
            self._volume = volume.with_array(np.broadcast_to(volume.array.dtype.type(0), volume.shape))
        except Exception as error:  # raised where the job waits for it
            self._error = error

    def result(self) -> tuple[Volume, Exchange]:
        """The scan and the folder that holds it, once the thread has ended; or the error."""
        if self._error is not None:
            raise self._error
        assert self._exchange is not None
        return self._volume, self._exchange

    def remove(self) -> None:
        """Stops the writing and removes what was written."""
        self.cancelled.set()
        self.join()
        if self._exchange is not None:
            self._service.removeExchange(self._exchange)


class _Collecting(threading.Thread):
    """Reads what the worker found while Slicer goes on, and removes the files; touches no node."""

    def __init__(self, answer: Dict[str, Any], scan: Volume, exchange: Exchange) -> None:
        super().__init__(name="lvnet collecting", daemon=True)
        self.answer = answer
        self.scan = scan
        self._exchange = exchange
        self._pieces: List[nodes.Piece] = []
        self._error: Optional[Exception] = None
        self.start()

    def run(self) -> None:
        try:
            self._pieces = [_pieceOf(entry, self._exchange) for entry in self.answer["classes"]]
        except Exception as error:  # raised where the job waits for it
            self._error = error
        for file in self._exchange.path.glob("*.npy"):
            # Where another process still reads it, it goes with the folder.
            with contextlib.suppress(OSError):
                file.unlink()

    def result(self) -> List[nodes.Piece]:
        """The classes that were found, once the thread has ended; or the error."""
        if self._error is not None:
            raise self._error
        return self._pieces


def _pieceOf(answer: Dict[str, Any], exchange: Exchange) -> nodes.Piece:
    fields = {key: value for key, value in answer.items() if key not in ("box", "file")}
    entry = LabelClass(**{**fields, "colour": tuple(fields["colour"])})
    if answer["box"] is None:
        return nodes.Piece(entry, None, None)
    sides: List[slice] = [slice(start, stop) for start, stop in answer["box"]]
    # NumPy copies without holding the interpreter, which Slicer's window would wait for; it reads files holding it.
    voxels = np.array(map_array(exchange.path / str(answer["file"])))
    return nodes.Piece(entry, (sides[0], sides[1], sides[2]), voxels)
