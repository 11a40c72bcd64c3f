"""A network of slices where slabs are wanted."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Planar(nn.Module):
    """A network of slices that takes slabs: every slice by itself.

    Args:
        network: takes (N, C, H, W) to (N, classes, H, W).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, D, H, W) to (N, classes, D, H, W)."""
        n, channels, depth, height, width = x.shape
        slices = x.transpose(1, 2).reshape(n * depth, channels, height, width)
        # In training batch norm sees all slices at once; otherwise they need not lie in memory together.
        logits = self.network(slices) if self.training else torch.cat([self.network(s) for s in slices.split(4)])
        return logits.reshape(n, depth, -1, height, width).transpose(1, 2)
