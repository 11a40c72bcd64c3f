"""Triton kernels for the depth-wise k x k x k convolution on a GPU, k odd, stride 1, output of the input's size.

PyTorch has a specialised kernel for 3x3x3 only, and its weight gradient takes many times as long as the
forward pass.  Arrays here are dense and channels-last, (N, D, H, W, C); bfloat16, float16 or float32 with
sums in float32, or float64 throughout.  Weights are (k, k, k, C).

Both kernels loop over the rows of a tile of columns and channels and load each row as rarely as possible.
`_convolve` keeps the k output rows that an input row contributes to: one load of the input serves k
multiply-adds.  `_weigh` keeps the k gradient rows around an input row: k + 1 loads serve k * k
multiply-adds, and it sums over the tile only once, at the end.  No sum is shared between programs, so
results are bitwise reproducible.

The rows that are kept are tuples of tensors, which Triton supports since 3.3.
"""

from __future__ import annotations

from typing import Any, Optional, Tuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from .launches import CONVOLVE, WEIGH, Launch, launch_for

#: Rows of a tile of `_weigh`, and the most of one of `_convolve`.
_ROWS = 64
#: Sizes for which Triton need not compile a kernel anew: only channels tell it how wide its loads may be.
_SIZES = ("batch", "depth", "height", "width", "rows", "column_blocks", "row_blocks", "channel_blocks", "groups")


