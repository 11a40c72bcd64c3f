"""The main loop of the worker: takes requests, sends answers, and decides when to exit."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import queue
import sys
import threading
import time
from typing import Any, Callable, Dict, List, Optional, Set

from .._version import __version__
from ..errors import Cancelled
from ..system import claim_process, let_waiting_threads_sleep
from .exchange import remove_folder
from .messages.answers import (
    Accepted,
    Answer,
    Bye,
    Done,
    Failed,
    FailureKind,
    Progress,
    Ready,
    RequestAnswer,
    RequestId,
    ScanDone,
    Stopped,
)
from .messages.requests import CANCEL, request_id, request_of
from .messages.wire import MessageWriter, decode, read_lines
from .task_failures import failed
from .watch import watch

EXIT_DONE, EXIT_RENEW = 0, 3
#: Default number of seconds without a request after which the worker exits.
IDLE_SECONDS = 600.0
#: Seconds that a task has to stop by itself after the parent process has ended.
_LAST_SECONDS = 2.0
#: Failures after which only a new process can succeed.
_RENEW = (FailureKind.DEVICE, FailureKind.TORCH_MISSING, FailureKind.TORCH_BROKEN, FailureKind.TORCH_OLD)
#: Smallest interval, in seconds, between two progress messages of the same stage.
_PROGRESS_EVERY = 0.1


class Server:
    """Processes one request after another.

    Args:
        writer: sends the answers.
        idle_seconds: see IDLE_SECONDS.
    """

    def __init__(self, writer: MessageWriter, idle_seconds: float = IDLE_SECONDS) -> None:
        self._writer = writer
        self._idle_seconds = idle_seconds
        self._requests: queue.Queue[Optional[Dict[str, Any]]] = queue.Queue()
        self._cancelled: Set[RequestId] = set()
        self._orphaned = threading.Event()
        self._current: Optional[Dict[str, Any]] = None

    def listen(self, handle: int) -> None:
        """Reads requests until the parent closes the pipe; runs in its own thread."""
        for line in read_lines(handle):
            self.take(line)
        self.orphan()

    def take(self, line: bytes) -> None:
        """Takes one line; anything that is not a request is ignored."""
        request = decode(line)
        if request is None:
            return
        if request.get("do") == CANCEL:
            number = request_id(request)
            if number is not None:
                self._cancelled.add(number)
        else:
            self._requests.put(request)

    def orphan(self) -> None:
        """To be called when the parent has ended: stops the running task, cleanly if possible, then the process."""
        if self._orphaned.is_set():
            return
        self._orphaned.set()
        self._requests.put(None)

        def end() -> None:
            time.sleep(_LAST_SECONDS)
            self._remove_exchange()
            os._exit(EXIT_DONE)

        threading.Thread(target=end, name="end", daemon=True).start()

    def run(self) -> int:
        """Processes requests until the worker is idle for too long or must exit; returns the exit code."""
        self._send(Ready(os.getpid(), __version__))
        while True:
            try:
                request = self._requests.get(timeout=self._idle_seconds)
            except queue.Empty:
                self._send(Bye("idle"))
                return EXIT_DONE
            if request is None or self._orphaned.is_set():
                self._remove_exchange(request)
                return EXIT_DONE
            answer = self._do(request)
            if isinstance(answer, Failed) and answer.kind in _RENEW:
                # After a driver error a process can no longer use the GPU, and a partly imported PyTorch
                # would get in the way of one that is installed meanwhile; a new process has neither problem.
                self._send(Bye(answer.kind.value))
                return EXIT_RENEW

    def _do(self, message: Dict[str, Any]) -> RequestAnswer:
        """Processes one request; returns the last answer to it."""
        from .tasks import TASKS, after_task

        number = request_id(message)
        answer: RequestAnswer
        self._current = message
        self._send(Accepted(number))
        began = time.monotonic()
        try:
            if self._is_cancelled(number):
                raise Cancelled
            request = request_of(message)
            progress = _ProgressSender(self._send, number)
            result = TASKS[type(request)](request, progress, lambda: self._is_cancelled(number))
            answer = Done(number, result.to_fields(), round(time.monotonic() - began, 3))
        except Cancelled:
            answer = Stopped(number)
        except Exception as error:  # every failure of a task is reported as an answer
            answer = failed(number, error)
        self._send(answer)
        after_task()
        if self._orphaned.is_set():
            self._remove_exchange()
        self._current = None
        self._cancelled.discard(number)
        return answer

    def _send(self, answer: Answer) -> None:
        self._writer.send(answer.to_message())

    def _is_cancelled(self, number: RequestId) -> bool:
        return number in self._cancelled or self._orphaned.is_set() or not self._writer.is_open

    def _remove_exchange(self, request: Optional[Dict[str, Any]] = None) -> None:
        request = request or self._current
        if request is not None and request.get("folder"):
            remove_folder(str(request["folder"]))


class _ProgressSender:
    """A :data:`lvnet.progress.Progress` that sends messages at a limited rate."""

    def __init__(self, send: Callable[[Answer], None], number: RequestId) -> None:
        self._send, self._number = send, number
        self._last = ("", 0.0)

    def __call__(self, share: float, stage: str) -> None:
        now = time.monotonic()
        if stage == self._last[0] and now - self._last[1] < _PROGRESS_EVERY:
            return
        self._last = (stage, now)
        self._send(Progress(self._number, round(float(share), 4), stage))

    def scan(self, scan: Dict[str, Any]) -> None:
        """Sends the outcome of one scan of a folder."""
        self._send(ScanDone(self._number, scan))


def main(arguments: List[str]) -> int:
    """Serves on stdin and stdout.

    Args:
        arguments: `--idle SECONDS` and `--parent PID`, both optional.

    Returns:
        The exit code: 0, or 3 after a failure that only a new process can recover from.
    """
    options = dict(zip(arguments[::2], arguments[1::2]))
    claim_process()
    let_waiting_threads_sleep()
    faulthandler.enable(sys.stderr)
    # Output printed by libraries must not mix with the messages, and no library may read our stdin.
    answers, requests = os.dup(1), os.dup(0)
    os.dup2(2, 1)
    with contextlib.suppress(OSError):
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
    server = Server(MessageWriter(answers), float(options.get("--idle", IDLE_SECONDS)))
    threading.Thread(target=server.listen, args=(requests,), name="listen", daemon=True).start()
    if "--parent" in options:
        watch(int(options["--parent"]), server.orphan)
    try:
        return server.run()
    except KeyboardInterrupt:
        return EXIT_DONE
    finally:
        sys.stderr.flush()
