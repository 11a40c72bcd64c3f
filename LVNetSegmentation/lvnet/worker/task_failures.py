"""Turns the error of a task into a message that the requesting program can act on."""

from __future__ import annotations

import errno
import traceback

from ..errors import LVNetError, is_out_of_memory
from .messages.answers import Failed, FailureKind, RequestId

_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
_DEVICE = ("cuda error", "cudnn", "cublas", "no kernel image", "hip error", "mps backend")


class TorchError(Exception):
    """PyTorch cannot be used.

    Args:
        kind: TORCH_MISSING, TORCH_BROKEN or TORCH_OLD.
        reason: in a few words.
    """

    def __init__(self, kind: FailureKind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def failed(number: RequestId, error: BaseException) -> Failed:
    """The answer to a request that ended with an exception.

    Args:
        number: the identifier of the request.
        error: the exception.
    """
    if isinstance(error, LVNetError):
        return Failed(number, FailureKind.USER, _one_line(error), error=type(error).__name__)
    if isinstance(error, TorchError):
        return Failed(number, error.kind, _one_line(error))
    text = str(error).lower()
    if is_out_of_memory(error):
        kind = FailureKind.MEMORY
        message = "the GPU has too little free memory" if "cuda" in text else "the computer has too little free memory"
    elif isinstance(error, OSError) and error.errno in _FULL:
        kind, message = FailureKind.DISK, "the disk is full"
    elif isinstance(error, RuntimeError) and any(word in text for word in _DEVICE):
        kind, message = FailureKind.DEVICE, _one_line(error)[:200]
    else:
        kind, message = FailureKind.BUG, f"{type(error).__name__}: {_one_line(error)[:200]}"
    return Failed(number, kind, message, details=_trace(error))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))
