"""Comparing two masks in the worker, while Slicer goes on."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Union

from lvnet.metrics.presets import preset_named
from lvnet.worker.exchange import PREDICTION_FILE, REFERENCE_FILE, Exchange
from lvnet.worker.handing import place_of

from .evaluating import resultOf
from .handover import handOver
from .masks import Mask, maskOf
from .remote import RemoteJob
from .service import Service
from .steps import Steps, Work


class CompareJob(RemoteJob):
    """Scores a segmentation by a reference; `onDone` gets what `evaluateNodes` gives.

    Both are read when the job starts; what happens to the nodes afterwards changes nothing.
    """

    def __init__(
        self,
        service: Service,
        segmentation: Any,
        reference: Any,
        segment: Optional[Union[str, int]],
        referenceSegment: Optional[Union[str, int]],
        preset: str,
        resample: bool,
        onDone: Optional[Callable[..., None]] = None,
        onError: Optional[Callable[[str], None]] = None,
        onCancelled: Optional[Callable[[], None]] = None,
    ) -> None:
        self._wanted = (segmentation, segment, reference, referenceSegment)
        self._preset, self._resample = preset, resample
        self._exchange: Optional[Exchange] = None
        self._masks: List[Mask] = []
        self._handOver: Optional[Steps] = None
        super().__init__(service, False, onDone=onDone, onError=onError, onCancelled=onCancelled)

    def _begin(self) -> None:
        preset_named(self._preset)
        segmentation, segment, reference, referenceSegment = self._wanted
        one = maskOf(segmentation, segment, resample=self._resample)
        self._masks = [one, maskOf(reference, referenceSegment, like=one.name, resample=self._resample)]
        self._exchange = self._service.makeExchange()
        self._handOver = Steps(self._handBothOver(self._exchange))

    def _handBothOver(self, exchange: Exchange) -> Work:
        one, other = self._masks
        yield from handOver(one.volume, exchange, PREDICTION_FILE)
        yield from handOver(other.volume, exchange, REFERENCE_FILE)
        return {**place_of(one.volume), **place_of(other.volume, "reference_")}

    def _message(self) -> Optional[Dict[str, Any]]:
        assert self._handOver is not None and self._exchange is not None
        if not self._handOver.advance():
            return None
        names = {"name": self._masks[0].name, "reference_name": self._masks[1].name}
        settings = {"preset": self._preset, "resample": self._resample, **names}
        return {"do": "compare", "folder": str(self._exchange.path), **self._handOver.result, **settings}

    def _results(self, answer: Dict[str, Any]) -> tuple:
        one, other = self._masks
        return (resultOf(one, other, answer["metrics"]),)

    def _clean(self) -> None:
        if self._handOver is not None:
            self._handOver.close()
        if self._exchange is not None:
            self._service.removeExchange(self._exchange)
        super()._clean()
