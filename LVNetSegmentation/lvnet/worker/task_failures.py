"""What went wrong in a task, as a message that the asking program can act on."""

from __future__ import annotations

import errno
import traceback
from typing import Any, Dict

from ..errors import LVNetError
from ..memory import is_out_of_memory

#: Kinds of failures.  USER: an LVNetError, `error` names its class.  TORCH_MISSING, TORCH_BROKEN and
#: TORCH_OLD: `message` is the reason only, since what to do depends on who asks.  DEVICE: the GPU or
#: its driver failed, and the worker ends after saying so.  BUG: `details` holds the traceback.
USER, MEMORY, DISK, DEVICE, BUG = "user", "memory", "disk", "device", "bug"
TORCH_MISSING, TORCH_BROKEN, TORCH_OLD = "torch missing", "torch broken", "torch old"

_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
_DEVICE = ("cuda error", "cudnn", "cublas", "no kernel image", "hip error", "mps backend")


class TorchError(Exception):
    """PyTorch cannot be used.

    Args:
        kind: TORCH_MISSING, TORCH_BROKEN or TORCH_OLD.
        reason: in a few words.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def describe_failure(error: BaseException) -> Dict[str, Any]:
    """An exception as fields of an error message: `kind`, `message`, and more by its kind."""
    if isinstance(error, LVNetError):
        return {"kind": USER, "error": type(error).__name__, "message": _one_line(error)}
    if isinstance(error, TorchError):
        return {"kind": error.kind, "message": _one_line(error)}
    text = str(error).lower()
    if is_out_of_memory(error):
        where = "the GPU has too little free memory" if "cuda" in text else "the computer has too little free memory"
        return {"kind": MEMORY, "message": where, "details": _trace(error)}
    if isinstance(error, OSError) and error.errno in _FULL:
        return {"kind": DISK, "message": "the disk is full", "details": _trace(error)}
    if isinstance(error, RuntimeError) and any(word in text for word in _DEVICE):
        return {"kind": DEVICE, "message": _one_line(error)[:200], "details": _trace(error)}
    return {"kind": BUG, "message": f"{type(error).__name__}: {_one_line(error)[:200]}", "details": _trace(error)}


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))
