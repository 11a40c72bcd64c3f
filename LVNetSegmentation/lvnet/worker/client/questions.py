"""Questions to the worker: about devices and PyTorch."""

from __future__ import annotations

from typing import List, Tuple

from ..messages.requests import DevicesRequest, TorchRequest
from ..messages.results import Device, DevicesResult, TorchResult
from .remote_job import RemoteJob, ResultT
from .torch_errors import missing_torch, torch_is_missing


class Question(RemoteJob[ResultT]):
    """Something that can only be known with PyTorch; where that is missing, nothing is asked."""

    def _begin(self) -> None:
        if torch_is_missing():
            raise missing_torch()


class DevicesQuestion(Question[DevicesResult]):
    """Which devices can be chosen; `on_done` gets a list of them."""

    result_type = DevicesResult

    def _request(self) -> DevicesRequest:
        return DevicesRequest()

    def _results(self, result: DevicesResult) -> Tuple[List[Device]]:
        return (result.devices,)


class TorchQuestion(Question[TorchResult]):
    """Whether PyTorch works; `on_done` gets a sentence."""

    result_type = TorchResult

    def _request(self) -> TorchRequest:
        return TorchRequest()

    def _results(self, result: TorchResult) -> Tuple[str]:
        return (f"PyTorch {result.version} works; Automatic computes on {result.device}",)
