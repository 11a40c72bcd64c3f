"""3D U-Net (Cicek et al., 2016) for slabs, in the size of the paper's Table 3.

The sizes of the feature maps follow from the table's operations, 1,032.80 G: with a pooling that pads by one voxel, so
that 16 x 256 x 256 becomes 9 x 129 x 129, they agree within 0.04 %; without it, they are 8 % too low.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


def convolution(in_channels: int, out_channels: int) -> nn.Sequential:
    """3x3x3 convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv3d(in_channels, out_channels, 3, padding=1), nn.BatchNorm3d(out_channels), nn.ReLU(inplace=True)
    )


def encoder_stage(in_channels: int, out_channels: int) -> nn.Sequential:
    """Two convolutions; the first has half of the new feature maps, as in the original."""
    return nn.Sequential(convolution(in_channels, out_channels // 2), convolution(out_channels // 2, out_channels))


def decoder_stage(in_channels: int, out_channels: int) -> nn.Sequential:
    """Two convolutions to the width of the skip."""
    return nn.Sequential(convolution(in_channels, out_channels), convolution(out_channels, out_channels))


class UNet3D(nn.Module):
    """16,320,322 parameters: widths 64-128-256-512, up-sampling without weights.

    Args:
        in_channels: channels of the slab.
        classes: number of output classes, including background.
        narrower: divisor of every width.

    Shape:
        Input (N, in_channels, D, H, W), any size; output: logits (N, classes, D, H, W).
    """

    def __init__(self, in_channels: int = 1, classes: int = 2, narrower: int = 1) -> None:
        super().__init__()
        a, b, c, d = (width // narrower for width in (64, 128, 256, 512))
        self.encoder = nn.ModuleList(encoder_stage(i, o) for i, o in ((in_channels, a), (a, b), (b, c), (c, d)))
        self.pool = nn.MaxPool3d(2, padding=1)
        self.decoder = nn.ModuleList(decoder_stage(i, o) for i, o in ((d + c, c), (c + b, b), (b + a, a)))
        self.output = nn.Conv3d(a, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        skips = [self.encoder[0](x)]
        for stage in self.encoder[1:]:
            skips.append(stage(self.pool(skips[-1])))
        x = skips.pop()
        for stage in self.decoder:
            skip = skips.pop()
            x = stage(torch.cat([skip, F.interpolate(x, size=skip.shape[2:], mode="nearest")], dim=1))
        return self.output(x)
