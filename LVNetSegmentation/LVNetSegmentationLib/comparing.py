"""Compares two masks in the worker, without blocking Slicer."""

from __future__ import annotations

from typing import List, Optional, Tuple, Union

from lvnet.metrics.presets import preset_named
from lvnet.worker.client.handover import hand_over
from lvnet.worker.client.job import NOBODY, Callbacks
from lvnet.worker.client.remote_job import RemoteJob
from lvnet.worker.client.service import Service
from lvnet.worker.client.steps import Steps, Work
from lvnet.worker.exchange import PREDICTION_FILE, REFERENCE_FILE, Exchange
from lvnet.worker.messages.place import Place
from lvnet.worker.messages.requests import CompareRequest
from lvnet.worker.messages.results import CompareResult

from .evaluating import resultOf
from .interfaces import Json
from .masks import ComparedNode, Mask, maskInSteps


class CompareJob(RemoteJob[CompareResult]):
    """Scores a segmentation against a reference; `on_done` gets the result of `evaluateNodes`.

    The segmentation is read when the job starts, the reference in the next turn of the event loop; later
    changes of the nodes have no effect.
    """

    result_type = CompareResult

    def __init__(
        self,
        service: Service,
        segmentation: Optional[ComparedNode],
        reference: Optional[ComparedNode],
        segment: Optional[Union[str, int]],
        referenceSegment: Optional[Union[str, int]],
        preset: str,
        resample: bool,
        callbacks: Callbacks = NOBODY,
    ) -> None:
        super().__init__(service, callbacks)
        self._wanted = (segmentation, segment, reference, referenceSegment)
        self._preset, self._resample = preset, resample
        self._exchange: Optional[Exchange] = None
        self._masks: List[Mask] = []
        self._handOver: Optional[Steps[Tuple[Place, Place]]] = None

    def _begin(self) -> None:
        preset_named(self._preset)
        self._exchange = self._service.make_exchange()
        self._handOver = Steps(self._handBothOver(self._exchange))
        # The first step reads the segmentation.
        self._handOver.advance(seconds=0.0)

    def _handBothOver(self, exchange: Exchange) -> Work[Tuple[Place, Place]]:
        segmentation, segment, reference, referenceSegment = self._wanted
        one = yield from maskInSteps(segmentation, segment, resample=self._resample)
        # In a separate turn of the event loop, since each of the two takes a while.
        yield
        other = yield from maskInSteps(reference, referenceSegment, like=one.name, resample=self._resample)
        self._masks = [one, other]
        yield
        yield from hand_over(one.volume, exchange, PREDICTION_FILE)
        yield from hand_over(other.volume, exchange, REFERENCE_FILE)
        return Place.of(one.volume), Place.of(other.volume)

    def _request(self) -> Optional[CompareRequest]:
        assert self._handOver is not None and self._exchange is not None
        if not self._handOver.advance():
            return None
        names = (mask.name for mask in self._masks)
        return CompareRequest(str(self._exchange.path), *self._handOver.result, self._preset, self._resample, *names)

    def _results(self, result: CompareResult) -> Tuple[Json]:
        one, other = self._masks
        return (resultOf(one, other, result.metrics),)

    def _clean(self) -> None:
        if self._handOver is not None:
            self._handOver.close()
        if self._exchange is not None:
            self._service.remove_exchange(self._exchange)
        super()._clean()
