"""Work on the main thread, a little at a time."""

from __future__ import annotations

import time
from typing import Generator, Generic, Optional, TypeVar

ResultT = TypeVar("ResultT")
#: Something that is done step by step, and what it returns.
Work = Generator[None, None, ResultT]
#: Seconds of work between two looks at the window's events.
SLICE_SECONDS = 0.03


class Steps(Generic[ResultT]):
    """A generator that is run for a moment whenever somebody has time for it.

    Not a thread: while Slicer's event loop is busy, other threads of Python hardly get a turn.
    """

    def __init__(self, work: Work[ResultT]) -> None:
        """Args:
        work: each of its steps takes some milliseconds; what it returns is the result.
        """
        self._work = work
        self._result: Optional[ResultT] = None
        self.done = False

    def advance(self, seconds: float = SLICE_SECONDS) -> bool:
        """Works for about so long.

        Returns:
            Whether the work is done.

        Raises:
            Exception: the one that ended the work.
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
        """What the work returned.

        Raises:
            RuntimeError: it is not done.
        """
        if not self.done:
            raise RuntimeError("the work is not done yet")
        return self._result  # type: ignore[return-value]

    def close(self) -> None:
        """Ends the work where it stands; files that it holds open are closed."""
        self._work.close()
