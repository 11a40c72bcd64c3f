"""LV-Net: V-Net's skeleton with one inverted residual bottleneck (IRB) block a stage.

Tensors are (N, C, D, H, W).  The paper's figure with the layer list is not available; this is the
reading of its text that reproduces the numbers of its Table 3 best (see docs/method.md).
"""

from __future__ import annotations

from typing import List, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .errors import GeometryError
from .recipe import Architecture

#: eta_1 to eta_4 of the paper's Eq. 3: the weights of the auxiliary losses, from the coarsest
#: decoder stage (2x32x32 of a 16x256x256 slab) to the finest (full size).
DEEP_SUPERVISION_WEIGHTS = (0.2, 0.4, 0.6, 0.8)


class DepthwiseConv3d(nn.Conv3d):
    """Depth-wise: a k x k x k convolution of every channel by itself, without bias, size kept."""

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels, bias=False)


class PointwiseConv3d(nn.Conv3d):
    """Point-wise: a 1x1x1 convolution."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 1, bias=bias)


class NormalisedConv(nn.Sequential):
    """A convolution without bias, batch norm, and ELU unless `activation` is off."""

    def __init__(self, convolution: nn.Conv3d, activation: bool = True) -> None:
        layers: List[nn.Module] = [convolution, nn.BatchNorm3d(convolution.out_channels)]
        super().__init__(*layers, *([nn.ELU(inplace=True)] if activation else []))


def pointwise(in_channels: int, out_channels: int, activation: bool = True) -> NormalisedConv:
    """A 1x1x1 convolution without bias, batch norm, and ELU unless `activation` is off."""
    return NormalisedConv(PointwiseConv3d(in_channels, out_channels, bias=False), activation)


class IRBBlock(nn.Module):
    """Inverted residual bottleneck: expand, depth-wise convolve, project, add the input.

    Convolution weights: k^3 C eps + 2 C^2 eps (the paper's count; C = 64, k = 5, eps = 4 gives
    64,768, which is 12.65 % of a vanilla 5x5x5 layer's 512,000).  Batch norm follows every
    convolution, ELU the first two; nothing follows the sum.

    Args:
        channels: C, in and out.
        expansion: eps, how many times wider the depth-wise convolution is.
        kernel_size: k of the depth-wise convolution.
    """

    def __init__(self, channels: int, expansion: int = 4, kernel_size: int = 5) -> None:
        super().__init__()
        wide = channels * expansion
        self.expand = pointwise(channels, wide)
        self.depthwise = NormalisedConv(DepthwiseConv3d(wide, kernel_size))
        self.project = pointwise(wide, channels, activation=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, D, H, W) to the same shape."""
        return x + self.project(self.depthwise(self.expand(x)))


class DownSampling(nn.Module):
    """Average pooling by two, then a 1x1x1 convolution: 2 C^2 weights for C to 2C (V-Net: 16 C^2)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool3d(2)
        self.convolve = pointwise(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, D, H, W) to (N, out, D/2, H/2, W/2)."""
        return self.convolve(self.pool(x))


class UpSampling(nn.Module):
    """A 1x1x1 convolution, then trilinear x2: C^2/2 weights for C to C/2 (V-Net: 4 C^2)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolve = pointwise(in_channels, out_channels)
        self.enlarge = nn.Upsample(scale_factor=2, mode="trilinear", align_corners=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, D, H, W) to (N, out, 2D, 2H, 2W)."""
        return self.enlarge(self.convolve(x))


class DeepSupervisionHead(nn.Module):
    """Auxiliary output of one decoder stage: 1x1x1 convolution, then trilinear to full size."""

    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__()
        self.convolve = PointwiseConv3d(in_channels, classes)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """(N, C, d, h, w) to logits (N, classes, *size)."""
        logits = self.convolve(x)
        if tuple(logits.shape[2:]) == tuple(size):
            return logits
        return F.interpolate(logits, size=tuple(size), mode="trilinear", align_corners=False)


class LVNet(nn.Module):
    """The lightweight V-Net.

    Args:
        architecture: channels, classes, widths, eps and k; the default is the paper's network
            with 1,663,026 parameters.
        deep_supervision: also build the auxiliary heads, which only training uses and which the
            parameter count leaves out.

    Shape:
        Input (N, in_channels, D, H, W) with D, H and W divisible by `architecture.divisor`.
        Output: logits (N, classes, D, H, W); in training mode with deep supervision a pair of
        these and a list of auxiliary logits of the same shape, ordered from the coarsest decoder
        stage to the finest, as :data:`DEEP_SUPERVISION_WEIGHTS` is.

    Raises:
        GeometryError: a side of the slab cannot be halved often enough, or the channels differ.
    """

    def __init__(self, architecture: Optional[Architecture] = None, deep_supervision: bool = False) -> None:
        super().__init__()
        self.architecture = a = architecture or Architecture()
        widths = a.widths

        def block(channels: int) -> IRBBlock:
            return IRBBlock(channels, a.expansion, a.kernel_size)

        self.stem = NormalisedConv(
            nn.Conv3d(a.in_channels, widths[0], a.kernel_size, padding=a.kernel_size // 2, bias=False)
        )
        self.encoder = nn.ModuleList(block(w) for w in widths)
        self.down = nn.ModuleList(DownSampling(i, o) for i, o in zip(widths[:-1], widths[1:]))
        # From the bottom up; a decoder stage is twice as wide as the skip that it takes in.
        skips = widths[-2::-1]
        inputs = (widths[-1], *(2 * w for w in skips[:-1]))
        self.up = nn.ModuleList(UpSampling(i, o) for i, o in zip(inputs, skips))
        self.decoder = nn.ModuleList(block(2 * w) for w in skips)
        self.output = PointwiseConv3d(2 * widths[0], a.classes)
        self.heads = nn.ModuleList(DeepSupervisionHead(2 * w, a.classes) for w in skips) if deep_supervision else None

    def forward(self, x: Tensor) -> Union[Tensor, Tuple[Tensor, List[Tensor]]]:
        """See the class."""
        self._check(x)
        size = x.shape[2:]
        x = self.encoder[0](self.stem(x))
        skips = []
        for down, block in zip(self.down, self.encoder[1:]):
            skips.append(x)
            x = block(down(x))
        auxiliary = []
        for index, (up, block) in enumerate(zip(self.up, self.decoder)):
            x = block(torch.cat([up(x), skips.pop()], dim=1))
            if self.training and self.heads is not None:
                auxiliary.append(self.heads[index](x, size))
        logits = self.output(x)
        return (logits, auxiliary) if auxiliary else logits

    def _check(self, x: Tensor) -> None:
        a = self.architecture
        if x.ndim != 5 or x.shape[1] != a.in_channels:
            raise GeometryError(f"the network takes (N, {a.in_channels}, D, H, W), not {tuple(x.shape)}")
        if any(side % a.divisor or side == 0 for side in x.shape[2:]):
            raise GeometryError(
                f"every side of a slab must be a multiple of {a.divisor} for {len(a.widths)} stages,"
                f" not {tuple(x.shape[2:])}"
            )
