"""The cache folder for what is compiled or chosen once per computer instead of at every start."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Optional

#: Environment variable: a folder for the files, or `off` to cache nothing.
SETTING = "LVNET_KERNEL_CACHE"


def cache_folder() -> Optional[Path]:
    """The folder of the cache; None if nothing is cached."""
    given = os.environ.get(SETTING)
    if given:
        return None if given == "off" else Path(given)
    try:
        home = Path.home()
    except RuntimeError:  # a user without a home directory
        return None
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "lvnet" / "kernels"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "lvnet" / "kernels"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "lvnet" / "kernels"
