"""Runs scans one after the other; one that fails does not stop the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Generic, List, Optional, TypeVar, Union

if TYPE_CHECKING:
    from lvnet.worker.client.job import Job

Item = TypeVar("Item")
Result = TypeVar("Result")

#: States of an item.
WAITING, RUNNING, DONE, FAILED, CANCELLED = "waiting", "running", "done", "failed", "cancelled"


class BatchQueue(Generic[Item, Result]):
    """Runs a list of items, each as a job of the logic; independent of Qt and MRML."""

    def __init__(
        self,
        items: List[Item],
        start: Callable[..., Job],
        onChanged: Callable[[int, str, Union[Result, str, None]], None],
        onFinished: Callable[[], None],
    ) -> None:
        """Args:
        items: in the order in which they run.
        start: called with an item and the callbacks `onDone`, which takes the result, `onError` and `onCancelled`;
            returns a job.
        onChanged: called with the index of an item, its state, and the result or the error message, if there is one.
        onFinished: called once, after the last item.
        """
        self._items = items
        self._start = start
        self._onChanged = onChanged
        self._onFinished = onFinished
        self._index = -1
        self._job: Optional[Job] = None
        self._cancelled = False
        self.states = [WAITING] * len(items)

    def next(self) -> None:
        """Starts the next item, or finishes."""
        self._index += 1
        if self._index == len(self._items):
            self._job = None
            self._onFinished()
            return
        index = self._index
        self._set(index, RUNNING, None)
        self._job = self._start(
            self._items[index],
            onDone=lambda result: self._ended(index, DONE, result),
            onError=lambda sentence: self._ended(index, FAILED, sentence),
            onCancelled=lambda: self._ended(index, CANCELLED, None),
        )

    def cancel(self) -> None:
        """Cancels the running item, and starts no other."""
        self._cancelled = True
        if self._job is not None:
            self._job.cancel()

    @property
    def share(self) -> float:
        """The fraction of finished items, 0 to 1."""
        finished = sum(state not in (WAITING, RUNNING) for state in self.states)
        return finished / max(1, len(self.states))

    def _ended(self, index: int, state: str, reported: Union[Result, str, None]) -> None:
        self._set(index, state, reported)
        if self._cancelled:
            for rest in range(index + 1, len(self._items)):
                self._set(rest, CANCELLED, None)
            self._index = len(self._items) - 1
        self.next()

    def _set(self, index: int, state: str, reported: Union[Result, str, None]) -> None:
        self.states[index] = state
        self._onChanged(index, state, reported)
