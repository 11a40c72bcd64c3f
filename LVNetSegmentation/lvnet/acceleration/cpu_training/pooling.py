"""Average pooling and trilinear up-sampling by two in training on a CPU, channels-last throughout."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..kernels.catalogue import adjoint_kernels, stage_kernels
from ..kernels.processor import register_lanes
from ..layout.memory import aligned
from ..threads import run_parts


class Halve(torch.autograd.Function):
    """Mean over 2 x 2 x 2 voxels of (N, C, D, H, W) float32 with even sides."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """(N, C, D, H, W) to (N, C, D/2, H/2, W/2)."""
        x = x.contiguous(memory_format=torch.channels_last_3d)
        batch, channels, *sides = x.shape
        slices, height, width = (side // 2 for side in sides)
        out = _empty(batch, channels, slices, height, width)
        kernel = stage_kernels(register_lanes()).halve
        for item, result in zip(x, out):
            run_parts(kernel, slices * height, torch.get_num_threads(), item.data_ptr(), channels * 4, height, width,
                      channels, result.data_ptr(), channels * 4)  # fmt: skip
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        """To the shape of the input."""
        gradient = gradient.contiguous(memory_format=torch.channels_last_3d)
        batch, channels, slices, height, width = gradient.shape
        out = _empty(batch, channels, 2 * slices, 2 * height, 2 * width)
        kernel = adjoint_kernels(register_lanes()).halve
        for item, result in zip(gradient, out):
            run_parts(kernel, slices * height, torch.get_num_threads(), item.data_ptr(), height, width, channels,
                      result.data_ptr())  # fmt: skip
        return out


class Double(torch.autograd.Function):
    """Trilinear up-sampling by two of (N, C, D, H, W) float32, corners not aligned."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """(N, C, D, H, W) to (N, C, 2D, 2H, 2W)."""
        x = x.contiguous(memory_format=torch.channels_last_3d)
        batch, channels, slices, height, width = x.shape
        out = _empty(batch, channels, 2 * slices, 2 * height, 2 * width)
        kernel = stage_kernels(register_lanes()).double
        for item, result in zip(x, out):
            run_parts(kernel, 4 * slices * height, torch.get_num_threads(), item.data_ptr(), channels * 4, slices,
                      height, width, channels, result.data_ptr(), channels * 4)  # fmt: skip
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        """To the shape of the input."""
        gradient = gradient.contiguous(memory_format=torch.channels_last_3d)
        batch, channels, *sides = gradient.shape
        slices, height, width = (side // 2 for side in sides)
        out = _empty(batch, channels, slices, height, width)
        kernels, threads = adjoint_kernels(register_lanes()), torch.get_num_threads()
        spare = [aligned((kernels.room(width),)) for _ in range(max(1, threads))]

        def compute(*arguments: int) -> None:
            room = spare.pop()
            kernels.double(*arguments[:-2], room.ctypes.data, *arguments[-2:])
            spare.append(room)

        for item, result in zip(gradient, out):
            run_parts(compute, slices * height, threads, item.data_ptr(), slices, height, width, channels,
                      result.data_ptr())  # fmt: skip
        return out


def _empty(batch: int, channels: int, *sides: int) -> Tensor:
    return torch.empty((batch, channels, *sides), memory_format=torch.channels_last_3d)
