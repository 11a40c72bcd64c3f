"""The worker process of one logic, warm between jobs, and the jobs that wait for its answers."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import threading
import time
import weakref
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Union

from lvnet.errors import ConfigurationError, LVNetError
from lvnet.worker.exchange import Exchange, remove_folder, remove_stale
from lvnet.worker.server import EXIT_DONE, EXIT_RENEW

from .jobs import Job
from .pythonslicer import temporaryFolder
from .workerprocess import WorkerProcess

#: Seconds without a job after which a warm worker ends itself.
IDLE_SECONDS = 600.0
#: Seconds for which a folder is tried to be removed that another process holds.
_REMOVE_SECONDS = 10.0


class Request:
    """One request to the worker, and the answers to it that were not read yet.

    Attributes:
        number: its identifier.
        message: what is sent.
        answers: messages of the worker, and the "exit" of the process.
        accepted: whether the worker has begun with it.
        repeated: whether it was sent a second time, to a second process.
    """

    def __init__(self, number: int, message: Dict[str, Any]) -> None:
        self.number = number
        self.message = message
        self.answers: List[Dict[str, Any]] = []
        self.accepted = False
        self.repeated = False

    def take(self) -> List[Dict[str, Any]]:
        """The answers, which are then taken away."""
        answers, self.answers = self.answers, []
        return answers


class Service:
    """Starts the worker when it is needed and passes messages on.

    Args:
        idleSeconds: see IDLE_SECONDS.
        executable: the Python to run; None finds it.
        environment: of the worker; None takes that of this process.
        folder: for temporary files; None takes Slicer's, or the system's.

    Attributes:
        keepWarm: whether the worker stays for the next job.
    """

    def __init__(
        self,
        idleSeconds: float = IDLE_SECONDS,
        executable: Optional[str] = None,
        environment: Optional[Mapping[str, str]] = None,
        folder: Optional[Union[str, Path]] = None,
    ) -> None:
        self.keepWarm = True
        self._idleSeconds = idleSeconds
        self._executable = executable
        self._environment = environment
        self._folder = folder
        self._process: Optional[WorkerProcess] = None
        self._numbers = itertools.count(1)
        self._open: Dict[int, Request] = {}
        self._jobs: List[Job] = []
        self._leftFolders: Dict[Path, float] = {}
        self._logPath = ""
        # Slicer may end without a word to its modules.
        reference = weakref.ref(self)

        def atEnd() -> None:
            service = reference()
            if service is not None:
                # Nobody is left to be told.
                service.forgetJobs()
                service.shutdown()

        atexit.register(atEnd)

    @property
    def logPath(self) -> str:
        """The log of the process that was used last; empty where there is none."""
        return self._logPath

    @property
    def workerPid(self) -> Optional[int]:
        """Of the worker, or None where none runs."""
        return self._process.pid if self._process is not None and self._process.isAlive() else None

    def isBusy(self) -> bool:
        """Whether anything is left to do: a job, or a folder that another process still held."""
        return bool(self._jobs or self._leftFolders)

    def add(self, job: Job, alone: bool) -> None:
        """Takes a job in, to be polled.

        Args:
            alone: it computes, and two of such would only be in each other's way.

        Raises:
            ConfigurationError: another such job runs.
        """
        busy = alone and any(getattr(other, "computes", False) for other in self._jobs)
        self._jobs.append(job)
        if busy:
            raise ConfigurationError("another segmentation is running; wait for it, or cancel it")

    def remove(self, job: Job) -> None:
        """Lets go of a job that has ended."""
        if job in self._jobs:
            self._jobs.remove(job)
        if not self.keepWarm and not self._jobs:
            self._stop()

    def poll(self) -> None:
        """Takes in messages and lets every job have a look at them."""
        self.pump()
        for job in list(self._jobs):
            job.poll()

    def pump(self) -> None:
        """Hands the worker's messages to the requests that they answer."""
        self._removeLeftFolders()
        process = self._process
        for message in process.receive() if process is not None else ():
            if message["type"] == "exit":
                self._onExit(message)
            request = self._open.get(message.get("id", 0))
            if request is not None:
                request.accepted = True
                request.answers.append(message)

    def ask(self, do: str, **fields: Any) -> Request:
        """Sends a request, to a new process if none runs."""
        number = next(self._numbers)
        request = Request(number, {"do": do, "id": number, **fields})
        self._start()
        self._open[number] = request
        assert self._process is not None
        self._process.send(request.message)
        return request

    def cancel(self, request: Request) -> None:
        """Asks the worker to stop with a request."""
        if self._process is not None:
            self._process.send({"do": "cancel", "id": request.number})

    def close(self, request: Request) -> None:
        """Nobody waits for this request any more."""
        self._open.pop(request.number, None)

    def restart(self) -> None:
        """Ends the worker at once and starts another, so that the next job finds it warm."""
        self._kill(wait=False)
        if self.keepWarm:
            # What stands in the way of a start is told to the job that needs it.
            with contextlib.suppress(LVNetError):
                self._start()

    def makeExchange(self) -> Exchange:
        """A folder for voxels, after folders of killed processes were removed; from any thread."""
        folder = self._folder or temporaryFolder()
        remove_stale(folder)
        return Exchange(folder)

    def removeExchange(self, exchange: Exchange) -> None:
        """Removes a folder, later where another process still reads it."""
        if not exchange.remove():
            self._leftFolders[exchange.path] = time.monotonic() + _REMOVE_SECONDS

    def forgetJobs(self) -> None:
        """Takes the callbacks from all jobs."""
        for job in self._jobs:
            job.forget()

    def shutdown(self) -> None:
        """Cancels all jobs and ends the worker, without waiting for either to be nice about it."""
        for job in list(self._jobs):
            job.cancel()
        self._kill()
        for job in list(self._jobs):
            job.poll()
        self._removeLeftFolders()

    def _removeLeftFolders(self) -> None:
        now = time.monotonic()
        # What cannot be removed for long is left to the next start, which removes what nobody holds.
        self._leftFolders = {
            path: until for path, until in self._leftFolders.items() if not remove_folder(path) and now < until
        }

    def _start(self) -> None:
        if self._process is not None:
            if self._process.isAlive():
                return
            self.pump()  # its last words
        if self._process is None:
            self._process = WorkerProcess(self._idleSeconds, self._executable, self._environment)
            self._logPath = self._process.log.path

    def _onExit(self, message: Dict[str, Any]) -> None:
        self._process = None
        for request in list(self._open.values()):
            # It ended by itself, for want of work or after a failure, before it saw this.
            if message["code"] in (EXIT_DONE, EXIT_RENEW) and not request.accepted and not request.repeated:
                request.repeated = True
                self._start()
                assert self._process is not None
                self._process.send(request.message)  # type: ignore[unreachable]
            else:
                request.answers.append(message)

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            # It takes a moment to end, in which Slicer's window would stand still.
            threading.Thread(target=process.stop, name="lvnet stop", daemon=True).start()

    def _kill(self, wait: bool = True) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill(wait)
            gone = {"type": "exit", "code": -9, "lines": [], "wanted": True}
            for request in self._open.values():
                request.answers.append(gone)
