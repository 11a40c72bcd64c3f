"""How arrays and tensors lie in memory for the kernels: on cache lines, channels-last."""

from __future__ import annotations

from typing import Tuple

import numpy as np
import torch
from torch import Tensor


def aligned(size: Tuple[int, ...]) -> np.ndarray:
    """Empty float32 whose first number begins a cache line: vectors that straddle two cost double."""
    count = int(np.prod(size))
    memory = np.empty(count + 16, np.float32)
    first = (-memory.ctypes.data // 4) % 16
    return memory[first : first + count].reshape(size)


def laid_out(values: np.ndarray) -> np.ndarray:
    """A copy in float32, see :func:`aligned`."""
    out = aligned(values.shape)
    out[...] = values
    return out


def in_order(x: Tensor) -> Tensor:
    """A (D, H, W, C) tensor as the kernels take it: channels are neighbours, voxels follow at one distance.

    Returns:
        The tensor itself where it is so already, else a copy.
    """
    _, height, width, channels = x.shape
    planes, rows, voxels, step = x.stride()
    regular = step == 1 and voxels >= channels and rows == width * voxels and planes == height * rows
    return x if regular else x.clone(memory_format=torch.contiguous_format)


def voxel_bytes(x: Tensor) -> int:
    """Bytes from voxel to voxel of a tensor that is :func:`in_order`."""
    return 4 * x.stride(2)
