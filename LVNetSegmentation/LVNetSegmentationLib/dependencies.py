"""PyTorch, through the extension of that name and no other way.

PyTorch is not imported into Slicer: the worker process does that, so that a broken one harms
nothing and can be replaced without a restart.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import re
from typing import Tuple

from lvnet.errors import DependencyError

TORCH_REQUIREMENT = ">=2.1"
_TORCH_FLOOR = (2, 1)
_HOW_TO_REPLACE = "uninstall PyTorch in the module 'PyTorch Utils', restart 3D Slicer and click Apply again"


def torchIsMissing() -> bool:
    """Whether PyTorch is not installed; nothing is imported."""
    return importlib.util.find_spec("torch") is None


def ensureTorch(askConfirmation: bool = True) -> None:
    """Has PyTorch installed by the PyTorch extension if it is missing and the user agrees.

    Whether it also works is for the worker to find out.

    Args:
        askConfirmation: let the extension ask the user before it downloads.

    Raises:
        DependencyError: the extension or PyTorch is missing, declined, or too old.
    """
    if torchIsMissing():
        _install(askConfirmation)
        importlib.invalidate_caches()
        if torchIsMissing():
            raise DependencyError("PyTorch was installed but is not found; restart 3D Slicer and click Apply again")
    version = _installedVersion()
    if version and _numbers(version) < _TORCH_FLOOR:
        raise oldTorch(version)


def missingTorch() -> DependencyError:
    """The error where there is no PyTorch."""
    return DependencyError(
        "PyTorch is not installed; click Apply to install it with the extension 'PyTorch', or outside 3D Slicer"
        " install the package torch"
    )


def hiddenTorch() -> DependencyError:
    """The error where PyTorch is found by this Python and not by the process that computes."""
    found = importlib.util.find_spec("torch")
    place = "" if found is None or not found.origin else f" (in {os.path.dirname(os.path.dirname(found.origin))})"
    return DependencyError(
        f"3D Slicer finds PyTorch{place} but PythonSlicer does not, so it was not installed by the extension"
        " 'PyTorch'; install it in the module 'PyTorch Utils' and restart 3D Slicer"
    )


def brokenTorch(reason: str) -> DependencyError:
    """The error where PyTorch is there and cannot be loaded."""
    return DependencyError(f"PyTorch is installed but cannot be loaded ({reason}); {_HOW_TO_REPLACE}")


def oldTorch(version: str) -> DependencyError:
    """The error where PyTorch is older than what the network needs."""
    return DependencyError(f"PyTorch {version} is too old, {TORCH_REQUIREMENT} is needed; {_HOW_TO_REPLACE}")


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
