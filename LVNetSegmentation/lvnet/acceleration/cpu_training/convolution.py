"""The depth-wise 5x5x5 convolution and its gradients on a CPU, fused with the batch norm and ELU around it."""

from __future__ import annotations

from typing import Callable, Optional, Tuple

import numpy as np
import torch
from torch import Tensor

from ..kernels.catalogue import TileKernels, convolution_kernels, weight_kernels
from ..kernels.processor import register_lanes
from ..layout.memory import aligned, laid_out
from ..layout.winograd import POINTS, transform_weights, weights_from_products
from ..layout.workspace import KEPT_BYTES
from ..threads import run_jobs

#: Rows of a tile.
_ROWS = 32
#: First item, first group of channels, number of groups, first row, first column.
Job = Tuple[int, int, int, int, int]


def convolve(
    x: Tensor,
    weight: Tensor,
    parameters: Optional[Tensor] = None,
    activated: bool = False,
    measured: bool = False,
    beside: Optional[Tensor] = None,
) -> Tuple[Tensor, Tensor]:
    """Depth-wise 5x5x5 convolution with zero padding.

    Args:
        x: (N, C, D, H, W) float32, channels-last; C is a multiple of the vector length.
        weight: (C, 1, 5, 5, 5).
        parameters: (3, C) scale, shift and mean, used by the options below.
        activated: convolve ELU(scale * x + shift) instead of x.
        measured: also sum (result - mean) and its square.
        beside: same shape and memory order as x; the result is multiplied by the derivative of ELU at
            scale * `beside` + shift, and the sums are of that, and of that times (`beside` - mean).

    Returns:
        The result, shaped like x, and the sums, (2, C) float64, zero if none were asked for.
    """
    lanes = register_lanes()
    kernels = convolution_kernels(lanes, activated, measured, beside is not None)
    _, channels, slices, height, width = x.shape
    out = torch.empty_like(x, memory_format=torch.channels_last_3d)
    taps = transform_weights(weight.detach()[:, 0].double().numpy())  # point, channel, kz, ky
    taps = laid_out(taps.reshape(len(taps), -1, lanes, 5, 5).transpose(1, 0, 4, 3, 2))  # group, point, ky, kz, lane
    values = _by_group(parameters, channels, lanes)
    beside_at = out.data_ptr() if beside is None else beside.data_ptr()

    def compute(job: Job, start: int, top: int, rows: int, left: int, columns: int, work: int, sums: int) -> None:
        kernels.tile(
            x.data_ptr() + start, out.data_ptr() + start, beside_at + start, channels * 4, slices, height, width,
            job[2], taps[job[1]].ctypes.data, values[job[1]].ctypes.data, top, rows, left, columns, work, sums,
        )  # fmt: skip

    sums = _in_tiles(x.shape, kernels, compute).reshape(-1, 2, lanes)
    return out, torch.from_numpy(sums.transpose(1, 0, 2).reshape(2, channels))


def weight_gradient(
    x: Tensor, gradient: Tensor, parameters: Optional[Tensor] = None, activated: bool = False
) -> Tensor:
    """Gradient w.r.t. the weights of :func:`convolve`, summed over batch and space.

    Args:
        x: the input of the convolution.
        gradient: w.r.t. its result, same shape and memory order as x.
        parameters, activated: see :func:`convolve`.

    Returns:
        (C, 1, 5, 5, 5) float32.
    """
    lanes = register_lanes()
    kernels = weight_kernels(lanes, activated)
    _, channels, slices, height, width = x.shape
    values = _by_group(parameters, channels, lanes)

    def compute(job: Job, start: int, top: int, rows: int, left: int, columns: int, work: int, sums: int) -> None:
        kernels.tile(
            x.data_ptr() + start, gradient.data_ptr() + start, channels * 4, slices, height, width, job[2],
            values[job[1]].ctypes.data, top, rows, left, columns, work, sums,
        )  # fmt: skip

    sums = _in_tiles(x.shape, kernels, compute)
    products = sums.reshape(-1, POINTS, 5, 5, lanes).transpose(1, 3, 2, 0, 4).reshape(POINTS, 5, 5, channels)
    taps = weights_from_products(products)  # kz, ky, channel, kx
    return torch.from_numpy(taps.transpose(2, 0, 1, 3).astype(np.float32)).unsqueeze(1)


def _by_group(parameters: Optional[Tensor], channels: int, lanes: int) -> np.ndarray:
    """(groups, 3, lanes), each vector aligned to a cache line if it fills one."""
    if parameters is None:
        return laid_out(np.zeros((channels // lanes, 3, lanes)))
    return laid_out(parameters.detach().numpy().reshape(3, -1, lanes).transpose(1, 0, 2))


def _in_tiles(shape: torch.Size, kernels: TileKernels, compute: Callable[..., None]) -> np.ndarray:
    """Calls `compute` for all groups of channels of every tile; returns the sums of each group, float64."""
    batch, channels, slices, height, width = shape
    lanes, threads = kernels.lanes, max(1, torch.get_num_threads())
    groups = channels // lanes
    # Neighbouring groups lie side by side in memory: the more of them a job takes, the less it waits for data.
    columns = next((c for c in (32, 16) if 4 * kernels.workspace(groups, slices, c) <= KEPT_BYTES), 8)
    together = max(1, min(groups, KEPT_BYTES // (4 * kernels.workspace(1, slices, columns))))
    tiles = batch * -(-height // _ROWS) * -(-width // columns)
    while tiles * -(-groups // together) < 4 * threads and together > 1:
        together = -(-together // 2)
    jobs = [
        (n, first, min(together, groups - first), top, left)
        for n in range(batch)
        for top in range(0, height, _ROWS)
        for left in range(0, width, columns)
        for first in range(0, groups, together)
    ]
    spare = [aligned((kernels.workspace(together, slices, columns),)) for _ in range(threads)]
    count, kind = kernels.results
    results = np.zeros((len(jobs), together, count), kind)
    item = slices * height * width * channels * 4

    def run(number: int) -> None:
        job = jobs[number]
        n, first, _, top, left = job
        work = spare.pop()
        start = n * item + first * lanes * 4
        rows, wide = min(_ROWS, height - top), min(columns, width - left)
        compute(job, start, top, rows, left, wide, work.ctypes.data, results[number].ctypes.data)
        spare.append(work)

    run_jobs(range(len(jobs)), run, threads)
    sums = np.zeros((groups, count))
    for (_, first, number, _, _), result in zip(jobs, results):
        sums[first : first + number] += result[:number]
    return sums
