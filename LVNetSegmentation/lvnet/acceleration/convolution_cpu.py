"""The depth-wise 5x5x5 convolution on a CPU by the kernels of :mod:`.numba_convolution`."""

from __future__ import annotations

from typing import Tuple

import torch
from torch import Tensor

from .fused_block import aligned, laid_out
from .numba_convolution import convolution_kernels
from .threads import run_jobs
from .vector_code import register_lanes
from .winograd import transform_weights

#: Rows and columns of a tile; its ring of transformed rows lies in the second-level cache.
_ROWS, _COLUMNS = 32, 32


def convolve(x: Tensor, weight: Tensor) -> Tensor:
    """Depth-wise 5x5x5 convolution with zero padding.

    Args:
        x: (N, C, D, H, W) float32, channels-last; C is a multiple of the machine's vector.
        weight: (C, 1, 5, 5, 5).

    Returns:
        As x.
    """
    lanes = register_lanes()
    kernels = convolution_kernels(lanes)
    batch, channels, slices, height, width = x.shape
    out = torch.empty_like(x, memory_format=torch.channels_last_3d)
    taps = transform_weights(weight.detach()[:, 0].double().numpy())  # point, channel, kz, ky
    taps = laid_out(taps.reshape(len(taps), -1, lanes, 5, 5).transpose(1, 0, 4, 3, 2))  # group, point, ky, kz, lane
    threads = torch.get_num_threads()
    jobs = [
        (n, group, top, left)
        for n in range(batch)
        for top in range(0, height, _ROWS)
        for left in range(0, width, _COLUMNS)
        for group in range(channels // lanes)
    ]
    spare = [aligned((kernels.workspace(slices, _COLUMNS),)) for _ in range(max(1, threads))]
    item, voxel = slices * height * width * channels * 4, channels * 4

    def compute(job: Tuple[int, int, int, int]) -> None:
        n, group, top, left = job
        work = spare.pop()
        start = n * item + group * lanes * 4
        kernels.tile(
            x.data_ptr() + start, out.data_ptr() + start, voxel, slices, height, width, taps[group].ctypes.data,
            top, min(_ROWS, height - top), left, min(_COLUMNS, width - left), work.ctypes.data,
        )  # fmt: skip
        spare.append(work)

    run_jobs(jobs, compute, threads)
    return out
