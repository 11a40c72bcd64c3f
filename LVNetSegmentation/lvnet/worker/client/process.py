"""The computing process: starts it, reads its output, and ends it with all its child processes.

Two threads read its output and a third waits for its end; all they do is put messages into a queue.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from typing import Any, Callable, Deque, Dict, List, Mapping, Optional

from ...errors import ComputationError
from ..messages.answers import Answer, Done, Exit, Failed, Progress, ScanDone, answer_of
from ..messages.wire import decode, encode, read_lines
from .logs import Log

#: Run by its path, it imports the lvnet that contains it and no other.
WORKER_FILE = Path(__file__).resolve().parents[1] / "__main__.py"
#: Lines of its stderr that are kept for the message about a crash.
_TAIL = 20
#: Seconds that a clean exit may take.
_PATIENCE = 1.0


def this_python() -> str:
    """The path of the running Python.

    Raises:
        ComputationError: it is not known.
    """
    if not sys.executable:
        raise ComputationError("no Python was found to compute with; start Python by its full path")
    return sys.executable


class WorkerProcess:
    """A worker process; :meth:`start` starts it.

    Args:
        python: returns the path of the Python to run.
        idle_seconds: without a request for this long, it exits.
        environment: None takes that of this process.
    """

    def __init__(
        self,
        python: Callable[[], str] = this_python,
        idle_seconds: float = 600.0,
        environment: Optional[Mapping[str, str]] = None,
    ) -> None:
        self._python = python
        self._idle_seconds = idle_seconds
        self._environment = environment
        self._answers: queue.Queue[Answer] = queue.Queue()
        self._tail: Deque[str] = deque(maxlen=_TAIL)
        self._ended = False
        self._log: Optional[Log] = None
        self._started: Optional[subprocess.Popen[bytes]] = None
        self._readers: List[threading.Thread] = []

    def start(self) -> None:
        """Starts the process; to be called once.

        Raises:
            ComputationError: it cannot be started.
        """
        python = self._python()
        command = [python, str(WORKER_FILE), "--idle", str(self._idle_seconds), "--parent", str(os.getpid())]
        self._log = log = Log()
        variables = dict(os.environ if self._environment is None else self._environment)
        # So that tracebacks with names in any script can be printed.
        variables["PYTHONIOENCODING"] = "utf-8:replace"
        try:
            self._started = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=variables,
                # Not the user's current folder, which may contain anything and may be removed.
                cwd=os.path.dirname(os.path.abspath(python)),
                **_own_group(),
            )
        except OSError as error:
            log.close()
            raise ComputationError(
                f"the computing process cannot be started ({error.strerror or error}: {command[0]}); "
                "restart 3D Slicer, or install it again"
            ) from error
        log.write(f"started process {self.pid}")
        assert self._process.stdout is not None and self._process.stderr is not None
        self._readers = [
            self._thread(self._read_answers, self._process.stdout.fileno()),
            self._thread(self._read_errors, self._process.stderr.fileno()),
        ]
        self._thread(self._await_end)

    @property
    def _process(self) -> subprocess.Popen[bytes]:
        if self._started is None:
            raise RuntimeError("the worker has to be started first")
        return self._started

    @property
    def log_path(self) -> str:
        """The file with its log; empty if there is none."""
        return "" if self._log is None else self._log.path

    @property
    def pid(self) -> int:
        """The process id; if Slicer's launcher runs the process, that of the launcher."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def send(self, message: Dict[str, Any]) -> None:
        """Sends a request; if the process has ended, its Exit message is the answer."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(encode(message))

    def receive(self) -> List[Answer]:
        """Messages received since the last call, without waiting.

        The very last is an :class:`~lvnet.worker.messages.answers.Exit`, after everything that was
        still in the pipes.
        """
        answers = []
        with contextlib.suppress(queue.Empty):
            while True:
                answers.append(self._answers.get_nowait())
        return answers

    def close(self) -> None:
        """Asks the process to exit, without waiting; it does so within seconds, whatever it is doing."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.close()

    def kill(self, wait: bool = True) -> None:
        """Kills the process and all its child processes at once.

        Args:
            wait: whether to wait until it has ended.
        """
        if not self._ended:
            end_tree(self._process)
        self.close()
        if not wait:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE)

    def stop(self) -> None:
        """Asks the process to exit, and kills it if it has not done so after a moment."""
        self.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE)
        self.kill()

    def _read_answers(self, handle: int) -> None:
        for line in read_lines(handle):
            message = decode(line)
            answer = None if message is None else answer_of(message)
            if answer is None:
                self._note(line)
                continue
            self._describe(answer)
            self._answers.put(answer)

    def _read_errors(self, handle: int) -> None:
        for line in read_lines(handle):
            self._note(line)

    def _note(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip()
        if text:
            self._tail.append(text)
            self._write(text)

    def _write(self, text: str) -> None:
        if self._log is not None:
            self._log.write(text)

    def _describe(self, answer: Answer) -> None:
        """Logs an answer, without anything that may contain a patient's name."""
        if isinstance(answer, Progress):
            self._write(f"{answer.id}: {answer.share:.0%} {answer.stage}")
        elif isinstance(answer, Failed):
            # Messages for the user may contain file names, and these patients' names; only the traceback is logged.
            self._write(f"{answer.id}: error of kind {answer.kind.value} {answer.error or ''}")
            self._write(answer.details or "")
        elif isinstance(answer, ScanDone):
            # No file name, since it may contain a patient's name.
            self._write(f"{answer.id}: a scan of the folder is done")
        elif isinstance(answer, Done):
            self._write(f"{answer.id}: done in {answer.seconds} s{_where(answer.fields)}")
        else:
            self._write(" ".join(f"{key}={value}" for key, value in answer.to_message().items()))

    def _await_end(self) -> None:
        code = self._process.wait()
        # Child processes would keep the pipes open and use memory.
        end_tree(self._process)
        self._ended = True
        for reader in self._readers:
            reader.join(_PATIENCE)
        self._write(f"ended with exit code {code}")
        self._answers.put(Exit(code, list(self._tail)))
        if self._log is not None:
            self._log.close()
        if not any(reader.is_alive() for reader in self._readers):
            for stream in (self._process.stdout, self._process.stderr, self._process.stdin):
                with contextlib.suppress(OSError, ValueError):
                    stream.close()  # type: ignore[union-attr]

    @staticmethod
    def _thread(work: Callable[..., None], *arguments: int) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments, name=f"lvnet {work.__name__}", daemon=True)
        thread.start()
        return thread


