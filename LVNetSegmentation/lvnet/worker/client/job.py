"""A task that runs elsewhere while Slicer goes on, and how its caller follows it."""

from __future__ import annotations

import time
from typing import Any, Callable, Optional, Tuple

from lvnet.errors import Cancelled, LVNetError

#: Told the share that is done (0 to 1), the stage in words, and the seconds that remain (None: not known yet).
ProgressCallback = Callable[[float, str, Optional[float]], None]

_TICK = 0.02


class Job:
    """One task: segmenting a volume, a folder, asking for devices.

    Nothing happens by itself: whoever started the job calls :meth:`poll` (or the logic's) several
    times a second, from the main thread.  All callbacks are called from within ``poll`` and never
    from within the call that started the job; exactly one of ``onDone``, ``onError`` and
    ``onCancelled`` is called, once, after which :meth:`isRunning` is False.  An exception of
    ``onProgress`` ends the job as its error, one of the others leaves ``poll``.

    Args:
        onProgress: see :data:`ProgressCallback`.
        onDone: gets the results; what they are depends on the job.
        onError: gets one readable sentence: what went wrong and what to do.
        onCancelled: called without arguments; without it, a cancelled job calls ``onError``.
    """

    def __init__(
        self,
        onProgress: Optional[ProgressCallback] = None,
        onDone: Optional[Callable[..., None]] = None,
        onError: Optional[Callable[[str], None]] = None,
        onCancelled: Optional[Callable[[], None]] = None,
    ) -> None:
        self._onProgress = onProgress
        self._onDone = onDone
        self._onError = onError
        self._onCancelled = onCancelled
        self._running = True
        self._began = time.monotonic()
        self._shown = (-1.0, "")
        self._pace: Optional[Tuple[float, float]] = None
        #: What ended the job, None while it runs and once it is done.
        self.error: Optional[Exception] = None
        #: The arguments that `onDone` got.
        self.results: tuple = ()

    def isRunning(self) -> bool:
        """Whether the job has neither finished nor failed nor been cancelled."""
        return self._running

    def poll(self) -> None:
        """Takes in what has happened since; calls the callbacks."""
        if not self._running:
            return
        try:
            results = self._step()
        except Exception as error:  # whatever it was, the job must not hang
            self._finish(error)
        else:
            if results is not None:
                self._finish(None, results)

    def cancel(self) -> None:
        """Asks the job to stop; it does within two seconds, and `poll` says so."""
        raise NotImplementedError

    def forget(self) -> None:
        """Takes the callbacks away: whom they would tell is gone."""
        self._onProgress = self._onDone = self._onError = self._onCancelled = None

    def wait(self) -> tuple:
        """Polls until the job has ended.

        Returns:
            The arguments of `onDone`.

        Raises:
            LVNetError: the user can put it right; one line says what and how.
            Cancelled: the job was cancelled.
        """
        try:
            while self._running:
                self.poll()
                if self._running:
                    time.sleep(_TICK)
        except KeyboardInterrupt:
            self.cancel()
            while self._running:
                self.poll()
                time.sleep(_TICK)
            raise
        if self.error is not None:
            raise self.error
        return self.results

    def _step(self) -> Optional[tuple]:
        """One look at how things stand: the results once they are there, else None; errors are raised."""
        raise NotImplementedError

    def _clean(self) -> None:
        """Takes away whatever the job left outside the scene; called once, before the last callback."""

    def _report(self, share: float, stage: str) -> None:
        if self._onProgress is None or (share, stage) == self._shown:
            return
        self._shown = (share, stage)
        self._onProgress(share, stage, self._remaining(share))

    def _remaining(self, share: float) -> Optional[float]:
        """Seconds that are left, from the pace since the first real progress: a cold start tells nothing."""
        now = time.monotonic()
        if self._pace is None:
            if share > 0.05:
                self._pace = (share, now)
            return None
        done, passed = share - self._pace[0], now - self._pace[1]
        # A guess from the very first moments would be worse than none.
        return (1 - share) * passed / done if done > 0.04 and passed > 0.5 else None

    def _finish(self, error: Optional[Exception], results: tuple = ()) -> None:
        self._running = False
        self.error, self.results = error, results
        self._clean()
        if error is None:
            self._call(self._onDone, *results)
        elif isinstance(error, Cancelled) and self._onCancelled is not None:
            self._onCancelled()
        else:
            self._call(self._onError, sentenceOf(error))

    @staticmethod
    def _call(callback: Optional[Callable[..., None]], *arguments: Any) -> None:
        if callback is not None:
            callback(*arguments)


def sentenceOf(error: BaseException) -> str:
    """An error as one readable line."""
    if isinstance(error, Cancelled):
        return "cancelled; nothing was changed"
    if isinstance(error, LVNetError):
        return " ".join(str(error).split())
    return " ".join(f"this is a fault of the module, please report it: {type(error).__name__}: {error}".split())


__all__ = ["Job", "ProgressCallback", "sentenceOf"]
