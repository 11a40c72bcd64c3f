"""Fast paths, all optional: where a package is absent the plain path gives the same results.

Set the environment variable ``LVNET_ACCELERATION=off`` before the start to use the plain path
everywhere.
"""

from __future__ import annotations

import importlib.util
import os
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

SWITCH = "LVNET_ACCELERATION"


@lru_cache(maxsize=1)
def numba_available() -> bool:
    """Whether the Numba kernels may be used: installed, and not switched off."""
    return os.environ.get(SWITCH, "").lower() != "off" and importlib.util.find_spec("numba") is not None


def depthwise_conv3d(x: Tensor, weight: Tensor) -> Tensor:
    """Depth-wise 3D convolution, stride 1, size kept, zero padding.

    Takes the Numba kernels where their fast backward pass pays: training in float32 on a CPU with
    a 5x5x5 kernel and a multiple of 16 channels.  Everywhere else this is PyTorch's own convolution.

    Args:
        x: (N, C, D, H, W).
        weight: (C, 1, k, k, k), k odd.

    Returns:
        (N, C, D, H, W).
    """
    if (
        torch.is_grad_enabled()
        and weight.requires_grad
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and weight.shape[-3:] == (5, 5, 5)
        and weight.shape[0] % 16 == 0
        and numba_available()
    ):
        from .depthwise_cpu import DepthwiseConv3dFunction

        return DepthwiseConv3dFunction.apply(x, weight)
    return F.conv3d(x, weight, padding=weight.shape[-1] // 2, groups=weight.shape[0])
