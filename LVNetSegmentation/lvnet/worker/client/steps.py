"""Work on the main thread, a little at a time."""

from __future__ import annotations

import time
from typing import Any, Generator

#: Something that is done step by step.
Work = Generator[None, None, Any]
#: Seconds of work between two looks at the window's events.
SLICE_SECONDS = 0.03


class Steps:
    """A generator that is run for a moment whenever somebody has time for it.

    Not a thread: while Slicer's event loop is busy, other threads of Python hardly get a turn.
    """

    def __init__(self, work: Work) -> None:
        """Args:
        work: each of its steps takes some milliseconds; what it returns is the result.
        """
        self._work = work
        self._result: Any = None
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
    def result(self) -> Any:
        """What the work returned; None as long as it is not done."""
        return self._result

    def close(self) -> None:
        """Ends the work where it stands; files that it holds open are closed."""
        self._work.close()
