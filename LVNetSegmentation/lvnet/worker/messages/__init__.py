"""The messages between the worker and the program that uses it: typed classes here, JSON lines in the pipe.

`requests` holds what the program sends, `results` the results of tasks, `answers` all messages of the
worker, and `wire` their encoding.  Both sides use the same classes, so that each field is defined once.
"""

from .wire import MessageWriter, decode, encode, read_lines

__all__ = ["MessageWriter", "decode", "encode", "read_lines"]
