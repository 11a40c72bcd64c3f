"""A task that runs in the background, and how its caller follows it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import Enum
from typing import Any, Callable, Optional, Tuple, TypeVar

from ...errors import Cancelled, LVNetError

#: Called with the fraction done (0 to 1), the stage in words, and the remaining seconds (None: not known yet).
ProgressCallback = Callable[[float, str, Optional[float]], None]
SomeJob = TypeVar("SomeJob", bound="Job")

_TICK = 0.02


class JobState(Enum):
    """The state of a job.

    NEW: not started yet.  REFUSED: it cannot be started; the next poll reports why.  PREPARING: the
    worker's input is being written.  COMPUTING: the worker has the request.  COLLECTING: the result has
    arrived and is being read.  CANCELLING: it was asked to stop.  The other three are final.
    """

    NEW = "new"
    REFUSED = "refused"
    PREPARING = "preparing"
    COMPUTING = "computing"
    COLLECTING = "collecting"
    CANCELLING = "cancelling"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether this is a final state."""
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True)
class Callbacks:
    """The callbacks of a job, all optional.

    Attributes:
        on_progress: see :data:`ProgressCallback`.
        on_done: gets the results, which depend on the job.
        on_error: gets one readable sentence that says what went wrong and what to do.
        on_cancelled: called without arguments; without it, a cancelled job calls `on_error`.
    """

    on_progress: Optional[ProgressCallback] = None
    on_done: Optional[Callable[..., None]] = None
    on_error: Optional[Callable[[str], None]] = None
    on_cancelled: Optional[Callable[[], None]] = None


#: No callbacks.
NOBODY = Callbacks()


class Job:
    """One task, such as segmenting a volume or a folder, or listing devices.

    Nothing happens by itself: the caller calls :meth:`start`, and then :meth:`poll` (or the service's)
    several times a second, from the main thread.  All callbacks are called from within ``poll``, never
    from within ``start``; exactly one of ``on_done``, ``on_error`` and ``on_cancelled`` is called, once,
    after which :meth:`is_running` is False.  An exception in ``on_progress`` becomes the error of the
    job; one in the other callbacks is raised by ``poll``.

    Args:
        callbacks: see :class:`Callbacks`.

    Attributes:
        computes: whether only one such job may run at a time.
        state: the current state.
        error: why the job failed or could not start; None while it runs and if it succeeded.
        results: the arguments passed to `on_done`.
    """

    computes = False

    def __init__(self, callbacks: Callbacks = NOBODY) -> None:
        self.state = JobState.NEW
        self.error: Optional[Exception] = None
        self.results: Tuple[Any, ...] = ()
        self._callbacks = callbacks
        self._began = time.monotonic()
        self._shown = (-1.0, "")
        self._pace: Optional[Tuple[float, float]] = None

    def start(self: SomeJob) -> SomeJob:
        """Starts the job; if it cannot be started, the first poll reports why, like any other error.

        Returns:
            The job itself.
        """
        self._began = time.monotonic()
        self.state = JobState.PREPARING
        try:
            self._enter()
            self._begin()
        except Exception as error:
            self.state, self.error = JobState.REFUSED, error
        return self

    def is_running(self) -> bool:
        """Whether the job was started and has not finished, failed or been cancelled."""
        return self.state is not JobState.NEW and not self.state.final

    #: The name that scripts for 3D Slicer use.
    isRunning = is_running  # noqa: N815

    def poll(self) -> None:
        """Processes what has happened since the last call; calls the callbacks."""
        self.advance()

    def advance(self) -> None:
        """:meth:`poll` without reading new messages, for a caller that has read those for all jobs already."""
        if not self.is_running():
            return
        try:
            if self.state is JobState.REFUSED and self.error is not None:
                raise self.error
            results = self._step()
        except Cancelled as error:
            self._finish(JobState.CANCELLED, error)
        except Exception as error:  # whatever the error, the job must not hang
            self._finish(JobState.FAILED, error)
        else:
            if results is not None:
                self._finish(JobState.DONE, None, results)

    def cancel(self) -> None:
        """Asks the job to stop; it does so within two seconds, and `poll` reports it."""
        raise NotImplementedError

    def forget(self) -> None:
        """Drops the callbacks, because their receiver no longer exists."""
        self._callbacks = NOBODY

    def wait(self) -> Tuple[Any, ...]:
        """Polls until the job has ended.

        Returns:
            The arguments of `on_done`.

        Raises:
            LVNetError: an error that the user can fix; one line says what is wrong and what to do.
            Cancelled: the job was cancelled.
            RuntimeError: the job was not started.
        """
        if self.state is JobState.NEW:
            raise RuntimeError("a job must be started before it is waited for")
        try:
            while self.is_running():
                self.poll()
                if self.is_running():
                    time.sleep(_TICK)
        except KeyboardInterrupt:
            self.cancel()
            while self.is_running():
                self.poll()
                time.sleep(_TICK)
            raise
        if self.error is not None:
            raise self.error
        return self.results

    def _enter(self) -> None:
        """Registers the job with whoever polls it; may raise."""

    def _begin(self) -> None:
        """Prepares the job; called once, may raise."""

    def _step(self) -> Optional[Tuple[Any, ...]]:
        """Checks the state of the job; returns its results if there are any, else None; errors are raised."""
        raise NotImplementedError

    def _clean(self) -> None:
        """Removes temporary files of the job; called once, before the last callback."""

    def _report(self, share: float, stage: str) -> None:
        on_progress = self._callbacks.on_progress
        if on_progress is None or (share, stage) == self._shown:
            return
        self._shown = (share, stage)
        on_progress(share, stage, self._remaining(share))

    def _remaining(self, share: float) -> Optional[float]:
        """Remaining seconds, from the speed since the first real progress: a cold start says nothing."""
        now = time.monotonic()
        if self._pace is None:
            if share > 0.05:
                self._pace = (share, now)
            return None
        done, passed = share - self._pace[0], now - self._pace[1]
        # An estimate from the very first moments would be worse than none.
        return (1 - share) * passed / done if done > 0.04 and passed > 0.5 else None

    def _finish(self, state: JobState, error: Optional[Exception], results: Tuple[Any, ...] = ()) -> None:
        self.state, self.error, self.results = state, error, results
        self._clean()
        callbacks = self._callbacks
        if error is None:
            if callbacks.on_done is not None:
                callbacks.on_done(*results)
        elif state is JobState.CANCELLED and callbacks.on_cancelled is not None:
            callbacks.on_cancelled()
        elif callbacks.on_error is not None:
            callbacks.on_error(sentence_of(error))


def sentence_of(error: BaseException) -> str:
    """An error as one readable line."""
    if isinstance(error, Cancelled):
        return "cancelled; nothing was changed"
    if isinstance(error, LVNetError):
        return " ".join(str(error).split())
    return " ".join(f"this is a fault in the module, please report it: {type(error).__name__}: {error}".split())


__all__ = ["NOBODY", "Callbacks", "Job", "JobState", "ProgressCallback", "sentence_of"]
