"""An IRB block in training on a CPU, as one autograd function.

Tensors as wide as the middle of the block cross memory as few times as possible: convolutions, norms and ELU share
passes.  Between forward and backward pass only the results of the three convolutions are kept.
"""

from __future__ import annotations

from typing import Any, List, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor, nn

from ..kernels.catalogue import pointwise_kernels
from ..kernels.processor import register_lanes
from ..layout.memory import laid_out
from ..layout.workspace import WIDEST, summed_rows
from ..threads import run_parts
from .convolution import convolve, weight_gradient
from .norm import (
    Moments,
    add_normed,
    gradient_sums,
    input_gradient,
    input_gradient_factors,
    moments_from_sums,
    move_running,
    norm_parameters,
)


def supports(channels: int, wide: int) -> bool:
    """Whether the kernels know a block with `channels` at its ends and `wide` in its middle."""
    return channels % 16 == 0 and wide % 32 == 0 and channels <= wide <= WIDEST


def irb_block(x: Tensor, expand: Tensor, depthwise: Tensor, project: Tensor, norms: Sequence[nn.BatchNorm3d]) -> Tensor:
    """An IRB block, with the update of its norms' running statistics in training mode.

    Args:
        x: (N, C, D, H, W) float32.
        expand, depthwise, project: weights (wide, C, 1, 1, 1), (wide, 1, 5, 5, 5) and (C, wide, 1, 1, 1); see
            :func:`supports`.
        norms: after each convolution, with running statistics; all of them in training mode or none.

    Returns:
        (N, C, D, H, W).
    """
    parameters = [p for norm in norms for p in (norm.weight, norm.bias)]
    out, *moments = IRB.apply(x, expand, depthwise, project, *parameters, norms)
    count = x.numel() // x.shape[1]
    for i, norm in enumerate(norms):
        if norm.training:
            move_running(norm, moments[2 * i], moments[2 * i + 1], count)
    return out


