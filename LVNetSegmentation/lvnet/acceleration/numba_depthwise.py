"""Numba kernels of the depth-wise 5x5x5 convolution, for training on a CPU.

Stock PyTorch spends about ten times its forward time in the backward pass of a depth-wise
3D convolution on a CPU.  These kernels run the forward pass, the gradient to the input (again
a depth-wise convolution, with the kernel flipped) and the gradient to the weights near the
speed of the vector units.  All arrays are channels-last: (N, D, H, W, C), float32, C-contiguous,
zero padding of 2, stride 1.

The loops are written for the vectoriser: the innermost loop runs over channels (unit stride),
four neighbouring voxels and the five taps along x are unrolled by hand, so that one accumulator
load and store is shared by twenty multiply-adds.

Importing this module needs Numba; :mod:`lvnet.acceleration` imports it lazily.
"""

from __future__ import annotations

import numba
import numpy as np

KERNEL_SIZE = 5
_RADIUS = 2
# Elements of one output piece that stay in the first-level cache while all 25 rows pass by.
_PIECE = 4096


@numba.njit(inline="always")
def _edge_taps(row, taps, out, x, width, channels):
    """Adds the five taps along x to one output voxel, leaving out those beyond the border."""
    for kx in range(5):
        xx = x + kx - _RADIUS
        if 0 <= xx < width:
            for c in range(channels):
                out[x, c] += row[xx, c] * taps[kx, c]


@numba.njit(parallel=True, fastmath=True, nogil=True)
def _forward(x, weight, out):
    batch, depth, height, width, channels = x.shape
    piece = max(4, _PIECE // channels // 4 * 4)
    for index in numba.prange(batch * depth * height):
        n = index // (depth * height)
        z = index // height % depth
        y = index % height
        target = out[n, z, y]
        for start in range(0, width, piece):
            stop = min(width, start + piece)
            target[start:stop] = 0.0
            for kz in range(5):
                zz = z + kz - _RADIUS
                if zz < 0 or zz >= depth:
                    continue
                for ky in range(5):
                    yy = y + ky - _RADIUS
                    if yy < 0 or yy >= height:
                        continue
                    row = x[n, zz, yy]
                    taps = weight[kz, ky]
                    i = start
                    while i < stop:
                        if i >= _RADIUS and i + 4 <= stop and i + 6 <= width:
                            for c in range(channels):
                                w0 = taps[0, c]
                                w1 = taps[1, c]
                                w2 = taps[2, c]
                                w3 = taps[3, c]
                                w4 = taps[4, c]
                                a2 = row[i, c]
                                a3 = row[i + 1, c]
                                a4 = row[i + 2, c]
                                a5 = row[i + 3, c]
                                target[i, c] += (
                                    w0 * row[i - 2, c] + w1 * row[i - 1, c] + w2 * a2 + w3 * a3 + w4 * a4
                                )
                                target[i + 1, c] += (
                                    w0 * row[i - 1, c] + w1 * a2 + w2 * a3 + w3 * a4 + w4 * a5
                                )
                                target[i + 2, c] += (
                                    w0 * a2 + w1 * a3 + w2 * a4 + w3 * a5 + w4 * row[i + 4, c]
                                )
                                target[i + 3, c] += (
                                    w0 * a3 + w1 * a4 + w2 * a5 + w3 * row[i + 4, c] + w4 * row[i + 5, c]
                                )
                            i += 4
                        else:
                            _edge_taps(row, taps, target, i, width, channels)
                            i += 1


@numba.njit(parallel=True, fastmath=True, nogil=True)
def _weight_gradient(x, gradient, partial):
    batch, depth, height, width, channels = x.shape
    parts = partial.shape[0]
    rows = batch * depth * height
    piece = max(4, _PIECE // channels // 4 * 4)
    for part in numba.prange(parts):
        sums = partial[part]
        for index in range(part * rows // parts, (part + 1) * rows // parts):
            n = index // (depth * height)
            z = index // height % depth
            y = index % height
            g = gradient[n, z, y]
            for start in range(0, width, piece):
                stop = min(width, start + piece)
                for kz in range(5):
                    zz = z + kz - _RADIUS
                    if zz < 0 or zz >= depth:
                        continue
                    for ky in range(5):
                        yy = y + ky - _RADIUS
                        if yy < 0 or yy >= height:
                            continue
                        row = x[n, zz, yy]
                        s = sums[kz, ky]
                        i = start
                        while i < stop:
                            if i >= _RADIUS and i + 4 <= stop and i + 6 <= width:
                                for c in range(channels):
                                    g0 = g[i, c]
                                    g1 = g[i + 1, c]
                                    g2 = g[i + 2, c]
                                    g3 = g[i + 3, c]
                                    a1 = row[i - 1, c]
                                    a2 = row[i, c]
                                    a3 = row[i + 1, c]
                                    a4 = row[i + 2, c]
                                    a5 = row[i + 3, c]
                                    a6 = row[i + 4, c]
                                    s[0, c] += g0 * row[i - 2, c] + g1 * a1 + g2 * a2 + g3 * a3
                                    s[1, c] += g0 * a1 + g1 * a2 + g2 * a3 + g3 * a4
                                    s[2, c] += g0 * a2 + g1 * a3 + g2 * a4 + g3 * a5
                                    s[3, c] += g0 * a3 + g1 * a4 + g2 * a5 + g3 * a6
                                    s[4, c] += g0 * a4 + g1 * a5 + g2 * a6 + g3 * row[i + 5, c]
                                i += 4
                            else:
                                for kx in range(5):
                                    xx = i + kx - _RADIUS
                                    if 0 <= xx < width:
                                        for c in range(channels):
                                            s[kx, c] += g[i, c] * row[xx, c]
                                i += 1


def forward(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Depth-wise correlation with zero padding.

    Args:
        x: (N, D, H, W, C) float32, C-contiguous.
        weight: (5, 5, 5, C) float32, C-contiguous.

    Returns:
        (N, D, H, W, C) float32.
    """
    out = np.empty_like(x)
    _forward(x, weight, out)
    return out


def input_gradient(gradient: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Gradient to the input: the same correlation with the kernel flipped along z, y and x."""
    return forward(gradient, np.ascontiguousarray(weight[::-1, ::-1, ::-1]))


def weight_gradient(x: np.ndarray, gradient: np.ndarray, threads: int) -> np.ndarray:
    """Gradient to the weights, (5, 5, 5, C) float32, summed over batch and space.

    The rows are split into `threads` parts of their own sums, so that the result depends on the
    number of threads but not on their timing.
    """
    channels = x.shape[-1]
    partial = np.zeros((max(1, threads), KERNEL_SIZE, KERNEL_SIZE, KERNEL_SIZE, channels), np.float32)
    _weight_gradient(x, gradient, partial)
    return partial.sum(axis=0)
