"""Estimates how long a scan will take on this computer, from the time of one slab, before the first scan."""

from __future__ import annotations

import time
from typing import Optional

import numpy as np

from .inference import Model
from .memory import Computing, readable_memory_errors
from .pipeline.options import SegmentOptions, check_setting
from .progress import CancelCheck, never_cancelled, raise_if_cancelled

#: Extent in mm of the test slab along y and x: about that of a body.
_PLANE_MM = (320.0, 400.0)
#: Seconds per litre of everything else, such as resampling and checks (0.005 to 0.011 on three real scans).
_BESIDES = 0.01


def seconds_per_litre(
    model: Model, overlap: float = SegmentOptions.overlap, cancelled: CancelCheck = never_cancelled
) -> Optional[float]:
    """Estimates the seconds per litre of scan from the time of one slab.

    Args:
        model: the network, on its device.
        overlap: of neighbouring slabs, 0 to 0.9.
        cancelled: called between the slabs.

    Returns:
        Seconds; None for a recipe without a fixed voxel size, whose time is not proportional to the volume.

    Raises:
        ConfigurationError: the overlap is not between 0 and 0.9.
        DeviceError, ResourceError: there is too little memory.
        Cancelled: `cancelled` returned True.
    """
    import torch

    check_setting("overlap", overlap)
    settings, divisor = model.recipe.preprocessing, model.recipe.architecture.divisor
    if settings.slice_spacing is None or settings.in_plane_spacing is None:
        return None
    plane = [
        max(1, round(length / spacing / divisor)) * divisor
        for length, spacing in zip(_PLANE_MM, settings.in_plane_spacing)
    ]
    slab = np.zeros((settings.slab_depth, *plane), np.float32)
    litres = slab.size * settings.slice_spacing * float(np.prod(settings.in_plane_spacing)) / 1e6
    with readable_memory_errors(), torch.inference_mode():
        compute = Computing(model)
        compute(slab)  # warm-up: the first slab allocates memory and may compile kernels
        raise_if_cancelled(cancelled)
        began = time.perf_counter()
        compute(slab)
        seconds = time.perf_counter() - began
    return seconds / litres / (1 - overlap) + _BESIDES
