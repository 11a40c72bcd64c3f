"""What the worker reports, as one readable sentence with what to do."""

from __future__ import annotations

import signal
from typing import Any, Mapping

import lvnet.errors
from lvnet.errors import ComputationError, DependencyError, DeviceError, LVNetError, ResourceError
from lvnet.worker import failures

from .dependencies import brokenTorch, hiddenTorch, missingTorch, oldTorch, torchIsMissing


def errorOf(message: Mapping[str, Any], logPath: str = "") -> LVNetError:
    """The error of an "error" message."""
    kind, text = message.get("kind"), str(message.get("message", ""))
    if kind == failures.USER:
        known = getattr(lvnet.errors, str(message.get("error")), None)
        if isinstance(known, type) and issubclass(known, LVNetError):
            return known(text)
        return LVNetError(text)
    if kind == failures.MEMORY:
        return ResourceError(
            f"{text} for this scan; close other programs"
            + (", or choose the CPU as the device" if "GPU" in text else ", or crop the volume")
        )
    if kind == failures.DISK:
        return ResourceError(f"{text}; free some space, or choose another folder for temporary files")
    if kind == failures.DEVICE:
        return DeviceError(f"the GPU failed ({text}); choose the CPU as the device, or restart the computer")
    torch = {
        failures.TORCH_MISSING: lambda: missingTorch() if torchIsMissing() else hiddenTorch(),
        failures.TORCH_BROKEN: lambda: brokenTorch(text),
        failures.TORCH_OLD: lambda: oldTorch(text),
    }.get(str(kind))
    if torch is not None:
        error = torch()
        assert isinstance(error, DependencyError)
        return error
    return ComputationError(f"the computation failed by a fault of the program ({text}); {_report(logPath)}")


def errorOfExit(code: int, lines: list, stage: str, logPath: str = "") -> ComputationError:
    """The error of a process that ended while it was needed.

    Args:
        code: its exit code; negative is the number of the signal that ended it.
        lines: the last that it wrote to stderr.
        stage: what it was doing.
        logPath: where the rest can be read.
    """
    during = f" while {stage}" if stage else ""
    if code in (-int(getattr(signal, "SIGKILL", 9)), 137):
        return ComputationError(
            f"the process that computes was ended from outside{during}, most often because the memory ran out; "
            f"close other programs and try again ({_log(logPath)})"
        )
    last = next((line.strip() for line in reversed(lines) if line.strip() and not line.startswith(" ")), "")
    said = f'; it said last: "{last[:160]}"' if last else ""
    what = "PyTorch cannot be loaded, it" if "loading PyTorch" in stage else "the process that computes"
    remedy = (
        "uninstall PyTorch in the module 'PyTorch Utils', restart 3D Slicer and click Apply again"
        if "loading PyTorch" in stage
        else "try again, or choose the CPU as the device"
    )
    return ComputationError(f"{what} crashed{during} ({_code(code)}){said}; {remedy} ({_log(logPath)})")


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
