"""A synthetic abdomen with its exact reference, to try the module without a scan or a download."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Callable, Optional, Tuple

import numpy as np
import slicer
from lvnet.errors import ImageError
from lvnet.phantom import make_phantom
from lvnet.recipe import LIVER
from lvnet.volume import Volume
from lvnet.worker.client.job import NOBODY, Callbacks
from lvnet.worker.client.remote_job import RemoteJob
from lvnet.worker.client.service import Service
from lvnet.worker.exchange import LABEL_FILE, SCAN_FILE, Exchange
from lvnet.worker.handing import handed_over
from lvnet.worker.messages.requests import PhantomRequest
from lvnet.worker.messages.results import PhantomResult

from . import nodes

if TYPE_CHECKING:
    from .logic import LVNetSegmentationLogic

#: Category of this module's scans in the Sample Data module.
CATEGORY = "LV-Net Segmentation"
NAME = "Synthetic abdomen"
SEED = 7
#: Slicer's own sample: its checksum, which is also its address under slicer.util.TESTING_DATA_URL.
CT_LIVER_SHA256 = "e16eae0ae6fefa858c5c11e58f0f1bb81834d81b7102e021571056324ef6f37e"

#: A volume, and the segmentation that belongs to it.
ScanAndReference = Tuple[slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLSegmentationNode]


def addPhantom() -> ScanAndReference:
    """Adds a synthetic abdomen and its reference to the scene and shows the scan; blocks for some seconds.

    Returns:
        The volume node, and the segmentation node with one segment "liver".
    """
    scan, label = make_phantom(SEED)
    volumeNode = _addScan(scan)
    return volumeNode, _addReference(label, volumeNode)


class PhantomLoader:
    """Called by the Sample Data module: adds the phantom without blocking; ignores clicks until it is loaded."""

    def __init__(self, makeLogic: Callable[[], LVNetSegmentationLogic]) -> None:
        """Args:
        makeLogic: makes a logic of the module.
        """
        self._makeLogic = makeLogic
        # Keeps the logic alive until its job is done.
        self._logic: Optional[LVNetSegmentationLogic] = None

    @property
    def loading(self) -> bool:
        return self._logic is not None

    def __call__(self, source: object = None) -> None:
        """Args:
        source: passed by Sample Data; not used.
        """
        if self.loading:
            return
        self._logic = self._makeLogic()
        # The worker process is needed for this job only.
        self._logic.keepWarm = False
        self._logic.addPhantomAsync(onDone=self._onDone, onError=self._onError)

    def _onDone(self, *_nodes: object) -> None:
        self._logic = None

    def _onError(self, sentence: str) -> None:
        self._logic = None
        logging.error("LV-Net Segmentation: %s", sentence)


class PhantomJob(RemoteJob[PhantomResult]):
    """Computes the phantom in the worker; `on_done` gets the volume node and the segmentation node."""

    result_type = PhantomResult

    def __init__(self, service: Service, callbacks: Callbacks = NOBODY) -> None:
        super().__init__(service, callbacks)
        self._exchange: Optional[Exchange] = None
        self._volumeNode: Optional[slicer.vtkMRMLScalarVolumeNode] = None

    def _request(self) -> PhantomRequest:
        self._exchange = self._exchange or self._service.make_exchange()
        return PhantomRequest(str(self._exchange.path), SEED)

    def _collect(self, result: PhantomResult) -> Optional[ScanAndReference]:
        # The scan and its reference are added in separate turns of the event loop, so that the window stays
        # responsive.
        if self._volumeNode is None:
            self._volumeNode = _addScan(self._read(SCAN_FILE, result))
            return None
        if self._volumeNode.GetScene() is None:
            raise ImageError("the synthetic abdomen was removed from the scene meanwhile; load it again")
        return self._volumeNode, _addReference(self._read(LABEL_FILE, result), self._volumeNode)

    def _read(self, file: str, result: PhantomResult) -> Volume:
        assert self._exchange is not None
        volume = handed_over(self._exchange.path, file, result.place, "the phantom")
        # Copied from the memory-mapped file, which is about to be removed.
        return volume.with_array(np.array(volume.array))

    def _clean(self) -> None:
        if self._exchange is not None:
            self._service.remove_exchange(self._exchange)
        super()._clean()


def _addScan(scan: Volume) -> slicer.vtkMRMLScalarVolumeNode:
    volumeNode = nodes.addVolumeNode(scan, NAME)
    volumeNode.CreateDefaultDisplayNodes()
    slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)
    return volumeNode


def _addReference(label: Volume, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLSegmentationNode:
    referenceNode = nodes.addSegmentationNode(volumeNode)
    referenceNode.SetName(f"{NAME} reference")
    referenceNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    # Not written as a result of this module, so that no later run replaces it.
    segmentation = referenceNode.GetSegmentation()
    segmentId = segmentation.AddEmptySegment("", LIVER.name, [0.3, 0.7, 1.0])
    slicer.util.updateSegmentBinaryLabelmapFromArray(label.array, referenceNode, segmentId, volumeNode)
    return referenceNode
