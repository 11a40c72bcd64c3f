"""Applying a 2D network to slabs."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Planar(nn.Module):
    """A 2D network that takes slabs and processes each slice separately.

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
        # In training, batch norm needs all slices at once; otherwise they need not be in memory together.
        logits = self.network(slices) if self.training else torch.cat([self.network(s) for s in slices.split(4)])
        return logits.reshape(n, depth, -1, height, width).transpose(1, 2)
