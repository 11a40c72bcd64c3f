"""An IRB block at inference on a CPU: lays out its weights for the kernels and distributes tiles over threads."""

from __future__ import annotations

import time
from typing import Optional, Tuple

import numpy as np
import torch
from torch import Tensor

from ..folding import FoldedIRB, FoldedNetwork
from ..kernels.catalogue import irb_kernels
from ..kernels.processor import register_lanes
from ..layout.memory import aligned, in_order, laid_out, voxel_bytes
from ..layout.winograd import transform_weights
from ..layout.workspace import ABREAST, LOG2_E, gang_size
from ..threads import run_jobs
from .tiling import SecondsOf, Tiling, tiling


class FusedIRB:
    """One IRB block, batch norm folded.

    Args:
        block: its weights; the kernel size is 5.
        lanes: channels per group; 0 takes the number that fills a vector register.
        division: of the block; None takes what is fastest on this processor.
    """

    def __init__(self, block: FoldedIRB, lanes: int = 0, division: Optional[Tiling] = None) -> None:
        lanes = lanes or register_lanes()
        if not fits(block, lanes):
            raise ValueError(f"a block of {block.expand[0].shape} does not fit vectors of {lanes}")
        self.lanes, self.division = lanes, division or tiling(lanes, measurement)
        wide, self.channels = block.expand[0].shape
        self.kernels, self.groups, self.results = irb_kernels(lanes), wide // lanes, len(block.project[1])
        # The kernels compute log2(e) ELU(x / log2(e)): the layers before and after absorb the factors.
        expand = (LOG2_E * block.expand[0]).reshape(-1, ABREAST * lanes, self.channels)
        self.expand, self.expand_bias = laid_out(expand.transpose(0, 2, 1)), laid_out(LOG2_E * block.expand[1])
        taps = transform_weights(block.depthwise[0])  # point, channel, kz, ky
        taps = taps.reshape(len(taps), self.groups, lanes, 5, 5).transpose(1, 0, 4, 3, 2)
        self.depthwise = laid_out(taps)  # group, point, ky, kz, channel
        self.depthwise_bias = laid_out(LOG2_E * block.depthwise[1])
        project = block.project[0] / LOG2_E
        if block.residual is None:
            self.project, self.residual = laid_out(project.T), None
        else:
            self.project, self.residual = laid_out(project), laid_out(block.residual)
        self.project_bias = laid_out(block.project[1])
        self.zeros = laid_out(np.zeros(lanes))

    def __call__(self, x: Tensor, out: Tensor, threads: int) -> None:
        """Computes the block.

        Args:
            x: (D, H, W, C) float32.
            out: receives the result; contiguous channels, a constant stride between voxels, no memory
                shared with `x`.
            threads: how many to use.
        """
        x = in_order(x)
        slices, height, width, _ = x.shape
        rows, columns = _tile_size(height, width, self.division.columns, threads)
        places = [(top, left) for top in range(0, height, rows) for left in range(0, width, columns)]
        gang = gang_size(self.lanes, self.groups, slices, columns, self.division.kept_bytes)
        size = self.kernels.workspace(gang, slices, self.channels, self.results, rows, columns)
        spare = [aligned((size,)) for _ in range(max(1, threads))]

        def compute(place: Tuple[int, int]) -> None:
            top, left = place
            work = spare.pop()
            self.kernels.tile(
                x.data_ptr(), voxel_bytes(x), out.data_ptr(), voxel_bytes(out), slices, height, width,
                self.channels, self.results, self.groups, gang, self.expand.ctypes.data,
                self.expand_bias.ctypes.data, self.depthwise.ctypes.data, self.depthwise_bias.ctypes.data,
                self.zeros.ctypes.data, self.project.ctypes.data, self.project_bias.ctypes.data,
                0 if self.residual is None else self.residual.ctypes.data,
                top, min(rows, height - top), left, min(columns, width - left), work.ctypes.data,
            )  # fmt: skip
            spare.append(work)

        run_jobs(places, compute, threads)


def fits(block: FoldedIRB, lanes: int = 0) -> bool:
    """Whether the kernels support a block's kernel size and numbers of channels."""
    lanes = lanes or register_lanes()
    wide, channels = block.expand[0].shape
    return block.depthwise[0].shape[1:] == (5, 5, 5) and wide % (ABREAST * lanes) == 0 and channels % lanes == 0


def network_fits(folded: FoldedNetwork, lanes: int = 0) -> bool:
    """Whether the kernels support every block of a network; an unsupported stem is computed by PyTorch."""
    lanes = lanes or register_lanes()
    widths = [len(bias) for _, bias in (*folded.down, *folded.up, folded.stem)]
    return all(width % lanes == 0 for width in widths) and all(
        fits(block, lanes) for block in (*folded.encoder, *folded.decoder)
    )


def measurement(lanes: int) -> SecondsOf:
    """For :func:`.tiling.tiling`: returns the seconds of one thread for a part of the network's widest block."""
    random = np.random.default_rng(0)
    channels, wide = 32, 128
    block = FoldedIRB(
        expand=(random.normal(size=(wide, channels)), random.normal(size=wide)),
        depthwise=(random.normal(size=(wide, 5, 5, 5)) / 50, random.normal(size=wide)),
        project=(random.normal(size=(channels, wide)) / 10, random.normal(size=channels)),
        residual=None,
    )
    x = torch.from_numpy(random.normal(size=(16, 64, 64, channels)).astype(np.float32))
    out = torch.empty_like(x)

    def seconds(choice: Tiling) -> float:
        fused = FusedIRB(block, lanes, choice)
        began = time.perf_counter()
        fused(x, out, 1)
        return time.perf_counter() - began

    return seconds


def _tile_size(height: int, width: int, columns: int, threads: int) -> Tuple[int, int]:
    """Rows and columns of a tile: the more rows, the less is computed twice, but every thread must have tiles."""
    for rows in (64, 32, 16):
        if -(-height // rows) * -(-width // columns) >= 4 * threads:
            return rows, columns
    return 8, columns
