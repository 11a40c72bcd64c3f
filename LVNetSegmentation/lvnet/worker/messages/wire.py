"""JSON messages, one per line, in both directions."""

from __future__ import annotations

import json
import os
import threading
from typing import Any, Dict, Iterator, Optional

#: Longer lines cannot be messages and are not kept in memory.
_LONGEST = 64 * 2**20


def encode(message: Dict[str, Any]) -> bytes:
    """A message as a line of ASCII, which is safe from encoding problems."""
    return json.dumps(message, ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n"


def decode(line: bytes) -> Optional[Dict[str, Any]]:
    """The message in a line; None if it is not a message."""
    try:
        message = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def read_lines(handle: int) -> Iterator[bytes]:
    """Yields lines of a file descriptor as they arrive, the last one even without an end of line.

    It reads the descriptor directly: a buffered reader holds a lock while it waits, and a process cannot exit
    normally while a thread holds that lock.
    """
    pending = b""
    while True:
        try:
            piece = os.read(handle, 65536)
        except OSError:
            piece = b""
        if not piece:
            break
        *lines, pending = (pending + piece).split(b"\n")
        yield from lines
        if len(pending) > _LONGEST:
            pending = b""
    if pending:
        yield pending


class MessageWriter:
    """Sends messages, from any thread.

    Args:
        handle: a file descriptor.

    Attributes:
        is_open: False once the other side has closed the pipe.
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._lock = threading.Lock()
        self.is_open = True

    def send(self, message: Dict[str, Any]) -> None:
        """Sends one message; does nothing if the other side has closed the pipe."""
        rest = memoryview(encode(message))
        with self._lock:
            try:
                while rest and self.is_open:
                    rest = rest[os.write(self._handle, rest) :]
            except OSError:
                self.is_open = False