def _where(fields: Mapping[str, Any]) -> str:
    """The device of a task's result and how the network was computed there, as far as the result says it."""
    device, path = fields.get("device"), fields.get("compute_path")
    with_path = f" with {path.get('name')}" if isinstance(path, dict) else ""
    return with_path if device is None else f"{with_path} on {device}"


if sys.platform == "win32":

    def _own_group() -> Dict[str, Any]:
        # No console window, and our Ctrl-C does not reach it.
        return {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}

    def end_tree(process: subprocess.Popen[bytes]) -> None:
        """Ends a process and all its descendants."""
        if process.poll() is None:
            taskkill = os.path.join(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "taskkill.exe")
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                # The whole tree: PythonSlicer is a launcher, and the computing Python is its child.
                subprocess.run(
                    [taskkill, "/PID", str(process.pid), "/T", "/F"],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    creationflags=subprocess.CREATE_NO_WINDOW,
                    timeout=5.0,
                    check=False,
                )
        if process.poll() is None:
            with contextlib.suppress(OSError):
                process.kill()

else:

    def _own_group() -> Dict[str, Any]:
        # Its own session: the process group can be killed as a whole, and our Ctrl-C does not reach it.
        return {"start_new_session": True}

    def end_tree(process: subprocess.Popen[bytes]) -> None:
        """Kills a process and all its descendants; if it has ended already, those that are left."""
        # PythonSlicer is a launcher, and the computing Python is its child; both are in one group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
