"""Detecting interleaved passes from the voxels: slices of a volume that alternate between different images."""

from __future__ import annotations

from collections import deque
from typing import Deque, List

import numpy as np

# Periods that are tested: slices this many apart are compared with closer ones.
_PERIODS = (2, 3, 4)
# In a single pass, similarity decreases with distance: in real scans, neighbours differ by 0.58 to 0.84 of the
# difference of slices two apart, and nowhere by more than 1.1 times that (22 CTs); with noise alone the ratio is 1.
# Interleaving is reported if this many consecutive slices exceed this ratio; a single damaged slice does not suffice.
_EVIDENCE = ((5, 1.12), (3, 1.5))
_LEAST_HU = 1.0
# Number of pixels per slice that are compared.
_SAMPLE = 4096


class Weaving:
    """Compares slices as they are read, one after the other."""

    def __init__(self) -> None:
        self._last: Deque[np.ndarray] = deque(maxlen=max(_PERIODS))
        self._differences: List[List[float]] = [[] for _ in range(max(_PERIODS) + 1)]

    def look(self, values: np.ndarray) -> None:
        """Adds the next (y, x) slice."""
        stride = max(1, int(np.ceil((values.size / _SAMPLE) ** 0.5)))
        sample = np.clip(values[::stride, ::stride], -1024, 3071).astype(np.float32)
        for back, other in enumerate(reversed(self._last), 1):
            self._differences[back].append(float(np.abs(sample - other).mean()))
        self._last.append(sample)

    @property
    def period(self) -> int:
        """The number of interleaved passes; 0 if slices are most similar to their neighbours, as they should be."""
        for period in _PERIODS:
            far = np.array(self._differences[period])
            # Differences of a slice to the slices less than a period before it.
            near = [np.array(self._differences[back][-len(far) :]) for back in range(1, period)]
            for places, ratio in _EVIDENCE:
                if len(far) >= places:
                    nearest = np.min(near, axis=0)
                    says = (nearest > ratio * far) & (nearest > far + _LEAST_HU)
                    if np.convolve(says, np.ones(places), "valid").max() >= places:
                        return period
        return 0
