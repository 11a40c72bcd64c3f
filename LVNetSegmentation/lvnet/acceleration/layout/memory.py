"""The memory layout of arrays and tensors for the kernels: aligned to cache lines, channels-last."""

from __future__ import annotations

from typing import Tuple

import numpy as np
import torch
from torch import Tensor


def aligned(size: Tuple[int, ...]) -> np.ndarray:
    """An uninitialised float32 array aligned to a cache line: vectors that straddle two lines take twice as long."""
    count = int(np.prod(size))
    memory = np.empty(count + 16, np.float32)
    first = (-memory.ctypes.data // 4) % 16
    return memory[first : first + count].reshape(size)


def laid_out(values: np.ndarray) -> np.ndarray:
    """A float32 copy in :func:`aligned` memory."""
    out = aligned(values.shape)
    out[...] = values
    return out


def in_order(x: Tensor) -> Tensor:
    """A (D, H, W, C) tensor in the kernels' layout: contiguous channels, a constant stride between voxels.

    Returns:
        The tensor itself if it has this layout, else a copy.
    """
    _, height, width, channels = x.shape
    planes, rows, voxels, step = x.stride()
    regular = step == 1 and voxels >= channels and rows == width * voxels and planes == height * rows
    return x if regular else x.clone(memory_format=torch.contiguous_format)


def voxel_bytes(x: Tensor) -> int:
    """Bytes between neighbouring voxels of a tensor that is :func:`in_order`."""
    return 4 * x.stride(2)
