"""U-Net (Ronneberger et al., 2015) for single slices, in the size of the paper's Table 3."""

from __future__ import annotations

from typing import List

import torch
from torch import Tensor, nn


def double_convolution(in_channels: int, out_channels: int) -> nn.Sequential:
    """Twice: 3x3 convolution, batch norm, ReLU."""
    layers: List[nn.Module] = []
    for channels in (in_channels, out_channels):
        layers += [
            nn.Conv2d(channels, out_channels, 3, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """13,394,242 parameters: widths 64-128-256-512-512, bilinear up-sampling.

    Args:
        in_channels: channels of the slice.
        classes: number of output classes, including background.
        narrower: divisor of every width.

    Shape:
        Input (N, in_channels, H, W) with H and W multiples of 16; output: logits (N, classes, H, W).
    """

    def __init__(self, in_channels: int = 1, classes: int = 2, narrower: int = 1) -> None:
        super().__init__()
        first = 64 // narrower
        self.enter = double_convolution(in_channels, first)
        self.down = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(2), double_convolution(i * first, o * first))
            for i, o in ((1, 2), (2, 4), (4, 8), (8, 8))
        )
        self.enlarge = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        # Each takes the skip connection and the up-sampled features, both of the skip's width.
        widths = ((16, 4), (8, 2), (4, 1), (2, 1))
        self.up = nn.ModuleList(double_convolution(i * first, o * first) for i, o in widths)
        self.output = nn.Conv2d(first, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        skips = [self.enter(x)]
        for down in self.down:
            skips.append(down(skips[-1]))
        x = skips.pop()
        for up in self.up:
            x = up(torch.cat([skips.pop(), self.enlarge(x)], dim=1))
        return self.output(x)
