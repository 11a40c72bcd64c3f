"""Fast paths, all optional: where a package is absent the plain path gives the same results.

Set the environment variable ``LVNET_ACCELERATION=off`` before the start to use the plain path
everywhere.
"""

from __future__ import annotations

import importlib.util
import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Callable, Optional, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .switch import SWITCH, switched_off

if TYPE_CHECKING:
    from ..network import LVNet
    from .folding import FoldedNetwork

__all__ = ["SWITCH", "depthwise_conv3d", "fast_network", "numba_available", "switched_off"]

#: Logits of a fast path may differ by this much from those of the plain one, on the slab it is tried on.
_TOLERANCE = 1e-3


@lru_cache(maxsize=1)
def numba_available() -> bool:
    """Whether the Numba kernels may be used: installed, and not switched off."""
    return not switched_off() and importlib.util.find_spec("numba") is not None


def depthwise_conv3d(x: Tensor, weight: Tensor) -> Tensor:
    """Depth-wise 3D convolution, stride 1, size kept, zero padding.

    Takes the Numba kernels where their fast backward pass pays: training in float32 on a CPU with
    a 5x5x5 kernel and a multiple of 16 channels; and Triton's kernels on a GPU where they work
    (:mod:`.depthwise_cuda`).  Everywhere else this is PyTorch's own convolution.

    Args:
        x: (N, C, D, H, W).
        weight: (C, 1, k, k, k), k odd.

    Returns:
        (N, C, D, H, W).
    """
    if x.is_cuda:
        from . import depthwise_cuda

        return depthwise_cuda.depthwise_conv3d(x, weight)
    if weight.requires_grad and weight.shape[-3:] == (5, 5, 5) and _trains_on_cpu(x, weight):
        from .depthwise_cpu import DepthwiseConv3dFunction

        return DepthwiseConv3dFunction.apply(x, weight)
    return F.conv3d(x, weight, padding=weight.shape[-1] // 2, groups=weight.shape[0])


def pointwise_conv3d(x: Tensor, weight: Tensor, bias: Optional[Tensor] = None) -> Tensor:
    """A 1x1x1 convolution; in training on a CPU a product of matrices.

    PyTorch's convolution takes another way for some sizes, whose backward pass lays every tensor out anew.

    Args:
        x: (N, in, D, H, W).
        weight: (out, in, 1, 1, 1).
        bias: (out,), or none.

    Returns:
        (N, out, D, H, W).
    """
    if _trains_on_cpu(x, weight) and x.is_contiguous(memory_format=torch.channels_last_3d):
        return F.linear(x.permute(0, 2, 3, 4, 1), weight.flatten(1), bias).permute(0, 4, 1, 2, 3)
    return F.conv3d(x, weight, bias)


def _trains_on_cpu(x: Tensor, weight: Optional[Tensor] = None) -> bool:
    """Whether the kernels for training in float32 on a CPU may take this tensor."""
    return (
        torch.is_grad_enabled()
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and (weight is None or weight.dtype == torch.float32)
        and x.shape[1] % 16 == 0
        and numba_available()
    )


def halve(x: Tensor) -> Tensor:
    """Mean over 2 x 2 x 2 voxels of (N, C, D, H, W), by Numba kernels in training on a CPU."""
    if _trains_on_cpu(x) and not any(side % 2 for side in x.shape[2:]):
        from .resampling_cpu import Halve

        return Halve.apply(x)
    return F.avg_pool3d(x, 2)


def double(x: Tensor) -> Tensor:
    """Trilinear up-sampling by two of (N, C, D, H, W), by Numba kernels in training on a CPU."""
    if _trains_on_cpu(x):
        from .resampling_cpu import Double

        return Double.apply(x)
    return F.interpolate(x, scale_factor=2, mode="trilinear", align_corners=False)


def batch_norm_elu(x: Tensor, norm: nn.BatchNorm3d, elu: bool = True) -> Tensor:
    """Batch norm, and ELU where asked for.

    Takes the Numba kernels in training in float32 on a CPU with a multiple of 16 channels and more
    than one value a channel; everywhere else these are PyTorch's own.

    Args:
        x: (N, C, D, H, W); may be overwritten.
        norm: its running mean and variance move on in training mode.
        elu: whether ELU follows.

    Returns:
        (N, C, D, H, W).
    """
    if norm.training and norm.affine and x.numel() > x.shape[1] and _trains_on_cpu(x, norm.weight):
        from .norm_cpu import batch_norm_elu as fast

        return fast(x, norm, elu)
    x = norm(x)
    return F.elu(x, inplace=True) if elu else x


def takes_norms_along(x: Tensor, norm: nn.BatchNorm3d, weight: Tensor, following: nn.BatchNorm3d) -> bool:
    """Whether :func:`norm_elu_depthwise` works here: where :func:`depthwise_conv3d` would train by Numba's kernels.

    Args:
        x: what the network computes with, (N, any, D, H, W).
        norm, weight, following: see there.
    """
    return (
        all(n.training and n.affine and n.running_mean is not None for n in (norm, following))
        and x.numel() > x.shape[1]
        and weight.requires_grad
        and weight.shape[-3:] == (5, 5, 5)
        and weight.shape[0] % 16 == 0
        and _trains_on_cpu(x, weight)
    )


def norm_elu_depthwise(x: Tensor, norm: nn.BatchNorm3d, weight: Tensor, following: nn.BatchNorm3d) -> Tensor:
    """Batch norm, ELU, depth-wise convolution, batch norm and ELU: the middle of an IRB block.

    One kernel takes the first three together; see :func:`takes_norms_along`.

    Args:
        x: (N, C, D, H, W).
        norm, following: their running means and variances move on.
        weight: (C, 1, 5, 5, 5).

    Returns:
        (N, C, D, H, W).
    """
    from .depthwise_cpu import NormDepthwise
    from .norm_cpu import batch_norm_elu as fast
    from .norm_cpu import move_running

    assert following.running_mean is not None
    pivot = following.running_mean.clone()
    x, *statistics = NormDepthwise.apply(x, norm.weight, norm.bias, norm.eps, weight, pivot)
    move_running(norm, statistics[0], statistics[1], x.numel() // x.shape[1])
    return fast(x, following, True, (statistics[2], statistics[3]))


def fast_network(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """The fastest way to compute a network at inference that works here.

    On a CPU batch norm is folded and IRB blocks run in tiles that fit the caches: by Numba kernels
    where Numba is, else by PyTorch alone.  A fast path is tried on a small slab first, and left out
    if it fails or gives other logits.

    Args:
        network: in evaluation mode.

    Returns:
        What maps (N, channels, D, H, W) to logits (N, classes, D, H, W): the network itself on
        other devices, in other number formats, in training, where the fast paths are switched off, and where it is
        another than LV-Net.
    """
    architecture = getattr(network, "architecture", None)
    if architecture is None or not architecture.plain:
        return network
    first = next(network.parameters())
    if switched_off() or network.training or first.device.type != "cpu" or first.dtype != torch.float32:
        return network
    from .cpu_network import CPUNetwork
    from .folding import fold_network

    lvnet = cast("LVNet", network)
    folded = fold_network(lvnet)
    plain = CPUNetwork(folded)
    return _with_numba(folded, plain, lvnet) if numba_available() else plain


def _with_numba(folded: FoldedNetwork, plain: Callable[[Tensor], Tensor], network: LVNet) -> Callable[[Tensor], Tensor]:
    try:
        from .cpu_network import CPUNetwork
        from .fused_block import FusedIRB, network_fits
        from .fused_stages import FusedStages

        if not network_fits(folded):
            return plain
        fast = CPUNetwork(folded, FusedIRB, FusedStages(folded))
        side = network.architecture.divisor
        generator = torch.Generator().manual_seed(1)
        slab = torch.randn((1, network.architecture.in_channels, side, side, side), generator=generator)
        difference = float((fast(slab) - plain(slab)).abs().max())
        if not difference < _TOLERANCE:
            raise ArithmeticError(f"logits differ by {difference:.2g}")
    except Exception as error:  # a broken Numba fails in many ways; the plain path is always right
        logging.getLogger(__name__).warning("the Numba kernels are left out: %s", str(error).splitlines()[:1])
        return plain
    return fast
