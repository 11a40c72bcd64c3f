"""How an IRB block is divided on this processor: measured once per computer, and kept beside the compiled kernels.

Results do not depend on it: every voxel is computed by the same operations in the same order.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Callable, NamedTuple, Optional

from ..keeping import cache_folder, keep_choice, read_choice
from ..kernels.processor import target
from ..layout.workspace import KEPT_BYTES


class Tiling(NamedTuple):
    """What suits a processor's caches.

    Attributes:
        columns: of a tile.
        kept_bytes: of the transformed rows that a thread keeps; they should stay in its L2 cache.
    """

    columns: int
    kept_bytes: int


#: Measures a choice.
SecondsOf = Callable[[Tiling], float]
#: The first is used where nothing is measured; the others suit smaller and larger caches.
CHOICES = (
    Tiling(32, KEPT_BYTES),
    Tiling(32, KEPT_BYTES // 2),
    Tiling(16, KEPT_BYTES // 2),
    Tiling(32, 2 * KEPT_BYTES),
)
#: Another choice must take less than this fraction of the first one's time: smaller differences are noise.
_MARGIN = 0.93
_FORMAT = 1
_MOST_BYTES = 1 << 12


@lru_cache(maxsize=2)
def tiling(lanes: int, measurement: Callable[[int], SecondsOf]) -> Tiling:
    """The choice for kernels of one register width.

    Args:
        lanes: float32 per vector register.
        measurement: maps `lanes` to a function that measures a choice; called if none is kept.
    """
    path = _path(lanes)
    if path is None:
        return CHOICES[0]
    kept = _read(path)
    if kept is not None:
        return CHOICES[kept]
    found = fastest(measurement(lanes))
    keep_choice(path, {"choice": found, **CHOICES[found]._asdict()})
    return CHOICES[found]


def fastest(seconds_of: SecondsOf, rounds: int = 3) -> int:
    """Index of the fastest of :data:`CHOICES`; each is measured `rounds` times, in turns, and its best time counts."""
    best = [min(times) for times in zip(*([seconds_of(choice) for choice in CHOICES] for _ in range(rounds)))]
    index = best.index(min(best))
    return index if best[index] < _MARGIN * best[0] else 0


def _path(lanes: int) -> Optional[Path]:
    folder = cache_folder()
    if folder is None:
        return None
    identity = json.dumps([_FORMAT, lanes, target(), CHOICES]).encode()
    return folder / f"tiling-{hashlib.sha256(identity).hexdigest()[:24]}.json"


def _read(path: Path) -> Optional[int]:
    """The index in a file; None for one that is missing or damaged."""
    kept = read_choice(path, _MOST_BYTES)
    index = kept.get("choice") if isinstance(kept, dict) else None
    return index if type(index) is int and 0 <= index < len(CHOICES) else None
