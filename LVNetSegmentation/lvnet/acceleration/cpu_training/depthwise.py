"""The depth-wise convolution in training on a CPU, alone and fused with the batch norm and ELU before it."""

from __future__ import annotations

from typing import Any, Optional, Tuple

import torch
from torch import Tensor, nn

from .convolution import convolve, weight_gradient
from .norm import (
    batch_norm_elu,
    gradient_to_input,
    moments,
    moments_from_sums,
    move_running,
    norm_parameters,
)


class DepthwiseConv3dFunction(torch.autograd.Function):
    """Depth-wise 5x5x5 convolution in float32 on the CPU, for a multiple of 16 channels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        """x (N, C, D, H, W), weight (C, 1, 5, 5, 5); the result is channels-last."""
        x = x.contiguous(memory_format=torch.channels_last_3d)
        ctx.save_for_backward(x, weight)
        return convolve(x, weight)[0]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tuple[Optional[Tensor], Optional[Tensor]]:  # type: ignore[override]
        """Gradients w.r.t. x and weight."""
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last_3d)
        to_x = to_weight = None
        if ctx.needs_input_grad[0]:
            # Stride 1 and an odd kernel: the gradient is the same convolution, kernel flipped.
            to_x = convolve(gradient, weight.flip(2, 3, 4))[0]
        if ctx.needs_input_grad[1]:
            to_weight = weight_gradient(x, gradient)
        return to_x, to_weight


class NormDepthwise(torch.autograd.Function):
    """Batch norm in training mode, ELU, and the depth-wise 5x5x5 convolution, in float32 on the CPU.

    The output of ELU is never stored: it is computed while the convolution reads its input, and again for
    the weight gradient.  Mean and variance of the result are computed along the way for the next norm.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scale: Tensor, bias: Tensor, eps: float, weight: Tensor, pivot: Tensor
    ) -> Tuple[Tensor, ...]:
        """x (N, C, D, H, W), scale and bias (C,), weight (C, 1, 5, 5, 5), pivot (C,) near the result's mean.

        Returns:
            The result, the mean and variance of x per channel, and those of the result.
        """
        x = x.contiguous(memory_format=torch.channels_last_3d)
        mean, variance = moments(x)
        values = norm_parameters(scale, bias, mean, variance, eps)
        out, sums = convolve(x, weight, torch.cat([values, pivot[None]]), activated=True, measured=True)
        count = x.numel() // x.shape[1]
        of_out = moments_from_sums(sums[0], sums[1], pivot, count)
        ctx.save_for_backward(x, scale, weight, mean, variance, values)
        ctx.eps = eps
        statistics = (mean, variance, *of_out)
        ctx.mark_non_differentiable(*statistics)
        return (out, *statistics)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> Tuple[Optional[Tensor], ...]:  # type: ignore[override]
        """Gradients w.r.t. x, scale, bias and weight."""
        x, scale, weight, mean, variance, values = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last_3d)
        values = torch.cat([values, mean[None]])
        to_weight = weight_gradient(x, gradient, values, activated=True)
        # Stride 1 and an odd kernel: the gradient is the same convolution, kernel flipped.
        pulled, sums = convolve(gradient, weight.flip(2, 3, 4), values, beside=x)
        to_x, to_scale, to_bias = gradient_to_input(x, pulled, scale, (mean, variance), ctx.eps, sums)
        return to_x, to_scale, to_bias, None, to_weight, None


def norm_elu_depthwise(x: Tensor, norm: nn.BatchNorm3d, weight: Tensor, following: nn.BatchNorm3d) -> Tensor:
    """Batch norm, ELU, depth-wise convolution, batch norm and ELU: the middle of an IRB block.

    One kernel computes the first three together.

    Args:
        x: (N, C, D, H, W).
        norm, following: in training mode; their running means and variances are updated.
        weight: (C, 1, 5, 5, 5), C a multiple of 16.

    Returns:
        (N, C, D, H, W).
    """
    assert following.running_mean is not None
    pivot = following.running_mean.clone()
    x, *statistics = NormDepthwise.apply(x, norm.weight, norm.bias, norm.eps, weight, pivot)
    move_running(norm, statistics[0], statistics[1], x.numel() // x.shape[1])
    return batch_norm_elu(x, following, True, (statistics[2], statistics[3]))
