"""Runs work on the main thread in small steps."""

from __future__ import annotations

import time
from typing import Generator, Generic, Optional, TypeVar

ResultT = TypeVar("ResultT")
#: Work that is done step by step, and the type that it returns.
Work = Generator[None, None, ResultT]
#: Seconds of work before the window's events are processed again.
SLICE_SECONDS = 0.03


class Steps(Generic[ResultT]):
    """Runs a generator for a short time at each call.

    A thread would not do: while Slicer's event loop is busy, other Python threads hardly get to run.
    """

    def __init__(self, work: Work[ResultT]) -> None:
        """Args:
        work: a generator whose steps take a few milliseconds each; its return value is the result.
        """
        self._work = work
        self._result: Optional[ResultT] = None
        self.done = False

    def advance(self, seconds: float = SLICE_SECONDS) -> bool:
        """Works for about the given time.

        Returns:
            Whether the work is done.

        Raises:
            Exception: any that the work raises.
        """
        end = time.perf_counter() + seconds
        while not self.done:
            try:
                next(self._work)
            except StopIteration as stop:
                self.done, self._result = True, stop.value
            if time.perf_counter() > end:
                break
        return self.done

    @property
    def result(self) -> ResultT:
        """The return value of the work.

        Raises:
            RuntimeError: it is not done.
        """
        if not self.done:
            raise RuntimeError("the work is not done yet")
        return self._result  # type: ignore[return-value]

    def close(self) -> None:
        """Stops the work where it is; its open files are closed."""
        self._work.close()
