"""V-Net (Milletari et al., 2016), on which LV-Net is based, in the size of the paper's Table 3."""

from __future__ import annotations

from typing import List

import torch
from torch import Tensor, nn


class Stage(nn.Module):
    """5x5x5 convolutions of constant width; the stage's input is added before the last activation.

    Args:
        channels: of input and output.
        convolutions: number of convolutions.
    """

    def __init__(self, channels: int, convolutions: int) -> None:
        super().__init__()
        layers: List[nn.Module] = []
        for _ in range(convolutions):
            layers += [nn.Conv3d(channels, channels, 5, padding=2, bias=False), nn.BatchNorm3d(channels), nn.PReLU()]
        self.convolve = nn.Sequential(*layers[:-1])
        self.activate = layers[-1]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, D, H, W) to the same shape."""
        return self.activate(self.convolve(x) + x)


class VNet(nn.Module):
    """65,173,903 parameters: widths 16-32-64-128-256, strided and transposed 2x2x2 convolutions.

    Args:
        in_channels: channels of the slab.
        classes: number of output classes, including background.
        narrower: divisor of every width.

    Shape:
        Input (N, in_channels, D, H, W), every side a multiple of 16; output: logits (N, classes, D, H, W).
    """

    def __init__(self, in_channels: int = 1, classes: int = 2, narrower: int = 1) -> None:
        super().__init__()
        a, b, c, d, e = (width // narrower for width in (16, 32, 64, 128, 256))
        self.stem = nn.Sequential(nn.Conv3d(in_channels, a, 5, padding=2, bias=False), nn.BatchNorm3d(a), nn.PReLU())
        widths = ((a, b), (b, c), (c, d), (d, e))
        self.down = nn.ModuleList(
            nn.Sequential(nn.Conv3d(i, o, 2, stride=2, bias=False), nn.PReLU()) for i, o in widths
        )
        self.encoder = nn.ModuleList(Stage(o, n) for (_, o), n in zip(widths, (2, 3, 3, 3)))
        # Half of a decoder stage's input is up-sampled from the previous stage, half is the skip connection.
        stages = ((e, e, 3), (e, d, 3), (d, c, 2), (c, b, 1))
        self.up = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose3d(i, o // 2, 2, stride=2, bias=False), nn.PReLU()) for i, o, _ in stages
        )
        self.decoder = nn.ModuleList(Stage(o, n) for _, o, n in stages)
        self.output = nn.Conv3d(b, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        skips = [self.stem(x)]
        for down, stage in zip(self.down, self.encoder):
            skips.append(stage(down(skips[-1])))
        x = skips.pop()
        for up, stage in zip(self.up, self.decoder):
            x = stage(torch.cat([up(x), skips.pop()], dim=1))
        return self.output(x)
