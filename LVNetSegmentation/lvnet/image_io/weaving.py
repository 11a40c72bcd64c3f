"""Whether the slices of a volume take turns: two passes woven into one, which no header told."""

from __future__ import annotations

from collections import deque
from typing import Deque, List

import numpy as np

# Slices that are this many apart are compared with those that are fewer apart.
_PERIODS = (2, 3, 4)
# Slices of one pass are the less alike the farther apart they are: in real scans the nearer ones differ by 0.58 to
# 0.84 of what those two apart do, and in no place by more than 1.1 times (22 CTs); with noise alone it is 1.  So many
# places in a row must say otherwise, by such a ratio; a single damaged slice is one place.
_EVIDENCE = ((5, 1.12), (3, 1.5))
_LEAST_HU = 1.0
# Pixels of a slice that are looked at.
_SAMPLE = 4096


class Weaving:
    """Looks at slices as they are read, one after the other."""

    def __init__(self) -> None:
        self._last: Deque[np.ndarray] = deque(maxlen=max(_PERIODS))
        self._differences: List[List[float]] = [[] for _ in range(max(_PERIODS) + 1)]

    def look(self, values: np.ndarray) -> None:
        """Takes in the next (y, x) slice."""
        stride = max(1, int(np.ceil((values.size / _SAMPLE) ** 0.5)))
        sample = np.clip(values[::stride, ::stride], -1024, 3071).astype(np.float32)
        for back, other in enumerate(reversed(self._last), 1):
            self._differences[back].append(float(np.abs(sample - other).mean()))
        self._last.append(sample)

    @property
    def period(self) -> int:
        """How many passes take turns; 0 where slices are most like their neighbours, as they should be."""
        for period in _PERIODS:
            far = np.array(self._differences[period])
            # Differences that end at one slice, to the slices less than a period before it.
            near = [np.array(self._differences[back][-len(far) :]) for back in range(1, period)]
            for places, ratio in _EVIDENCE:
                if len(far) >= places:
                    nearest = np.min(near, axis=0)
                    says = (nearest > ratio * far) & (nearest > far + _LEAST_HU)
                    if np.convolve(says, np.ones(places), "valid").max() >= places:
                        return period
        return 0
