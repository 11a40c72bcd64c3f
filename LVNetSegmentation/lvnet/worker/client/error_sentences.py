"""Turns failures of the worker into one readable sentence that says what to do."""

from __future__ import annotations

import signal

from ... import errors
from ...errors import ComputationError, DeviceError, LVNetError, ResourceError
from ..messages.answers import Exit, Failed, FailureKind
from .torch_errors import broken_torch, hidden_torch, missing_torch, old_torch, torch_is_missing


def error_of(failure: Failed, log_path: str = "") -> LVNetError:
    """The exception for a failure that the worker reports.

    Args:
        failure: the worker's message.
        log_path: the log with the details.
    """
    kind, text = failure.kind, failure.message
    if kind is FailureKind.USER:
        known = getattr(errors, str(failure.error), None)
        return known(text) if isinstance(known, type) and issubclass(known, LVNetError) else LVNetError(text)
    if kind is FailureKind.MEMORY:
        return ResourceError(
            f"{text} for this scan; close other programs"
            + (", or choose the CPU as the device" if "GPU" in text else ", or crop the volume")
        )
    if kind is FailureKind.DISK:
        return ResourceError(f"{text}; free some space, or choose another folder for temporary files")
    if kind is FailureKind.DEVICE:
        return DeviceError(f"the GPU failed ({text}); choose the CPU as the device, or restart the computer")
    if kind is FailureKind.TORCH_MISSING:
        return missing_torch() if torch_is_missing() else hidden_torch()
    if kind is FailureKind.TORCH_BROKEN:
        return broken_torch(text)
    if kind is FailureKind.TORCH_OLD:
        return old_torch(text)
    return ComputationError(f"the computation failed because of a fault in the program ({text}); {_report(log_path)}")


def error_of_exit(exit_: Exit, stage: str, log_path: str = "") -> ComputationError:
    """The exception for a process that ended while it was needed.

    Args:
        exit_: how it ended.
        stage: what it was doing.
        log_path: the log with the details.
    """
    code = exit_.code
    during = f" while {stage}" if stage else ""
    if code in (-int(getattr(signal, "SIGKILL", 9)), 137):
        return ComputationError(
            f"the computing process was ended from outside{during}, most often because the memory ran out; "
            f"close other programs and try again ({_log(log_path)})"
        )
    last = next((line.strip() for line in reversed(exit_.lines) if line.strip() and not line.startswith(" ")), "")
    said = f'; its last output: "{last[:160]}"' if last else ""
    what = "PyTorch cannot be loaded, it" if "loading PyTorch" in stage else "the computing process"
    remedy = (
        "uninstall PyTorch in the module 'PyTorch Utils', restart 3D Slicer and click Apply again"
        if "loading PyTorch" in stage
        else "try again, or choose the CPU as the device"
    )
    return ComputationError(f"{what} crashed{during} ({_code(code)}){said}; {remedy} ({_log(log_path)})")


def _code(code: int) -> str:
    if code < 0:
        try:
            return f"signal {-code}, {signal.Signals(-code).name}"
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}" if code < 0x10000 else f"exit code 0x{code & 0xFFFFFFFF:08X}"


def _log(path: str) -> str:
    return f"log: {path}" if path else "no log could be written"


def _report(path: str) -> str:
    return f"please report it with the log {path}" if path else "please report it"
