"""Which Python runs the worker, and where temporary files go."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from typing import Any, Optional

from lvnet.errors import ComputationError


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
        if not sys.executable:
            raise ComputationError("no Python was found to compute with; start Python by its full path")
        return sys.executable
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
