"""The Python and the temporary folder for the worker: Slicer's own inside Slicer, else the usual ones."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from typing import Optional

from lvnet.errors import ComputationError
from lvnet.worker.client.process import this_python
from lvnet.worker.client.service import Service


def makeService() -> Service:
    """A service whose worker uses this Python and this folder."""
    return Service(python=interpreter, folder=temporaryFolder)


def _application() -> Optional[object]:
    """Slicer's application object, or None outside Slicer."""
    return getattr(sys.modules.get("slicer"), "app", None)


def interpreter() -> str:
    """PythonSlicer inside Slicer, else the running Python.

    Raises:
        ComputationError: there is no PythonSlicer.
    """
    application = _application()
    if application is None:
        return this_python()
    # Slicer adds the folder of PythonSlicer to its PATH.
    found = shutil.which("PythonSlicer")
    home = str(getattr(application, "slicerHome", "") or "")
    if found is None and home:
        found = shutil.which(os.path.join(home, "bin", "PythonSlicer"))
    if found is None:
        raise ComputationError("PythonSlicer was not found in the folder of 3D Slicer; install 3D Slicer again")
    return found


def temporaryFolder() -> str:
    """The temporary folder of Slicer's settings, or the system's."""
    folder = str(getattr(_application(), "temporaryPath", "") or "")
    return folder if os.path.isdir(folder) else tempfile.gettempdir()
