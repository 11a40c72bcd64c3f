"""Queries to the worker about devices, PyTorch and the speed of this computer."""

from __future__ import annotations

from typing import Any, List, Mapping, Optional, Tuple

from ...acceleration import ComputePath
from ...pipeline.options import SegmentOptions
from ..messages.requests import DevicesRequest, PaceRequest, TorchRequest
from ..messages.results import Device, DevicesResult, PaceResult, TorchResult
from .job import NOBODY, Callbacks
from .remote_job import RemoteJob, ResultT
from .service import Service
from .torch_errors import missing_torch, torch_is_missing


class Question(RemoteJob[ResultT]):
    """A query that needs PyTorch; if that is missing, no request is sent."""

    def _begin(self) -> None:
        if torch_is_missing():
            raise missing_torch()


class DevicesQuestion(Question[DevicesResult]):
    """Asks which devices can be chosen; `on_done` gets a list of them."""

    result_type = DevicesResult

    def _request(self) -> DevicesRequest:
        return DevicesRequest()

    def _results(self, result: DevicesResult) -> Tuple[List[Device]]:
        return (result.devices,)


class TorchQuestion(Question[TorchResult]):
    """Asks whether PyTorch works; `on_done` gets a sentence."""

    result_type = TorchResult

    def _request(self) -> TorchRequest:
        return TorchRequest()

    def _results(self, result: TorchResult) -> Tuple[str]:
        return (f"PyTorch {result.version} works; Automatic computes on {result.device}",)


class PaceQuestion(Question[PaceResult]):
    """Asks how fast this computer is; `on_done` gets the seconds per litre of scan, or None, and the compute path.

    Args:
        service: runs the worker.
        settings: how a scan would be segmented, by field names of SegmentOptions.
        callbacks: see :class:`~lvnet.worker.client.job.Callbacks`.
    """

    result_type = PaceResult

    def __init__(self, service: Service, settings: Mapping[str, Any], callbacks: Callbacks = NOBODY) -> None:
        super().__init__(service, callbacks)
        self._settings = settings

    def _request(self) -> PaceRequest:
        return PaceRequest(SegmentOptions.from_request(self._settings))

    def _results(self, result: PaceResult) -> Tuple[Optional[float], ComputePath]:
        return result.seconds_per_litre, result.compute_path
