"""The process that computes: started, listened to, and ended with all that it started.

Two threads read what it writes, a third waits for its end; all they do is to put messages into a
queue.  Nothing here knows of Slicer or Qt.
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
from typing import Any, Deque, Dict, List, Mapping, Optional

import lvnet
from lvnet.errors import ComputationError
from lvnet.worker.messages import decode, encode, read_lines

from .logs import Log
from .pythonslicer import interpreter

#: Run by its path, it finds the lvnet that it lies in and no other.
WORKER_FILE = Path(lvnet.__file__).resolve().parent / "worker" / "__main__.py"
#: Lines of its stderr that are kept for a message about a crash.
_TAIL = 20
#: Seconds that an orderly end may take.
_PATIENCE = 1.0


class WorkerProcess:
    """A running worker.

    Args:
        idleSeconds: it ends itself when nothing was asked for so long.
        executable: the Python to run; None finds it.
        environment: None takes that of this process.

    Attributes:
        log: what it has said apart from messages.

    Raises:
        ComputationError: it cannot be started.
    """

    def __init__(
        self,
        idleSeconds: float = 600.0,
        executable: Optional[str] = None,
        environment: Optional[Mapping[str, str]] = None,
    ) -> None:
        self._messages: queue.Queue[Dict[str, Any]] = queue.Queue()
        self._tail: Deque[str] = deque(maxlen=_TAIL)
        self._ended = False
        python = executable or interpreter()
        command = [python, str(WORKER_FILE), "--idle", str(idleSeconds), "--parent", str(os.getpid())]
        self.log = Log()
        variables = dict(os.environ if environment is None else environment)
        # Tracebacks with names of any script stay whole.
        variables["PYTHONIOENCODING"] = "utf-8:replace"
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=variables,
                # Not the folder where the user happens to be: it may hold anything, and may be about to go.
                cwd=os.path.dirname(os.path.abspath(python)),
                **_ownGroup(),
            )
        except OSError as error:
            self.log.close()
            raise ComputationError(
                f"the process that computes cannot be started ({error.strerror or error}: {command[0]}); "
                "restart 3D Slicer, or install it again"
            ) from error
        self.log.write(f"started process {self._process.pid}")
        assert self._process.stdout is not None and self._process.stderr is not None
        self._readers = [
            self._thread(self._readMessages, self._process.stdout.fileno()),
            self._thread(self._readErrors, self._process.stderr.fileno()),
        ]
        self._thread(self._awaitEnd)

    @property
    def pid(self) -> int:
        """Of the process; where Slicer's launcher runs it, that of the launcher."""
        return self._process.pid

    def isAlive(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def send(self, message: Dict[str, Any]) -> None:
        """Sends a request; where the process has ended, the message about that is the answer."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(encode(message))

    def receive(self) -> List[Dict[str, Any]]:
        """The messages since the last call, without waiting.

        The last of all is {"type": "exit", "code": ..., "lines": [...]}, after everything that was
        left in the pipes.
        """
        messages = []
        with contextlib.suppress(queue.Empty):
            while True:
                messages.append(self._messages.get_nowait())
        return messages

    def close(self) -> None:
        """Asks it to end and does not wait; it ends within seconds, whatever it does."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.close()

    def kill(self, wait: bool = True) -> None:
        """Ends it and everything that it started, at once.

        Args:
            wait: until the system has taken it away.
        """
        if not self._ended:
            endTree(self._process)
        self.close()
        if not wait:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE)

    def stop(self) -> None:
        """Asks it to end, and ends it where it does not within a moment."""
        self.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE)
        self.kill()

    def _readMessages(self, handle: int) -> None:
        for line in read_lines(handle):
            message = decode(line)
            if message is None or "type" not in message:
                self._note(line)
                continue
            self._describe(message)
            self._messages.put(message)

    def _readErrors(self, handle: int) -> None:
        for line in read_lines(handle):
            self._note(line)

    def _note(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip()
        if text:
            self._tail.append(text)
            self.log.write(text)

    def _describe(self, message: Mapping[str, Any]) -> None:
        kind = message["type"]
        if kind == "progress":
            self.log.write(f"{message.get('id')}: {message.get('share', 0):.0%} {message.get('stage')}")
        elif kind == "error":
            # Sentences for the user may name files, and those patients; the log holds what is needed to mend it.
            self.log.write(f"{message.get('id')}: error of kind {message.get('kind')} {message.get('error', '')}")
            self.log.write(str(message.get("details") or ""))
        elif kind == "scan":
            # Its file's name may be a patient's.
            self.log.write(f"{message.get('id')}: a scan of the folder is done")
        elif kind == "result":
            self.log.write(f"{message.get('id')}: done in {message.get('seconds')} s on {message.get('device', '-')}")
        else:
            self.log.write(" ".join(f"{key}={value}" for key, value in message.items()))

    def _awaitEnd(self) -> None:
        code = self._process.wait()
        # Whatever it had started itself would hold the pipes open, and the memory.
        endTree(self._process)
        self._ended = True
        for reader in self._readers:
            reader.join(_PATIENCE)
        self.log.write(f"ended with exit code {code}")
        self._messages.put({"type": "exit", "code": code, "lines": list(self._tail)})
        self.log.close()
        if not any(reader.is_alive() for reader in self._readers):
            for stream in (self._process.stdout, self._process.stderr, self._process.stdin):
                with contextlib.suppress(OSError, ValueError):
                    stream.close()  # type: ignore[union-attr]

    @staticmethod
    def _thread(work: Any, *arguments: Any) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments, name=f"lvnet {work.__name__}", daemon=True)
        thread.start()
        return thread


if sys.platform == "win32":

    def _ownGroup() -> Dict[str, Any]:
        # No console window, and no Ctrl-C of ours.
        return {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}

    def endTree(process: subprocess.Popen[bytes]) -> None:
        """Ends a process and all its descendants."""
        if process.poll() is None:
            taskkill = os.path.join(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "taskkill.exe")
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                # By the tree: PythonSlicer is a launcher, the Python that computes is its child.
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

    def _ownGroup() -> Dict[str, Any]:
        # A session of its own: a group that can be ended as a whole, and no Ctrl-C of ours.
        return {"start_new_session": True}

    def endTree(process: subprocess.Popen[bytes]) -> None:
        """Ends a process and all that it started; what is left of them where it has ended already."""
        # PythonSlicer is a launcher, the Python that computes is its child; both are of one group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
