"""JSON, one message a line, in both directions."""

from __future__ import annotations

import json
import os
import threading
from typing import Any, Dict, Iterator, Optional

#: Longer lines are not ours; they would only fill the memory.
_LONGEST = 64 * 2**20


def encode(message: Dict[str, Any]) -> bytes:
    """A message as a line; ASCII, so that no system can garble it."""
    return json.dumps(message, ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n"


def decode(line: bytes) -> Optional[Dict[str, Any]]:
    """The message of a line, or None where the line is none."""
    try:
        message = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def read_lines(handle: int) -> Iterator[bytes]:
    """Lines of a file descriptor as they come, the last one even without an end of line.

    Reads the descriptor itself: a buffered reader would hold a lock while it waits, and a process
    cannot end in order while a thread holds that.
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


class Mouth:
    """Says messages, from any thread.

    Args:
        handle: a file descriptor.

    Attributes:
        heard: False once nobody listens any more.
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._lock = threading.Lock()
        self.heard = True

    def say(self, message: Dict[str, Any]) -> None:
        """Sends one message; without a listener nothing happens."""
        rest = memoryview(encode(message))
        with self._lock:
            try:
                while rest and self.heard:
                    rest = rest[os.write(self._handle, rest) :]
            except OSError:
                self.heard = False
