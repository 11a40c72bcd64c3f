"""The layers between the IRB blocks at inference on a CPU, with the kernels of :mod:`..kernels.numba_stages`."""

from __future__ import annotations

from typing import Dict, Tuple

import numpy as np
import torch
from torch import Tensor

from ..folding import FoldedNetwork, Linear
from ..kernels.catalogue import stage_kernels
from ..kernels.processor import register_lanes
from ..layout.memory import in_order, laid_out, voxel_bytes
from ..layout.winograd import OUTPUTS, POINT_OF_BIAS, POINTS, transform_weights
from ..layout.workspace import STEM_COLUMNS, stem_padding
from ..threads import run_parts
from .network import TorchStages

#: The kernels write whole cache lines past the caches.
_ALIGNED = 64


class FusedStages(TorchStages):
    """A faster :class:`TorchStages`, which still computes what the kernels do not support.

    Args:
        folded: the weights.
        lanes: channels per vector; 0 takes the number that fills a vector register.
    """

    def __init__(self, folded: FoldedNetwork, lanes: int = 0) -> None:
        super().__init__(folded)
        self.lanes = lanes or register_lanes()
        self.kernels = stage_kernels(self.lanes)
        weight = folded.stem[0]
        # Weights laid out for the kernels, by the id() of the original; `folded` keeps the originals alive.
        self.folded = folded
        self.matrices: Dict[int, Tuple[np.ndarray, np.ndarray]] = {}
        self.channels = len(weight)
        self.plain_stem = weight.shape[1:] != (1, 5, 5, 5) or weight.shape[0] % self.lanes
        if not self.plain_stem:
            taps = transform_weights(np.moveaxis(weight[:, 0], 2, 3))  # point, channel, kz, kx
            taps = taps.reshape(POINTS, -1, self.lanes, 25).transpose(1, 0, 3, 2)
            start = np.zeros((len(taps), POINTS, self.lanes))
            start[:, POINT_OF_BIAS] = folded.stem[1].reshape(-1, self.lanes)
            self.taps, self.start = laid_out(taps), laid_out(start)

    def stem(self, x: Tensor, threads: int) -> Tensor:
        """Convolution and ELU of (channels, D, H, W)."""
        _, slices, height, width = x.shape
        if self.plain_stem or width < STEM_COLUMNS:
            return super().stem(x, threads)
        # NumPy pads: PyTorch's threads would busy-wait afterwards and take CPU time from ours.
        padded = np.pad(x[0].numpy(), stem_padding(height, width))
        out = torch.empty((slices, height, width, self.channels))
        fours = slices * -(-height // OUTPUTS)
        run_parts(self.kernels.stem, fours, threads, padded.ctypes.data, *padded.shape[1:], height, width,
                  self.channels, self.taps.ctypes.data, self.start.ctypes.data, out.data_ptr(),
                  voxel_bytes(out))  # fmt: skip
        return out

    def halve(self, x: Tensor, threads: int) -> Tensor:
        """Mean over 2 x 2 x 2 voxels."""
        x = in_order(x)
        slices, height, width, channels = (s // 2 for s in x.shape)
        out = torch.empty((slices, height, width, 2 * channels))
        run_parts(self.kernels.halve, slices * height, threads, x.data_ptr(), voxel_bytes(x), height, width,
                  2 * channels, out.data_ptr(), voxel_bytes(out))  # fmt: skip
        return out

    def double(self, x: Tensor, out: Tensor, threads: int) -> None:
        """Trilinear up-sampling by two into `out`."""
        if out.data_ptr() % _ALIGNED or voxel_bytes(out) % _ALIGNED:
            super().double(x, out, threads)
            return
        x = in_order(x)
        slices, height, width, channels = x.shape
        run_parts(self.kernels.double, 4 * slices * height, threads, x.data_ptr(), voxel_bytes(x), slices, height,
                  width, channels, out.data_ptr(), voxel_bytes(out))  # fmt: skip

    def pointwise(self, x: Tensor, linear: Linear, threads: int) -> Tensor:
        """A 1x1x1 convolution with its bias, and ELU."""
        x = x.contiguous()
        weight, bias = self.matrices.setdefault(id(linear), (laid_out(linear[0].T), laid_out(linear[1])))
        channels, results = weight.shape
        out = torch.empty((*x.shape[:3], results))
        run_parts(self.kernels.pointwise, x.shape[0] * x.shape[1], threads, x.data_ptr(), x.shape[2], channels,
                  weight.ctypes.data, bias.ctypes.data, results, out.data_ptr())  # fmt: skip
        return out
