"""Installation of Numba, which compiles the kernels for a CPU, into Slicer; only on request.

Like PyTorch, it is never imported into Slicer itself, only by the worker process.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import subprocess
import sys
from typing import List

from lvnet.errors import DependencyError

#: The oldest version with which the kernels were run; pip takes the newest that fits Slicer's Python and NumPy.
REQUIREMENT = "numba>=0.60"
#: Megabytes of the wheels of Numba and llvmlite, which brings LLVM; see docs/slicer.md.
_MEGABYTES = {"linux": (48, 64), "win32": (31, 45), "darwin": (34, 46)}


def numbaIsMissing() -> bool:
    """Whether Numba is not installed; nothing is imported."""
    return importlib.util.find_spec("numba") is None


def downloadSize() -> int:
    """Megabytes that the installation downloads, about."""
    old, new = _MEGABYTES.get(sys.platform, _MEGABYTES["linux"])
    return old if sys.version_info < (3, 10) else new


def numbaVersion() -> str:
    """The version of the installed Numba; empty where there is none."""
    return _version("numba")


def installNumba() -> None:
    """Installs Numba with Slicer's own pip, without a further question; blocks until it is done.

    NumPy is not changed, and nothing is built from source: if no version fits, nothing is installed.

    Raises:
        DependencyError: it cannot be installed; one line says why.
    """
    if not numbaIsMissing():
        return
    try:
        import slicer

        # A list: the only form of arguments that every supported Slicer takes and passes on unchanged.
        slicer.util.pip_install(_arguments())
    except Exception as error:  # pip, the network, a full disk: any of them becomes one message
        if isinstance(error, subprocess.CalledProcessError):  # its text is the whole command
            reason = f"pip ended with code {error.returncode}"
        else:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise DependencyError(
            f"Numba could not be installed ({reason}); everything works as before, and the Python console of"
            " 3D Slicer shows what pip said"
        ) from error
    importlib.invalidate_caches()
    if numbaIsMissing():
        raise DependencyError("Numba was installed but is not found; restart 3D Slicer")


def _arguments() -> List[str]:
    """Arguments for pip: Numba, and the installed version of NumPy, so that pip does not replace it."""
    version = _version("numpy")
    if not version:
        raise DependencyError("the version of NumPy is not known")
    return ["--only-binary=:all:", REQUIREMENT, f"numpy=={version}"]


def _version(package: str) -> str:
    try:
        return str(importlib.metadata.version(package) or "")
    except importlib.metadata.PackageNotFoundError:
        return ""
