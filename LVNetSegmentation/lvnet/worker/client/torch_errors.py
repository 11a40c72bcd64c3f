"""Checks for PyTorch, and the errors if it cannot be used."""

from __future__ import annotations

import importlib.util
import os

from ...errors import DependencyError

TORCH_REQUIREMENT = ">=2.1"
_HOW_TO_REPLACE = "uninstall PyTorch in the module 'PyTorch Utils', restart 3D Slicer and click Apply again"


def torch_is_missing() -> bool:
    """Whether PyTorch is not installed, without importing it."""
    return importlib.util.find_spec("torch") is None


def missing_torch() -> DependencyError:
    """The error if PyTorch is not installed."""
    return DependencyError(
        "PyTorch is not installed; click Apply to install it with the extension 'PyTorch', or outside 3D Slicer"
        " install the package torch"
    )


def hidden_torch() -> DependencyError:
    """The error if this Python finds PyTorch but the computing process does not."""
    found = importlib.util.find_spec("torch")
    place = "" if found is None or not found.origin else f" (in {os.path.dirname(os.path.dirname(found.origin))})"
    return DependencyError(
        f"3D Slicer finds PyTorch{place} but PythonSlicer does not, so it was not installed by the extension"
        " 'PyTorch'; install it in the module 'PyTorch Utils' and restart 3D Slicer"
    )


def broken_torch(reason: str) -> DependencyError:
    """The error if PyTorch is installed but cannot be loaded."""
    return DependencyError(f"PyTorch is installed but cannot be loaded ({reason}); {_HOW_TO_REPLACE}")


def old_torch(version: str) -> DependencyError:
    """The error if PyTorch is older than the network requires."""
    return DependencyError(f"PyTorch {version} is too old, {TORCH_REQUIREMENT} is needed; {_HOW_TO_REPLACE}")
