"""What the two ends of the worker say to each other: typed here, JSON lines in the pipe.

`requests` holds what the asking program sends, `results` what a task gives, `answers` all that the
worker says, and `wire` how messages become lines.  Both ends use the same classes, so that a field
is written and read by one definition.
"""

from .wire import Mouth, decode, encode, read_lines

__all__ = ["Mouth", "decode", "encode", "read_lines"]
