"""The folder of what is compiled or chosen once a computer and not once a start."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Optional

#: A folder for the files, or `off` to keep none.
SETTING = "LVNET_KERNEL_CACHE"


def cache_folder() -> Optional[Path]:
    """Where compiled kernels are kept; None where they are not."""
    given = os.environ.get(SETTING)
    if given:
        return None if given == "off" else Path(given)
    try:
        home = Path.home()
    except RuntimeError:  # a user without a home
        return None
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "lvnet" / "kernels"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "lvnet" / "kernels"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "lvnet" / "kernels"