class IRB(torch.autograd.Function):
    """See :func:`irb_block`; the arguments after the weights are scale and bias of each norm, then the norms."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, expand: Tensor, depthwise: Tensor, project: Tensor, *others: Any
    ) -> Tuple[Tensor, ...]:
        """x (N, C, D, H, W); returns the result, then mean and variance after each convolution."""
        *parameters, norms = others
        x = x.contiguous(memory_format=torch.channels_last_3d)
        kernels = pointwise_kernels(register_lanes())
        wide, channels = expand.shape[:2]
        rows = x.numel() // channels
        moments = []

        def values(i: int, pivot: Tensor, sums: Tensor) -> Tensor:
            """Scale and shift of a norm."""
            moments.append(_moments(norms[i], pivot, sums, rows))
            return norm_parameters(parameters[2 * i], parameters[2 * i + 1], *moments[i], norms[i].eps)

        # Sums are of differences from a value near the mean, so that no digits are lost where the mean is large: x may
        # have any mean, while the other convolutions have the results of norms as input.
        pivots = [expand.detach().flatten(1) @ x[0, :, 0, 0, 0], *(norm.running_mean.clone() for norm in norms[1:])]
        y = _wide_like(x, wide)
        matrix = laid_out(expand.detach().flatten(1).numpy().T)
        (sums,) = _run(kernels.expand, (x, matrix, y, pivots[0]), x, wide, (2, wide))
        first = values(0, pivots[0], sums)
        z, sums = convolve(y, depthwise, torch.cat([first, pivots[1][None]]), activated=True, measured=True)
        second = values(1, pivots[1], sums)
        p = torch.empty_like(x)
        matrix = laid_out(project.detach().flatten(1).numpy().T)
        (sums,) = _run(kernels.project, (z, second, matrix, p, pivots[2]), x, wide, (2, channels))
        out = add_normed(p, values(2, pivots[2], sums), x)
        statistics = [value for pair in moments for value in pair]
        ctx.save_for_backward(x, y, z, p, expand, depthwise, project, first, second, *parameters, *statistics)
        ctx.eps, ctx.moving = [norm.eps for norm in norms], norms[0].training
        ctx.mark_non_differentiable(*statistics)
        return (out, *statistics)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> Tuple[Optional[Tensor], ...]:  # type: ignore[override]
        """Gradients w.r.t. x, the weights, and scale and bias of each norm."""
        x, y, z, p, expand, depthwise, project, first, second, *rest = ctx.saved_tensors
        parameters, moments = rest[:6], [(rest[6 + 2 * i], rest[7 + 2 * i]) for i in range(3)]
        gradient = gradient.contiguous(memory_format=torch.channels_last_3d)
        kernels = pointwise_kernels(register_lanes())
        wide, channels = expand.shape[:2]
        rows = x.numel() // channels
        of_norms: List[Optional[Tensor]] = [None] * 6

        def factors(i: int, sums: Tensor) -> Tensor:
            result, of_norms[2 * i], of_norms[2 * i + 1] = input_gradient_factors(
                parameters[2 * i], moments[i], ctx.eps[i], sums, rows, ctx.moving
            )
            return result

        last = factors(2, gradient_sums(p, gradient, moments[2][0]))
        pulled = torch.empty_like(z)
        values = torch.cat([second, moments[1][0][None]])
        matrix = laid_out(project.detach().flatten(1).numpy())
        inputs: Sequence[Any] = (p, gradient, last, z, values, matrix, pulled)
        sums, of_project = _run(kernels.project_back, inputs, x, wide, (2, wide), (channels, wide))
        input_gradient(z, pulled, factors(1, sums), pulled)
        values = torch.cat([first, moments[0][0][None]])
        of_depthwise = weight_gradient(y, pulled, values, activated=True)
        # Stride 1 and an odd kernel: the gradient is the same convolution, kernel flipped.
        pulled, sums = convolve(pulled, depthwise.flip(2, 3, 4), values, beside=y)
        to_x = torch.empty_like(x)
        matrix = laid_out(expand.detach().flatten(1).numpy())
        last = factors(0, sums)
        inputs = (y, pulled, last, x, matrix, gradient, to_x)
        (of_expand,) = _run(kernels.expand_back, inputs, x, wide, (channels, wide))
        return (
            to_x, of_expand.float().t().reshape(expand.shape), of_depthwise,
            of_project.float().reshape(project.shape), *of_norms, None,
        )  # fmt: skip


def _moments(norm: nn.BatchNorm3d, pivot: Tensor, sums: Tensor, rows: int) -> Moments:
    """Mean and variance by which a norm divides: those of the batch in training mode, else its running ones."""
    if not norm.training:
        assert norm.running_mean is not None and norm.running_var is not None
        return norm.running_mean.clone(), norm.running_var.clone()
    return moments_from_sums(sums[0], sums[1], pivot, rows)


def _wide_like(x: Tensor, channels: int) -> Tensor:
    """An uninitialised tensor of x's size and memory format with other channels."""
    size = (x.shape[0], channels, *x.shape[2:])
    return torch.empty(size, dtype=x.dtype, memory_format=torch.channels_last_3d)


def _run(kernel: Any, inputs: Sequence[Any], x: Tensor, wide: int, *sizes: Tuple[int, int]) -> List[Tensor]:
    """Runs a kernel over all rows; returns its sums, one float64 tensor for each of `sizes`."""
    channels = x.shape[1]
    rows = x.numel() // channels
    block = summed_rows(rows)
    blocks = -(-rows // block)
    parts = [np.empty((blocks, *size), np.float32) for size in sizes]
    places = [_address(value) for value in (*inputs, *parts)]
    run_parts(kernel, blocks, torch.get_num_threads(), *places, rows, block, channels, wide)
    return [torch.from_numpy(part.sum(axis=0, dtype=np.float64)) for part in parts]


def _address(value: Any) -> int:
    return value.data_ptr() if isinstance(value, Tensor) else value.ctypes.data
