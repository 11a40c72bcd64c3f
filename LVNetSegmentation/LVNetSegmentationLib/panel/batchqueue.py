"""One scan after the other; one that fails does not stop the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Generic, List, Optional, TypeVar

if TYPE_CHECKING:
    from lvnet.worker.client.job import Job

Thing = TypeVar("Thing")

#: What became of a scan.
WAITING, RUNNING, DONE, FAILED, CANCELLED = "waiting", "running", "done", "failed", "cancelled"


class BatchQueue(Generic[Thing]):
    """Runs a list of things, each as a job of the logic.  No Qt, no nodes."""

    def __init__(
        self,
        things: List[Thing],
        start: Callable[..., Job],
        onChanged: Callable[[int, str, Any], None],
        onFinished: Callable[[], None],
    ) -> None:
        """Args:
        things: what is worked on, in this order.
        start: called with a thing and the callbacks `onDone`, `onError` and `onCancelled`; gives a job.
        onChanged: called with the index of a thing, what became of it, and what the job said.
        onFinished: called once, after the last thing.
        """
        self._things = things
        self._start = start
        self._onChanged = onChanged
        self._onFinished = onFinished
        self._index = -1
        self._job: Optional[Job] = None
        self._cancelled = False
        self.states = [WAITING] * len(things)

    def next(self) -> None:
        """Starts the next thing, or ends."""
        self._index += 1
        if self._index == len(self._things):
            self._job = None
            self._onFinished()
            return
        index = self._index
        self._set(index, RUNNING, None)
        self._job = self._start(
            self._things[index],
            onDone=lambda *results: self._ended(index, DONE, results),
            onError=lambda sentence: self._ended(index, FAILED, sentence),
            onCancelled=lambda: self._ended(index, CANCELLED, None),
        )

    def cancel(self) -> None:
        """Stops the thing that runs, and starts no other."""
        self._cancelled = True
        if self._job is not None:
            self._job.cancel()

    @property
    def share(self) -> float:
        """The share of things that are through, 0 to 1."""
        through = sum(state not in (WAITING, RUNNING) for state in self.states)
        return through / max(1, len(self.states))

    def _ended(self, index: int, state: str, said: Any) -> None:
        self._set(index, state, said)
        if self._cancelled:
            for rest in range(index + 1, len(self._things)):
                self._set(rest, CANCELLED, None)
            self._index = len(self._things) - 1
        self.next()

    def _set(self, index: int, state: str, said: Any) -> None:
        self.states[index] = state
        self._onChanged(index, state, said)
