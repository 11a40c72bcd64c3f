"""The worker process of one program, kept running between jobs, and the jobs that wait for its answers."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import tempfile
import threading
import time
import weakref
from pathlib import Path
from typing import Callable, Dict, List, Mapping, Optional, Union

from ...errors import ConfigurationError, LVNetError
from ..exchange import Exchange, remove_folder, remove_stale
from ..messages.answers import Answer, Exit, RequestAnswer
from ..messages.requests import Request, cancel_message
from ..server import EXIT_DONE, EXIT_RENEW
from ..task_failures import failed
from .job import Job, JobState
from .process import WorkerProcess, this_python

#: Seconds without a job after which the worker exits.
IDLE_SECONDS = 600.0
#: For how many seconds to retry removing a folder that another process has open.
_REMOVE_SECONDS = 10.0


class Conversation:
    """One request to the worker, and the answers to it that have not been read yet.

    Attributes:
        number: the identifier of the request.
        request: the request.
        accepted: whether the worker has begun with it.
        repeated: whether it was sent again, to a second process.
    """

    def __init__(self, number: int, request: Request) -> None:
        self.number = number
        self.request = request
        self.accepted = False
        self.repeated = False
        self._answers: List[Answer] = []

    def add(self, answer: Answer) -> None:
        """Adds an answer."""
        self._answers.append(answer)

    def take(self) -> List[Answer]:
        """Returns the unread answers and clears them."""
        answers, self._answers = self._answers, []
        return answers


class Service:
    """Starts the worker when it is needed and passes messages on.

    Args:
        idle_seconds: see IDLE_SECONDS.
        python: returns the path of the Python to run; called each time a process is started.
        environment: of the worker; None takes that of this process.
        folder: returns the folder for temporary files.

    Attributes:
        keep_warm: whether the worker keeps running for the next job.
    """

    def __init__(
        self,
        idle_seconds: float = IDLE_SECONDS,
        python: Callable[[], str] = this_python,
        environment: Optional[Mapping[str, str]] = None,
        folder: Callable[[], Union[str, Path]] = tempfile.gettempdir,
    ) -> None:
        self.keep_warm = True
        self._idle_seconds = idle_seconds
        self._python = python
        self._environment = environment
        self._folder = folder
        self._process: Optional[WorkerProcess] = None
        self._numbers = itertools.count(1)
        self._open: Dict[int, Conversation] = {}
        self._jobs: List[Job] = []
        self._left_folders: Dict[Path, float] = {}
        self._log_path = ""
        self._ends_with_program = False
        self._renew = False

    @property
    def log_path(self) -> str:
        """The log of the process that was used last; empty if there is none."""
        return self._log_path

    @property
    def worker_pid(self) -> Optional[int]:
        """The process id of the worker; None if none is running."""
        return self._process.pid if self._process is not None and self._process.is_alive() else None

    def is_busy(self) -> bool:
        """Whether anything is left to do: a job, or a folder that could not be removed yet."""
        return bool(self._jobs or self._left_folders)

    def add(self, job: Job) -> None:
        """Adds a job to those that are polled.

        Raises:
            ConfigurationError: it computes and another such job is running; they would slow each other down.
        """
        self._end_with_program()
        busy = job.computes and any(other.computes and other.state is not JobState.REFUSED for other in self._jobs)
        self._jobs.append(job)
        if busy:
            raise ConfigurationError("another segmentation is running; wait for it, or cancel it")

    def remove(self, job: Job) -> None:
        """Removes a job that has ended."""
        if job in self._jobs:
            self._jobs.remove(job)
        if not self._jobs and (self._renew or not self.keep_warm):
            self._stop()

    def poll(self) -> None:
        """Reads new messages once for all jobs, and lets every job process its own."""
        self.pump()
        for job in list(self._jobs):
            job.advance()

    def pump(self) -> None:
        """Passes the worker's messages to the requests that they answer."""
        self._remove_left_folders()
        process = self._process
        for answer in process.receive() if process is not None else ():
            if isinstance(answer, Exit):
                self._on_exit(answer)
            elif isinstance(answer, RequestAnswer) and isinstance(answer.id, int):
                conversation = self._open.get(answer.id)
                if conversation is not None:
                    conversation.accepted = True
                    conversation.add(answer)

    def ask(self, request: Request) -> Conversation:
        """Sends a request, starting a process if none is running."""
        conversation = Conversation(next(self._numbers), request)
        process = self._running()
        self._open[conversation.number] = conversation
        process.send(request.to_message(conversation.number))
        return conversation

    def cancel(self, conversation: Conversation) -> None:
        """Asks the worker to stop working on a request."""
        if self._process is not None:
            self._process.send(cancel_message(conversation.number))

    def close(self, conversation: Conversation) -> None:
        """Ends a conversation: further answers to its request are ignored."""
        self._open.pop(conversation.number, None)

    def restart(self) -> None:
        """Kills the worker and, if `keep_warm`, starts another, so that the next job need not wait for it."""
        self._kill(wait=False)
        if self.keep_warm:
            # If it cannot be started, the job that needs it reports why.
            with contextlib.suppress(LVNetError):
                self._running()

    def renew(self) -> None:
        """Has the next job find a new process; jobs that run are finished by the present one."""
        self._renew = True
        if not self._jobs:
            self._stop()

    def make_exchange(self) -> Exchange:
        """Creates a folder for voxels and removes folders of killed processes; may be called from any thread."""
        folder = self._folder()
        remove_stale(folder)
        return Exchange(folder)

    def remove_exchange(self, exchange: Exchange) -> None:
        """Removes a folder, or tries again later if another process still reads it."""
        if not exchange.remove():
            self._left_folders[exchange.path] = time.monotonic() + _REMOVE_SECONDS

    def forget_jobs(self) -> None:
        """Drops the callbacks of all jobs."""
        for job in self._jobs:
            job.forget()

    def shutdown(self) -> None:
        """Cancels all jobs and ends the worker, without waiting for either."""
        for job in list(self._jobs):
            job.cancel()
        self._kill()
        for job in list(self._jobs):
            job.advance()
        self._remove_left_folders()

    def _end_with_program(self) -> None:
        """Ensures that the worker ends with the program even if :meth:`shutdown` is not called, as in Slicer."""
        if self._ends_with_program:
            return
        self._ends_with_program = True
        reference = weakref.ref(self)

        def at_end() -> None:
            service = reference()
            if service is not None:
                # The receivers of the callbacks may no longer exist.
                service.forget_jobs()
                service.shutdown()

        atexit.register(at_end)

    def _remove_left_folders(self) -> None:
        now = time.monotonic()
        # After `_REMOVE_SECONDS` a folder is left to the next start, which removes unlocked folders.
        self._left_folders = {
            path: until for path, until in self._left_folders.items() if not remove_folder(path) and now < until
        }

    def _running(self) -> WorkerProcess:
        """The process; started if none is running."""
        if self._process is not None and not self._process.is_alive():
            self.pump()  # read its last messages
        if self._process is None:
            process = WorkerProcess(self._python, self._idle_seconds, self._environment)
            process.start()
            self._process, self._log_path = process, process.log_path
        return self._process

    def _on_exit(self, exit_: Exit) -> None:
        self._process = None
        for conversation in list(self._open.values()):
            # It exited by itself, idle or after a failure, before it read this request.
            if exit_.code not in (EXIT_DONE, EXIT_RENEW) or conversation.accepted or conversation.repeated:
                conversation.add(exit_)
                continue
            conversation.repeated = True
            try:
                self._running().send(conversation.request.to_message(conversation.number))
            except LVNetError as error:
                conversation.add(failed(conversation.number, error))

    def _stop(self) -> None:
        self._renew = False
        process, self._process = self._process, None
        if process is not None:
            # In a thread, since Slicer's window would freeze for the moment that the process takes to exit.
            threading.Thread(target=process.stop, name="lvnet stop", daemon=True).start()

    def _kill(self, wait: bool = True) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill(wait)
            for conversation in self._open.values():
                conversation.add(Exit(-9, [], wanted=True))
