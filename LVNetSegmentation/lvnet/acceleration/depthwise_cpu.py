"""The depth-wise convolution as an autograd function whose backward pass is fast on a CPU."""

from __future__ import annotations

from typing import Any, Optional, Tuple

import torch
from torch import Tensor

from . import numba_depthwise
from .convolution_cpu import convolve


class DepthwiseConv3dFunction(torch.autograd.Function):
    """Depth-wise 5x5x5 convolution in float32 on the CPU; see :mod:`.numba_depthwise`.

    The channels are a multiple of 16.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        """x (N, C, D, H, W), weight (C, 1, 5, 5, 5); the result is channels-last."""
        x = x.contiguous(memory_format=torch.channels_last_3d)
        ctx.save_for_backward(x, weight)
        return convolve(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tuple[Optional[Tensor], Optional[Tensor]]:  # type: ignore[override]
        """Gradients to x and weight."""
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last_3d)
        to_x = to_weight = None
        if ctx.needs_input_grad[0]:
            # Stride 1 and an odd kernel: the gradient is the same convolution, kernel flipped.
            to_x = convolve(gradient, weight.flip(2, 3, 4))
        if ctx.needs_input_grad[1]:
            sums = numba_depthwise.weight_gradient(
                x.detach().permute(0, 2, 3, 4, 1).numpy(),
                gradient.permute(0, 2, 3, 4, 1).numpy(),
            )
            to_weight = torch.from_numpy(sums).permute(3, 0, 1, 2).unsqueeze(1)
        return to_x, to_weight
