"""Remembers how long runs took on this computer, to estimate the time of the next one."""

from __future__ import annotations

import contextlib
import json
import statistics
from typing import Dict, List, Optional

from .logs import log_folder

_FILE = "pace.json"
#: Seconds of a run that do not depend on the size of the scan, if the worker is already running.
_FIXED_SECONDS = 1.0
#: Runs remembered per device: several, since the first of a session is slower while the network is loaded.
_RUNS = 5


def remember(device: str, litres: float, seconds: float) -> None:
    """Records how long a run took.

    Args:
        device: as chosen by the user.
        litres: the volume of the scan, to which the computing time is proportional, whatever the voxel size.
        seconds: from the click to the result.
    """
    paces = _read()
    pace = max(0.0, seconds - _FIXED_SECONDS) / max(litres, 0.1)
    paces[device] = [*paces.get(device, []), pace][-_RUNS:]
    # If the file cannot be written, there is no estimate.
    with contextlib.suppress(OSError):
        (log_folder() / _FILE).write_text(json.dumps(paces), encoding="utf-8")


def forget() -> None:
    """Forgets all runs: from now on this computer computes another way."""
    with contextlib.suppress(OSError):
        (log_folder() / _FILE).unlink()


def expected(device: str, litres: float) -> Optional[float]:
    """Estimated seconds of a run; None if there was no run yet with this device on this computer."""
    paces = _read().get(device)
    return seconds_for(statistics.median(paces), litres) if paces else None


def seconds_for(seconds_per_litre: float, litres: float) -> float:
    """Seconds of a run at a given speed, if the worker is already running."""
    return _FIXED_SECONDS + seconds_per_litre * litres


def _read() -> Dict[str, List[float]]:
    try:
        found = json.loads((log_folder() / _FILE).read_text(encoding="utf-8"))
        return {device: [float(pace) for pace in paces if 0 <= float(pace) < 1e4] for device, paces in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
