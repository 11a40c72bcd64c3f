"""PyTorch, through the extension of that name and no other way.

PyTorch is not imported into Slicer: the worker process does that, so that a broken one harms
nothing and can be replaced without a restart.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import re
from typing import Tuple

from lvnet.errors import DependencyError
from lvnet.worker.client.torch_errors import TORCH_REQUIREMENT, old_torch, torch_is_missing

_TORCH_FLOOR = (2, 1)


def ensureTorch(askConfirmation: bool = True) -> None:
    """Has PyTorch installed by the PyTorch extension if it is missing and the user agrees.

    Whether it also works is for the worker to find out.

    Args:
        askConfirmation: let the extension ask the user before it downloads.

    Raises:
        DependencyError: the extension or PyTorch is missing, declined, or too old.
    """
    if torch_is_missing():
        _install(askConfirmation)
        importlib.invalidate_caches()
        if torch_is_missing():
            raise DependencyError("PyTorch was installed but is not found; restart 3D Slicer and click Apply again")
    version = _installedVersion()
    if version and _numbers(version) < _TORCH_FLOOR:
        raise old_torch(version)


def _installedVersion() -> str:
    try:
        return str(importlib.metadata.version("torch") or "")
    except importlib.metadata.PackageNotFoundError:
        return ""


def _install(askConfirmation: bool) -> None:
    try:
        PyTorchUtils = importlib.import_module("PyTorchUtils")
    except ImportError as error:
        raise DependencyError(
            "the extension 'PyTorch' is missing; install it in the Extensions Manager and restart 3D Slicer"
        ) from error
    try:
        torch = PyTorchUtils.PyTorchUtilsLogic().installTorch(
            askConfirmation=askConfirmation, torchVersionRequirement=TORCH_REQUIREMENT
        )
    except Exception as error:  # pip, the network, a full disk: whatever it was, the user hears it once
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise DependencyError(
            f"PyTorch could not be installed ({reason}); check the network, then click Apply again"
        ) from error
    if torch is None:
        raise DependencyError("PyTorch was not installed; click Apply again to install it")


def _numbers(version: str) -> Tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
