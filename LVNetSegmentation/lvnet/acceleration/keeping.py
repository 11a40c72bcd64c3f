"""The cache folder for what is compiled or chosen once per computer instead of at every start."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional

from ..files import write_whole

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


def read_choice(path: Path, most_bytes: int) -> Any:
    """The JSON value in a file; None if it is missing, damaged, or larger than `most_bytes`."""
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.stat().st_size <= most_bytes else None
    except (OSError, ValueError, RecursionError):
        return None


def keep_choice(path: Path, value: Any) -> None:
    """Writes a JSON value for the next start; where that is impossible, it is chosen again then."""
    with suppress(OSError):
        os.makedirs(path.parent, mode=0o700, exist_ok=True)
        write_whole(path, json.dumps(value, indent=1).encode())
