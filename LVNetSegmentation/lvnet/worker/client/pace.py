"""How long a run took on this computer, so that the next one can be foretold."""

from __future__ import annotations

import contextlib
import json
import statistics
from typing import Dict, List, Optional

from .logs import log_folder

_FILE = "pace.json"
#: Seconds of a run that do not depend on the size of the scan, with a worker that is warm.
_FIXED_SECONDS = 1.0
#: Runs that are remembered for each device: the first of a session is slower, since the network is loaded.
_RUNS = 5


def remember(device: str, litres: float, seconds: float) -> None:
    """Notes how long a run took.

    Args:
        device: as it was chosen.
        litres: the size of the scan; the network's work goes with it, whatever the voxels.
        seconds: from the click to the result.
    """
    paces = _read()
    pace = max(0.0, seconds - _FIXED_SECONDS) / max(litres, 0.1)
    paces[device] = [*paces.get(device, []), pace][-_RUNS:]
    # Where nothing can be written, nothing is foretold.
    with contextlib.suppress(OSError):
        (log_folder() / _FILE).write_text(json.dumps(paces), encoding="utf-8")


def forget() -> None:
    """Forgets all runs: from now on this computer computes another way."""
    with contextlib.suppress(OSError):
        (log_folder() / _FILE).unlink()


def expected(device: str, litres: float) -> Optional[float]:
    """Seconds that a run will take; None as long as there was none with this device on this computer."""
    paces = _read().get(device)
    return seconds_for(statistics.median(paces), litres) if paces else None


def seconds_for(seconds_per_litre: float, litres: float) -> float:
    """Seconds that a run takes at a pace, with a worker that is warm."""
    return _FIXED_SECONDS + seconds_per_litre * litres


def _read() -> Dict[str, List[float]]:
    try:
        found = json.loads((log_folder() / _FILE).read_text(encoding="utf-8"))
        return {device: [float(pace) for pace in paces if 0 <= float(pace) < 1e4] for device, paces in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
