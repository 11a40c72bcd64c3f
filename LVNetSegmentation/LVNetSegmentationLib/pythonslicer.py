"""Which Python runs the worker, and where temporary files go: within Slicer as it wants it, else as usual."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from typing import Any, Optional

from lvnet.errors import ComputationError
from lvnet.worker.client.process import this_python
from lvnet.worker.client.service import Service


def makeService() -> Service:
    """A service whose worker runs and writes where Slicer wants it to."""
    return Service(python=interpreter, folder=temporaryFolder)


def _application() -> Optional[Any]:
    """Slicer's application object, or None outside Slicer."""
    return getattr(sys.modules.get("slicer"), "app", None)


def interpreter() -> str:
    """PythonSlicer within Slicer, the Python that runs this elsewhere.

    Raises:
        ComputationError: there is none.
    """
    application = _application()
    if application is None:
        return this_python()
    # Slicer puts the folder that holds it on its own PATH.
    found = shutil.which("PythonSlicer")
    home = str(getattr(application, "slicerHome", "") or "")
    if found is None and home:
        found = shutil.which(os.path.join(home, "bin", "PythonSlicer"))
    if found is None:
        raise ComputationError("PythonSlicer was not found beside 3D Slicer; install 3D Slicer again")
    return found


def temporaryFolder() -> str:
    """Slicer's own folder for temporary files, which its settings name, or the system's."""
    folder = str(getattr(_application(), "temporaryPath", "") or "")
    return folder if os.path.isdir(folder) else tempfile.gettempdir()
