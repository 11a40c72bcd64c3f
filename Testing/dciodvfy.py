"""Runs dciodvfy, the validator of Debian's dicom3tools, where it is installed (`apt-get install dicom3tools`)."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any, List

TOOL = shutil.which("dciodvfy")
MISSING = "dciodvfy is not installed (Debian: apt-get install dicom3tools), so no DICOM object is validated"


def errors_of(path) -> List[str]:
    """The errors that dciodvfy reports for a DICOM file; empty if it is not installed, which another test reports."""
    if TOOL is None:
        return []
    run = subprocess.run([TOOL, str(path)], capture_output=True, text=True, errors="replace", timeout=60, check=False)
    return [line for line in (run.stdout + run.stderr).splitlines() if line.startswith("Error")]


def validate_what_is_saved(monkeypatch: Any) -> None:
    """Makes a test fail for every invalid DICOM SEG or SR that the product writes during it."""
    from lvnet.image_io import dicom_objects, dicom_seg, dicom_sr

    def save_and_validate(data: Any, path: Any) -> None:
        dicom_objects.save_object(data, path)
        found = errors_of(path)
        assert not found, "\n".join(found)

    for module in (dicom_seg, dicom_sr):
        monkeypatch.setattr(module, "save_object", save_and_validate)
