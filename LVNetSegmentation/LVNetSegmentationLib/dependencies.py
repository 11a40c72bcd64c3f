"""PyTorch, through the extension of that name and no other way."""

from __future__ import annotations

import importlib
import importlib.util
import re
from typing import Any, Tuple

from lvnet.errors import DependencyError

TORCH_REQUIREMENT = ">=2.1"
_TORCH_FLOOR = (2, 1)
_HOW_TO_REPLACE = "uninstall PyTorch in the module 'PyTorch Utils', restart 3D Slicer and click Apply again"


def torchIsMissing() -> bool:
    """Whether PyTorch is not installed; nothing is imported."""
    return importlib.util.find_spec("torch") is None


def ensureTorch(askConfirmation: bool = True) -> Any:
    """PyTorch, installed by the PyTorch extension if it is missing and the user agrees.

    Args:
        askConfirmation: let the extension ask the user before it downloads.

    Returns:
        The module `torch`.

    Raises:
        DependencyError: the extension or PyTorch is missing, declined, too old, or cannot be loaded.
    """
    if torchIsMissing():
        _install(askConfirmation)
        importlib.invalidate_caches()
    try:
        torch = importlib.import_module("torch")
    except Exception as error:  # a broken installation fails in many ways: OSError, ImportError, RuntimeError
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise DependencyError(f"PyTorch is installed but cannot be loaded ({reason}); {_HOW_TO_REPLACE}") from error
    version = str(torch.__version__)
    if _numbers(version) < _TORCH_FLOOR:
        raise DependencyError(f"PyTorch {version} is too old, {TORCH_REQUIREMENT} is needed; {_HOW_TO_REPLACE}")
    return torch


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
