"""CE-Net (Gu et al., 2019) for single slices: ResNet-34, dense atrous block, multi-kernel pooling.

The original's encoder is pre-trained on photographs (ImageNet).  This one has random initial weights: nothing is
downloaded.
"""

from __future__ import annotations

from typing import List

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class StridedPointwise(nn.Conv2d):
    """A 1x1 convolution with a stride, which takes the pixels that it needs before it convolves.

    On processors without AVX-512, PyTorch 2.13 (oneDNN 3.12) writes outside its memory in the gradient of
    `nn.Conv2d(4, 8, 1, stride=2)` in channels-last order, which ends the process.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H / stride, W / stride)."""
        down, right = self.stride
        return F.conv2d(x[..., ::down, ::right], self.weight, self.bias)


def convolution(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Sequential:
    """A convolution without bias, and batch norm."""
    kind = StridedPointwise if kernel_size == 1 and stride > 1 else nn.Conv2d
    return nn.Sequential(
        kind(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_channels),
    )


class BasicBlock(nn.Module):
    """ResNet's block: two 3x3 convolutions with a shortcut connection."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.convolve = nn.Sequential(
            convolution(in_channels, out_channels, 3, stride),
            nn.ReLU(inplace=True),
            convolution(out_channels, out_channels, 3),
        )
        same = stride == 1 and in_channels == out_channels
        self.shortcut = nn.Identity() if same else convolution(in_channels, out_channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H / stride, W / stride)."""
        return F.relu(self.convolve(x) + self.shortcut(x), inplace=True)


class DenseAtrousConvolution(nn.Module):
    """Sums four cascades of atrous convolutions, whose fields of view are 3, 7, 9 and 19 pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # All cascades share one set of weights, as in the original.
        self.atrous = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=d, dilation=d) for d in (1, 3, 5))
        self.merge = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        narrow, middle, wide = self.atrous
        branches = (
            narrow(x),
            self.merge(middle(x)),
            self.merge(middle(narrow(x))),
            self.merge(wide(middle(narrow(x)))),
        )
        for branch in branches:
            x = x + F.relu(branch)
        return x


class ResidualMultiKernelPooling(nn.Module):
    """Adds four channels, one for each pooling size: 2, 3, 5 and 6 pixels."""

    sizes = (2, 3, 5, 6)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolve = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C + 4, H, W)."""
        side = x.shape[2:]
        pooled = [
            F.interpolate(self.convolve(F.max_pool2d(x, size)), size=side, mode="bilinear", align_corners=False)
            # No larger than the feature map, which has fewer than six pixels for slices of less than 192 pixels.
            for size in ([min(wanted, n) for n in side] for wanted in self.sizes)
        ]
        return torch.cat([*pooled, x], dim=1)


class DecoderBlock(nn.Module):
    """1x1 convolution to a quarter, transposed 3x3 convolution by two, 1x1 convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        quarter = in_channels // 4
        layers: List[nn.Module] = []
        for module, channels in (
            (nn.Conv2d(in_channels, quarter, 1), quarter),
            (nn.ConvTranspose2d(quarter, quarter, 3, stride=2, padding=1, output_padding=1), quarter),
            (nn.Conv2d(quarter, out_channels, 1), out_channels),
        ):
            layers += [module, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, 2H, 2W)."""
        return self.layers(x)


class CENet(nn.Module):
    """29,003,382 parameters with two classes; the closest match to the paper's 29,003,668.

    Args:
        in_channels: channels of the slice.  ResNet takes three; a single channel is repeated three times.
        classes: number of output classes, including background.
        narrower: divisor of every width.

    Shape:
        Input (N, in_channels, H, W), sides multiples of 32; below 192 the larger poolings cover the whole feature map.
        Output: logits (N, classes, H, W).
    """

    def __init__(self, in_channels: int = 1, classes: int = 2, narrower: int = 1) -> None:
        super().__init__()
        self.in_channels = in_channels
        a, b, c, d = (width // narrower for width in (64, 128, 256, 512))
        self.stem = nn.Sequential(convolution(max(3, in_channels), a, 7, stride=2), nn.ReLU(inplace=True))
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.encoder = nn.ModuleList(
            nn.Sequential(BasicBlock(i, o, stride), *(BasicBlock(o, o, 1) for _ in range(n - 1)))
            for i, o, n, stride in ((a, a, 3, 1), (a, b, 4, 2), (b, c, 6, 2), (c, d, 3, 2))
        )
        self.context = nn.Sequential(DenseAtrousConvolution(d), ResidualMultiKernelPooling(d))
        self.decoder = nn.ModuleList(DecoderBlock(i, o) for i, o in ((d + 4, c), (c, b), (b, a), (a, a)))
        self.output = nn.Sequential(
            nn.ConvTranspose2d(a, a // 2, 4, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(a // 2, a // 2, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(a // 2, classes, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        if self.in_channels == 1:
            x = x.expand(-1, 3, -1, -1)
        x = self.pool(self.stem(x))
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        x = self.context(skips.pop())
        for block in self.decoder[:-1]:
            x = block(x) + skips.pop()
        return self.output(self.decoder[-1](x))
