"""Jobs that the worker performs."""

from __future__ import annotations

import time
from typing import Any, Dict, Generic, Optional, Tuple, Type, TypeVar, cast

from ...errors import Cancelled, ComputationError
from ..messages.answers import Answer, Done, Exit, Failed, Progress, ScanDone, Stopped
from ..messages.requests import Request
from ..messages.results import Result
from .error_sentences import error_of, error_of_exit
from .job import NOBODY, Callbacks, Job, JobState
from .service import Conversation, Service

#: Seconds that the worker has to stop by itself, between two slabs, before its process is killed.
CANCEL_SECONDS = 1.2
ResultT = TypeVar("ResultT", bound=Result)


class RemoteJob(Job, Generic[ResultT]):
    """A job that sends one request and waits for its result.

    Args:
        service: runs the worker.
        callbacks: see :class:`~lvnet.worker.client.job.Callbacks`.

    Attributes:
        result_type: the type of the task's result.
    """

    result_type: Type[ResultT]

    def __init__(self, service: Service, callbacks: Callbacks = NOBODY) -> None:
        super().__init__(callbacks)
        self._service = service
        self._conversation: Optional[Conversation] = None
        self._result: Optional[ResultT] = None
        self._stage = "starting"
        self._cancelled_at = 0.0

    def poll(self) -> None:
        self._service.pump()
        self.advance()

    def cancel(self) -> None:
        if self.state not in (JobState.PREPARING, JobState.COMPUTING, JobState.COLLECTING):
            return
        if self.state is JobState.COMPUTING and self._conversation is not None:
            self._service.cancel(self._conversation)
        self.state, self._cancelled_at = JobState.CANCELLING, time.monotonic()

    def _enter(self) -> None:
        self._service.add(self)

    def _request(self) -> Optional[Request]:
        """The request, or None until it can be sent."""
        raise NotImplementedError

    def _results(self, result: ResultT) -> Tuple[Any, ...]:
        """The arguments of `on_done`."""
        raise NotImplementedError

    def _collect(self, result: ResultT) -> Optional[Tuple[Any, ...]]:
        """Like :meth:`_results`, for a job that needs several polls: called once per poll, None until complete."""
        return self._results(result)

    def _on_scan(self, scan: Dict[str, Any]) -> None:
        """A scan of a folder is done."""

    def _step(self) -> Optional[Tuple[Any, ...]]:
        if self.state is JobState.PREPARING:
            request = self._request()
            if request is None:
                return None
            self._report(0.0, "starting")
            if self.state is JobState.PREPARING:  # a callback may have cancelled it
                self._conversation = self._service.ask(request)
                self.state = JobState.COMPUTING
        if self._result is not None and self.state is JobState.COLLECTING:
            return self._collect(self._result)
        if self._conversation is None or self._result is not None:
            # Cancelled before the request was sent, or after the worker had finished.
            raise Cancelled
        for answer in self._conversation.take():
            results = self._hear(answer)
            if results is not None:
                return results
        if self.state is JobState.CANCELLING and time.monotonic() - self._cancelled_at > CANCEL_SECONDS:
            # The worker is busy with something long, such as the first import of PyTorch.
            self._service.close(self._conversation)
            self._service.restart()
            raise Cancelled
        return None

    def _hear(self, answer: Answer) -> Optional[Tuple[Any, ...]]:
        if isinstance(answer, Progress):
            self._stage = answer.stage
            self._report(answer.share, answer.stage)
        elif isinstance(answer, ScanDone):
            self._on_scan(answer.scan)
        elif answer.ends and self.state is JobState.CANCELLING:
            raise Cancelled
        elif isinstance(answer, Done):
            self.state = JobState.COLLECTING
            self._result = result = cast(ResultT, self.result_type.from_fields(answer.fields))
            return self._collect(result)
        elif isinstance(answer, Failed):
            raise error_of(answer, self._service.log_path)
        elif isinstance(answer, Exit):
            if answer.wanted:
                raise ComputationError("the computing process was ended; try again")
            raise error_of_exit(answer, self._stage, self._service.log_path)
        elif isinstance(answer, Stopped):
            raise Cancelled
        return None

    def _clean(self) -> None:
        if self._conversation is not None:
            self._service.close(self._conversation)
        self._service.remove(self)
