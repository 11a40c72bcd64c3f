"""Ablations: LV-Net without one of the paper's ideas, to measure what each contributes.

Backbone, stem, skip connections and heads are those of :class:`.network.LVNet`.
"""

from __future__ import annotations

from typing import List

from torch import Tensor, nn

from .network import LVNet, NormalisedConv
from .recipe import Architecture


class VanillaBlock(nn.Module):
    """The block that an IRB replaces: k x k x k convolution C to C, batch norm and ELU, plus the input.

    Args:
        channels: C, in and out.
        kernel_size: k.
    """

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.convolve = nn.Sequential(
            nn.Conv3d(channels, channels, kernel_size, padding=kernel_size // 2, bias=False),
            nn.BatchNorm3d(channels),
            nn.ELU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, D, H, W) to the same shape."""
        return x + self.convolve(x)


def strided(in_channels: int, out_channels: int) -> NormalisedConv:
    """V-Net's down-sampling, 16 C^2 weights for C to 2C: (N, in, D, H, W) to (N, out, D/2, H/2, W/2)."""
    return NormalisedConv(nn.Conv3d(in_channels, out_channels, 2, stride=2, bias=False))


class TransposedUp(nn.Sequential):
    """V-Net's up-sampling, 4 C^2 weights for C to C/2: (N, in, D, H, W) to (N, out, 2D, 2H, 2W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        layers: List[nn.Module] = [
            nn.ConvTranspose3d(in_channels, out_channels, 2, stride=2, bias=False),
            nn.BatchNorm3d(out_channels),
            nn.ELU(inplace=True),
        ]
        super().__init__(*layers)


class VariantLVNet(LVNet):
    """LV-Net with the block, the down-sampling or the up-sampling that its architecture names."""

    def __init__(self, architecture: Architecture, deep_supervision: bool = False) -> None:
        super().__init__(architecture, deep_supervision)
        a, widths = architecture, architecture.widths
        skips = widths[-2::-1]
        if a.block == "vanilla":
            self.encoder = nn.ModuleList(VanillaBlock(w, a.kernel_size) for w in widths)
            self.decoder = nn.ModuleList(VanillaBlock(2 * w, a.kernel_size) for w in skips)
        if a.down == "strided":
            self.down = nn.ModuleList(strided(i, o) for i, o in zip(widths[:-1], widths[1:]))
        if a.up == "transposed":
            inputs = (widths[-1], *(2 * w for w in skips[:-1]))
            self.up = nn.ModuleList(TransposedUp(i, o) for i, o in zip(inputs, skips))
