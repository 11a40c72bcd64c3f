"""Jobs that the worker does."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, Optional

from lvnet.errors import Cancelled, ComputationError

from .failures import errorOf, errorOfExit
from .jobs import Job, ProgressCallback
from .service import Request, Service

#: Seconds that the worker has to stop by itself, between two slabs, before its process is ended.
CANCEL_SECONDS = 1.2


class RemoteJob(Job):
    """A job that sends one request and waits for its result.

    Args:
        service: has the worker.
        computes: whether it may not run beside another such job.
    """

    def __init__(
        self,
        service: Service,
        computes: bool,
        onProgress: Optional[ProgressCallback] = None,
        onDone: Optional[Callable[..., None]] = None,
        onError: Optional[Callable[[str], None]] = None,
        onCancelled: Optional[Callable[[], None]] = None,
    ) -> None:
        super().__init__(onProgress, onDone, onError, onCancelled)
        self.computes = computes
        self._service = service
        self._request: Optional[Request] = None
        self._stage = "starting"
        self._cancelledAt: Optional[float] = None
        self._refusal: Optional[Exception] = None
        try:
            service.add(self, computes)
            self._begin()
        except Exception as error:  # told by the first poll, as every other error
            self.computes = False
            self._refusal = error

    def cancel(self) -> None:
        if self._running and self._cancelledAt is None:
            self._cancelledAt = time.monotonic()
            if self._request is not None:
                self._service.cancel(self._request)

    def _begin(self) -> None:
        """Prepares the job; called once, may raise."""

    def _message(self) -> Optional[Dict[str, Any]]:
        """The request, once it can be sent; its `do` is among the fields."""
        raise NotImplementedError

    def _results(self, answer: Dict[str, Any]) -> Optional[tuple]:
        """What `onDone` gets, from the worker's result; None where it takes more steps."""
        raise NotImplementedError

    def _onPart(self, part: Dict[str, Any]) -> None:
        """A part of the result is there."""

    def _step(self) -> Optional[tuple]:
        if self._refusal is not None:
            raise self._refusal
        self._service.pump()
        if self._request is None:
            message = self._message()
            if self._cancelledAt is not None:
                raise Cancelled
            if message is None:
                return None
            self._report(0.0, "starting")
            self._request = self._service.ask(**message)
        for answer in self._request.take():
            results = self._hear(answer)
            if results is not None:
                return results
        if self._cancelledAt is not None and time.monotonic() - self._cancelledAt > CANCEL_SECONDS:
            # It is in the midst of something long, such as the first import of PyTorch.
            self._service.close(self._request)
            self._service.restart()
            raise Cancelled
        return None

    def _hear(self, answer: Dict[str, Any]) -> Optional[tuple]:
        kind = answer["type"]
        if kind == "progress":
            self._stage = str(answer["stage"])
            self._report(float(answer["share"]), self._stage)
            return None
        if kind == "scan":
            self._onPart(answer["scan"])
            return None
        if kind in ("result", "cancelled", "error", "exit") and self._cancelledAt is not None:
            raise Cancelled
        if kind == "result":
            return self._results(answer)
        if kind == "error":
            raise errorOf(answer, self._service.logPath)
        if kind == "exit":
            if answer.get("wanted"):
                raise ComputationError("the process that computes was ended; try again")
            raise errorOfExit(int(answer["code"]), list(answer["lines"]), self._stage, self._service.logPath)
        if kind == "cancelled":
            raise Cancelled
        return None

    def _clean(self) -> None:
        if self._request is not None:
            self._service.close(self._request)
        self._service.remove(self)
