"""Batch norm, with ELU or without, as one autograd function for training on a CPU."""

from __future__ import annotations

from typing import Any, Optional, Tuple

import numpy as np
import torch
from torch import Tensor, nn

from .numba_norm import BLOCK, norm_kernels
from .threads import run_parts
from .vector_code import register_lanes


class BatchNormELU(torch.autograd.Function):
    """Batch norm over (N, D, H, W) in training mode, then ELU where asked for.

    The channels are a multiple of the machine's vector.  Kept for the backward pass: the input.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, elu: bool
    ) -> Tuple[Tensor, Tensor, Tensor]:
        """x (N, C, D, H, W) float32; also answers the mean and the variance of each channel."""
        x = x.contiguous(memory_format=torch.channels_last_3d)
        mean, variance = _moments(x)
        scale = weight.detach() / torch.sqrt(variance + eps)
        values = torch.stack([scale, bias.detach() - mean * scale]).contiguous()
        out = torch.empty_like(x)
        _run(norm_kernels(register_lanes()).apply[elu], x, None, out, values)
        ctx.save_for_backward(x, weight, mean, variance, values)
        ctx.eps, ctx.elu = eps, elu
        ctx.mark_non_differentiable(mean, variance)
        return out, mean, variance

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> Tuple[Optional[Tensor], ...]:  # type: ignore[override]
        """Gradients to x, weight and bias."""
        x, weight, mean, variance, values = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last_3d)
        kernels = norm_kernels(register_lanes())
        values = torch.cat([values, mean[None]])
        total, with_x = _run(kernels.gradient_sums[ctx.elu], x, gradient, None, values, sums=2)
        inverse = 1 / torch.sqrt(variance.double() + ctx.eps)
        count = x.numel() // x.shape[1]
        # x's gradient: w / s (g - mean of g - x^ mean of (g x^)), with x^ = (x - mean) / s.
        scale = weight.detach().double() * inverse
        slope = -scale * inverse * inverse * with_x / count
        rest = torch.stack([scale, slope, -scale * total / count]).float()
        to_x = torch.empty_like(x)
        _run(kernels.gradient[ctx.elu], x, gradient, to_x, torch.cat([values, rest]))
        return to_x, (with_x * inverse).float(), total.float(), None, None


def batch_norm_elu(x: Tensor, norm: nn.BatchNorm3d, elu: bool) -> Tensor:
    """What `norm` and ELU behind it compute in training mode; running means move on as they do there."""
    out, mean, variance = BatchNormELU.apply(x, norm.weight, norm.bias, norm.eps, elu)
    if norm.track_running_stats and norm.running_mean is not None and norm.running_var is not None:
        with torch.no_grad():
            count = x.numel() // x.shape[1]
            share = norm.momentum
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked.add_(1)
                share = 1.0 / float(norm.num_batches_tracked) if share is None else share
            share = 0.0 if share is None else share
            norm.running_mean.mul_(1 - share).add_(mean, alpha=share)
            norm.running_var.mul_(1 - share).add_(variance, alpha=share * count / max(1, count - 1))
    return out


def _moments(x: Tensor) -> Tuple[Tensor, Tensor]:
    # Around one voxel's values rather than zero: no digits are lost where the mean is large.
    pivot = x[0, :, 0, 0, 0].contiguous()
    total, squares = _run(norm_kernels(register_lanes()).sums, x, None, None, pivot[None], sums=2)
    count = x.numel() // x.shape[1]
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