@triton.jit(do_not_specialize=[name for name in _SIZES if name not in ("batch", "groups")])
def _convolve(  # type: ignore[no-untyped-def]
    x, weight, bias, out, depth, height, width, channels, rows, column_blocks, row_blocks, channel_blocks,
    K: tl.constexpr, REPEAT: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_C: tl.constexpr, ELU: tl.constexpr,  # noqa: N803
    SUM: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """`rows` rows of one slice of the output, REPEAT * BLOCK_W columns, BLOCK_C channels.

    With ELU the bias is added and ELU applied before the output is stored.
    """
    radius: tl.constexpr = K // 2
    place = tl.program_id(0)
    # A thread computes REPEAT columns of the same channels, so that a tap is loaded once for all of them.
    column = (place % column_blocks) * (REPEAT * BLOCK_W)
    column = column + tl.arange(0, REPEAT)[:, None, None] * BLOCK_W + tl.arange(0, BLOCK_W)[None, :, None]
    place = place // column_blocks
    first = (place % row_blocks) * rows
    place = place // row_blocks
    z = place % depth
    place = place // depth
    channel = (place % channel_blocks) * BLOCK_C + tl.arange(0, BLOCK_C)[None, None, :]
    scan = (place // channel_blocks).to(tl.int64) * depth

    known = channel < channels
    # The same taps for all columns, loaded in the shape in which they are used.
    tap_at = channel + tl.zeros((1, BLOCK_W, 1), dtype=tl.int32)
    last = tl.minimum(first + rows, height)
    # Slices of the kernel that overlap the input.
    kz_first = tl.maximum(0, radius - z)
    kz_last = tl.minimum(K, depth + radius - z)
    nothing = tl.zeros((REPEAT, BLOCK_W, BLOCK_C), dtype=SUM)
    sums = (nothing,) * K
    begin = tl.maximum(first - radius, 0)
    for step in range(0, last + radius - begin):
        row = begin + step
        # sums[j] belongs to the output row `row` - radius + j, whose tap for this row is 2 radius - j.
        kz_end = tl.where(row < height, kz_last, kz_first)
        for kz in range(kz_first, kz_end):
            source = x + ((scan + z + kz - radius) * height + row) * width * channels + channel
            taps = weight + kz * K * K * channels + tap_at
            for kx in range(K):
                at = column + (kx - radius)
                inside = known & (at >= 0) & (at < width)
                value = tl.load(source + at * channels, mask=inside, other=0.0).to(SUM)
                added = ()
                for j in tl.static_range(K):
                    tap = tl.load(taps + ((K - 1 - j) * K + kx) * channels, mask=tap_at < channels, other=0.0)
                    tap = tl.broadcast_to(tap.to(SUM), (REPEAT, BLOCK_W, BLOCK_C))
                    added = added + (tl.fma(value, tap, sums[j]),)  # type: ignore[assignment]
                sums = added
        target = out + ((scan + z) * height + row - radius) * width * channels + channel
        done = tl.where(row - radius >= first, width, 0)
        total = sums[0]
        if ELU:
            total = total + tl.load(bias + channel, mask=known, other=0.0).to(SUM)
            total = tl.where(total > 0, total, tl.exp(total) - 1)
        tl.store(target + column * channels, total.to(out.dtype.element_ty), mask=known & (column < done))
        sums = sums[1:] + (nothing,)


@triton.jit(do_not_specialize=_SIZES)
def _weigh(  # type: ignore[no-untyped-def]
    x, gradient, out, batch, depth, height, width, channels, rows, column_blocks, row_blocks, channel_blocks, groups,
    K: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_C: tl.constexpr, SUM: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """Contribution of one group of tiles to one slice of the weight gradient; out is (groups, k, k, k, C)."""
    radius: tl.constexpr = K // 2
    place = tl.program_id(0)
    group = place % groups
    place = place // groups
    kz = place % K
    channel = (place // K) * BLOCK_C + tl.arange(0, BLOCK_C)[None, :]
    known = channel < channels
    lane = tl.arange(0, BLOCK_W)[:, None]
    nothing = tl.zeros((BLOCK_W, BLOCK_C), dtype=SUM)

    sums = (nothing,) * (K * K)
    for tile in range(group, batch * depth * row_blocks * column_blocks, groups):
        column = (tile % column_blocks) * BLOCK_W + lane
        left = tile // column_blocks
        first = (left % row_blocks) * rows
        left = left // row_blocks
        z = left % depth
        scan = (left // depth).to(tl.int64) * depth
        last = tl.minimum(first + rows, height)
        meets = (z + kz >= radius) & (z + kz < depth + radius)
        pulls = gradient + (scan + z) * height * width * channels + channel
        source = x + (scan + z + kz - radius) * height * width * channels + channel

        # Gradient rows above `first` belong to another tile: the window starts empty.
        window = (nothing,) * K
        for step in range(0, tl.where(meets, last - first + 2 * radius, 0)):
            row = first - radius + step
            # window[j] is gradient row `row` - radius + j, which this row contributes to through tap 2 radius - j.
            newest = row + radius
            right = tl.where(newest < last, width, 0)
            spot = (newest.to(tl.int64) * width + column) * channels
            pull = tl.load(pulls + spot, mask=known & (column < right), other=0.0)
            window = window[1:] + (pull.to(SUM),)
            right = tl.where((row >= 0) & (row < height), width, 0)
            added = ()
            for kx in tl.static_range(K):
                at = column + (kx - radius)
                inside = known & (at >= 0) & (at < right)
                value = tl.load(source + (row.to(tl.int64) * width + at) * channels, mask=inside, other=0.0).to(SUM)
                for j in tl.static_range(K):
                    added = added + (tl.fma(value, window[j], sums[kx * K + j]),)  # type: ignore[assignment]
            sums = added

    target = out + (group.to(tl.int64) * K + kz) * K * K * channels + channel
    for kx in tl.static_range(K):
        for j in tl.static_range(K):
            total = tl.sum(sums[kx * K + j], axis=0, keep_dims=True)
            tl.store(target + ((K - 1 - j) * K + kx) * channels, total, mask=known)


def convolve(
    x: Tensor, weight: Tensor, out: Tensor, launch: Optional[Launch] = None, bias: Optional[Tensor] = None
) -> None:
    """Depth-wise convolution with zero padding, or ELU(convolution + bias).

    Args:
        x: (N, D, H, W, C), dense.
        weight: (k, k, k, C), dense; k is 3, 5 or 7.
        out: same shape as x; every element is written, with the same bits whatever the launch is.
        launch: how the work is divided; None: as chosen for this GPU and shape.
        bias: (C,), dense; None: the convolution alone.
    """
    batch, depth, height, width, channels = x.shape
    how = launch or launch_for(CONVOLVE, x, weight.shape[0])
    repeat = min(how.repeat, triton.cdiv(triton.next_power_of_2(width), how.columns))
    column_blocks, channel_blocks = triton.cdiv(width, repeat * how.columns), triton.cdiv(channels, how.channels)
    rows = _ROWS
    # Fewer rows per program mean more programs for the GPU, but also more rows that two of them load.
    while rows > 8 and batch * depth * column_blocks * channel_blocks * triton.cdiv(height, rows) < how.programs:
        rows //= 2
    row_blocks = triton.cdiv(height, rows)
    _launch(
        _convolve, batch * depth * column_blocks * channel_blocks * row_blocks, how.warps,
        x, weight, weight if bias is None else bias, out, depth, height, width, channels, rows, column_blocks,
        row_blocks, channel_blocks,
        K=weight.shape[0], REPEAT=repeat, BLOCK_W=how.columns, BLOCK_C=how.channels, ELU=bias is not None,
        SUM=_sum_type(x),
    )  # fmt: skip


def weigh(x: Tensor, gradient: Tensor, kernel_size: int, launch: Optional[Launch] = None) -> Tensor:
    """The gradient w.r.t. the weights, summed over batch and space.

    Args:
        x: the convolution's input, (N, D, H, W, C), dense.
        gradient: w.r.t. its output, same shape and type.
        kernel_size: k, one of 3, 5, 7.
        launch: how the work is divided, which decides in what order sums are made; None: as chosen for this GPU and
            shape.

    Returns:
        (k, k, k, C), float32, or float64 for float64.
    """
    batch, depth, height, width, channels = x.shape
    how = launch or launch_for(WEIGH, x, kernel_size)
    block_w = min(how.columns, triton.next_power_of_2(width))
    column_blocks, channel_blocks = triton.cdiv(width, block_w), triton.cdiv(channels, how.channels)
    rows = min(height, _ROWS)
    row_blocks = triton.cdiv(height, rows)
    tiles = batch * depth * row_blocks * column_blocks
    groups = min(tiles, max(1, how.programs // (channel_blocks * kernel_size)))
    shares = partial_sums(groups, kernel_size, channels, x)
    _launch(
        _weigh, channel_blocks * kernel_size * groups, how.warps,
        x, gradient, shares, batch, depth, height, width, channels, rows, column_blocks, row_blocks, channel_blocks,
        groups, K=kernel_size, BLOCK_W=block_w, BLOCK_C=how.channels, SUM=_sum_type(x),
    )  # fmt: skip
    return shares.sum(dim=0)


def partial_sums(groups: int, kernel_size: int, channels: int, x: Tensor) -> Tensor:
    """An uninitialised tensor for the contribution of every group of tiles."""
    kind = torch.float64 if x.dtype == torch.float64 else torch.float32
    return torch.empty((groups, kernel_size, kernel_size, kernel_size, channels), dtype=kind, device=x.device)


def _sum_type(x: Tensor) -> Any:
    return tl.float64 if x.dtype == torch.float64 else tl.float32


def _launch(kernel: Any, programs: int, warps: int, *arguments: Any, **sizes: Any) -> None:
    grid: Tuple[int, ...] = (programs,)
    if programs:
        kernel[grid](*arguments, **sizes, num_warps=warps)
