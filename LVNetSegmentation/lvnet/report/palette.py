"""Colours of the report: one meaning each, distinguishable for colour-blind readers and in greyscale print."""

from __future__ import annotations

import numpy as np

#: Outlines on a scan.
REFERENCE, PREDICTION = "#35c9ff", "#ff9a2e"
#: Areas on white: in the reference only (missed), in the prediction only (too much), in both.
MISSED, EXTRA, COMMON = "#1273c4", "#d9640a", "#d5dae1"
#: Two methods side by side.
METHODS = ("#d9640a", "#5b4a9c")
INK, FAINT, GRID = "#1c2530", "#5d6875", "#dfe4ea"

_BLUE_TO_ORANGE = ((8, 64, 129), (40, 130, 200), (150, 196, 228), (238, 238, 236), (250, 190, 120), (226, 112, 20),
                   (140, 55, 4))  # fmt: skip


def rgb(colour: str) -> np.ndarray:
    """(3,) uint8 of a colour such as `#d9640a`."""
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], np.uint8)


def diverging(values: np.ndarray) -> np.ndarray:
    """(..., 3) float from 0 to 255: blue at -1, light grey at 0, orange at 1; values beyond are clipped."""
    places = np.linspace(-1.0, 1.0, len(_BLUE_TO_ORANGE))
    return np.stack([np.interp(values, places, channel) for channel in np.transpose(_BLUE_TO_ORANGE)], axis=-1)
