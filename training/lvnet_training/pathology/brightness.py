"""Changing the organ's HU relative to its surroundings: steatosis, iron, arterial and late phases."""

from __future__ import annotations

from typing import Tuple

import numpy as np
from scipy import ndimage

from .anatomy import Anatomy

#: Range of HU for the organ's median.
_PLAUSIBLE = (-10.0, 190.0)


def shift_brightness(rng: np.random.Generator, anatomy: Anatomy, offset: Tuple[float, float] = (-60.0, 90.0)) -> bool:
    """Shifts the HU within the organ, with a border as soft as the scan's, and scales the contrast to its vessels.

    Args:
        offset: smallest and largest offset in HU.

    Returns:
        Whether there is an organ.
    """
    if not anatomy.has_organ:
        return False
    inside = anatomy.hu[anatomy.organ > 0.5]
    middle = float(np.median(inside))
    # The resulting HU must be plausible, not just the offset.
    target = float(np.clip(middle + rng.uniform(*offset), *_PLAUSIBLE))
    # Below 1 vessels fade (as in a fatty liver), above 1 they stand out.
    contrast = rng.uniform(0.3, 1.5)
    blur = [0.8 / s for s in anatomy.spacing]
    share = ndimage.gaussian_filter(anatomy.organ, blur)
    limited = np.clip(anatomy.hu - middle, -100.0, 100.0)
    changed = anatomy.hu + (contrast - 1.0) * limited + (target - middle)
    anatomy.paint(share.astype(np.float32), changed.astype(np.float32))
    return True
