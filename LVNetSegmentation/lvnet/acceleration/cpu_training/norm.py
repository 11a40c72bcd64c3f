"""Batch norm, with or without ELU, as one autograd function for training on a CPU."""

from __future__ import annotations

from typing import Any, Optional, Tuple

import numpy as np
import torch
from torch import Tensor, nn

from ..kernels.catalogue import norm_kernels
from ..kernels.processor import register_lanes
from ..layout.workspace import BLOCK
from ..threads import run_parts

#: Mean and variance of each channel.
Moments = Tuple[Tensor, Tensor]


class BatchNormELU(torch.autograd.Function):
    """Batch norm over (N, D, H, W) in training mode, followed by ELU if asked for.

    The number of channels is a multiple of the vector length.  Only the input is kept for the backward pass.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, eps: float, elu: bool
    ) -> Tensor:
        """x (N, C, D, H, W) float32; mean and variance are those of its channels."""
        x = x.contiguous(memory_format=torch.channels_last_3d)
        values = norm_parameters(weight, bias, mean, variance, eps)
        out = torch.empty_like(x)
        _run(norm_kernels(register_lanes(), x.shape[1]).apply[elu], x, None, out, values)
        ctx.save_for_backward(x, weight, mean, variance, values)
        ctx.eps, ctx.elu = eps, elu
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tuple[Optional[Tensor], ...]:  # type: ignore[override]
        """Gradients w.r.t. x, weight and bias."""
        x, weight, mean, variance, values = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last_3d)
        sums = gradient_sums(x, gradient, mean, values if ctx.elu else None)
        elu = torch.cat([values, mean[None]]) if ctx.elu else None
        results = gradient_to_input(x, gradient, weight, (mean, variance), ctx.eps, sums, elu)
        return (*results, None, None, None, None)


def norm_parameters(weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, eps: float) -> Tensor:
    """(2, C) scale and shift of a batch norm."""
    # In NumPy: for so few values PyTorch would take milliseconds, mostly to wake its threads.
    scale = weight.detach().numpy() / np.sqrt(variance.numpy() + np.float32(eps))
    return torch.from_numpy(np.stack([scale, bias.detach().numpy() - mean.numpy() * scale]))


def gradient_to_input(
    x: Tensor,
    gradient: Tensor,
    weight: Tensor,
    moments_of_x: Moments,
    eps: float,
    sums: Tensor,
    elu: Optional[Tensor] = None,
) -> Tuple[Tensor, Tensor, Tensor]:
    """The backward pass of batch norm in training mode.

    Args:
        x: the norm's input, channels-last.
        gradient: w.r.t. the norm's output, or w.r.t. that of the ELU after it if `elu` is given.
        weight, moments_of_x, eps: of the norm.
        sums: (2, C) float64, of g and g (x - mean), where g is the gradient w.r.t. the norm's output.
        elu: (3, C) scale, shift and mean of a norm that is followed by ELU.

    Returns:
        Gradients w.r.t. x, weight and bias.
    """
    count = x.numel() // x.shape[1]
    factors, of_weight, of_bias = input_gradient_factors(weight, moments_of_x, eps, sums, count)
    to_x = torch.empty_like(x)
    input_gradient(x, gradient, factors, to_x, elu)
    return to_x, of_weight, of_bias


def input_gradient_factors(
    weight: Tensor, moments_of_x: Moments, eps: float, sums: Tensor, count: int, moving: bool = True
) -> Tuple[Tensor, Tensor, Tensor]:
    """The backward pass of batch norm as numbers per channel; see :func:`gradient_to_input`.

    Args:
        count: values per channel.
        moving: mean and variance were those of x; otherwise they are constants.

    Returns:
        (4, C) mean, a, b and c, with which the gradient w.r.t. x is a g + b (x - mean) + c; then the gradients
        w.r.t. weight and bias.
    """
    total, with_x = sums.numpy()
    mean, variance = (value.numpy() for value in moments_of_x)
    inverse = 1 / np.sqrt(variance.astype(np.float64) + eps)
    # Gradient w.r.t. x: w / s * (g - mean(g) - x^ * mean(g x^)), with x^ = (x - mean) / s.
    scale = weight.detach().numpy() * inverse
    slope = -scale * inverse * inverse * with_x / count * moving
    factors = np.stack([mean, scale, slope, -scale * total / count * moving]).astype(np.float32)
    of_weight, of_bias = (with_x * inverse).astype(np.float32), total.astype(np.float32)
    return torch.from_numpy(factors), torch.from_numpy(of_weight), torch.from_numpy(of_bias)


def input_gradient(x: Tensor, gradient: Tensor, factors: Tensor, out: Tensor, elu: Optional[Tensor] = None) -> None:
    """Writes the gradient w.r.t. x to `out`, which may be `gradient`; see :func:`input_gradient_factors`."""
    values = torch.zeros((6, x.shape[1]))
    if elu is not None:
        values[:3] = elu
    values[2:] = factors
    kernel = norm_kernels(register_lanes(), x.shape[1]).gradient[elu is not None]
    _run(kernel, x, gradient, out, values)


def gradient_sums(x: Tensor, gradient: Tensor, mean: Tensor, elu: Optional[Tensor] = None) -> Tensor:
    """(2, C) float64 sums of g and g (x - mean), where g is the gradient w.r.t. the norm's output.

    Args:
        gradient: w.r.t. that output, or w.r.t. that of the ELU after it if `elu` is given.
        elu: (2, C) scale and shift of a norm that is followed by ELU.
    """
    values = torch.zeros((3, x.shape[1]))
    if elu is not None:
        values[:2] = elu
    values[2] = mean
    kernel = norm_kernels(register_lanes(), x.shape[1]).gradient_sums[elu is not None]
    return _run(kernel, x, gradient, None, values, sums=2)


def add_normed(x: Tensor, values: Tensor, other: Tensor) -> Tensor:
    """other + scale x + shift, with `values` (2, C) scale and shift; both channels-last."""
    out = torch.empty_like(x)
    _run(norm_kernels(register_lanes(), x.shape[1]).add, x, other, out, values)
    return out


def batch_norm_elu(x: Tensor, norm: nn.BatchNorm3d, elu: bool, of_x: Optional[Moments] = None) -> Tensor:
    """Computes `norm` in training mode, with its update of the running statistics, and ELU if `elu`.

    Args:
        of_x: mean and variance of x per channel, if known already.
    """
    x = x.contiguous(memory_format=torch.channels_last_3d)
    mean, variance = moments(x.detach()) if of_x is None else of_x
    move_running(norm, mean, variance, x.numel() // x.shape[1])
    return BatchNormELU.apply(x, norm.weight, norm.bias, mean, variance, norm.eps, elu)


def move_running(norm: nn.BatchNorm3d, mean: Tensor, variance: Tensor, count: int) -> None:
    """Updates the running statistics of a norm with the mean and variance of `count` values per channel."""
    if not norm.track_running_stats or norm.running_mean is None or norm.running_var is None:
        return
    with torch.no_grad():
        share = norm.momentum
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
            share = 1.0 / float(norm.num_batches_tracked) if share is None else share
        share = 0.0 if share is None else share
        norm.running_mean.mul_(1 - share).add_(mean, alpha=share)
        norm.running_var.mul_(1 - share).add_(variance, alpha=share * count / max(1, count - 1))


def moments(x: Tensor) -> Moments:
    """Mean and variance of each channel of (N, C, D, H, W) channels-last."""
    # Sums are of differences from one voxel's values, so that no digits are lost where the mean is large.
    pivot = x[0, :, 0, 0, 0].contiguous()
    total, squares = _run(norm_kernels(register_lanes(), x.shape[1]).sums, x, None, None, pivot[None], sums=2)
    count = x.numel() // x.shape[1]
    return moments_from_sums(total, squares, pivot, count)


def moments_from_sums(total: Tensor, squares: Tensor, pivot: Tensor, count: int) -> Moments:
    """Mean and variance of `count` values per channel from the sums of value - pivot and of its square."""
    shifted = total / count
    return (shifted + pivot).float(), (squares / count - shifted * shifted).clamp(min=0).float()


def _run(kernel: Any, a: Tensor, b: Optional[Tensor], c: Optional[Tensor], values: Tensor, sums: int = 0) -> Tensor:
    """Runs a kernel over all rows.

    Returns:
        (sums, C) float64.
    """
    channels = a.shape[1]
    rows = a.numel() // channels
    blocks = -(-rows // BLOCK)
    partial = np.empty((blocks, sums, channels), np.float32)
    places = [t.data_ptr() for t in (a, b, c) if t is not None]
    places += [0] * (3 - len(places))
    run_parts(kernel, blocks, torch.get_num_threads(), *places, values.data_ptr(), partial.ctypes.data, rows, channels)
    return torch.from_numpy(partial.sum(axis=0, dtype=np.float64))
