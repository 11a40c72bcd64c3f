"""LV-Net's layers in training on a CPU: the same parameters, computed by Numba kernels where possible.

Each class replaces the plain one that it derives from, see :func:`..swapping.swap`, and falls back to it in cases
that the kernels do not support: evaluation mode, other dtypes, channels that do not fill whole vectors.
"""

from __future__ import annotations

from typing import Any, Dict, Optional, Type

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from ...network import DepthwiseConv3d, DownSampling, IRBBlock, NormalisedConv, PointwiseConv3d, UpSampling
from .depthwise import DepthwiseConv3dFunction, norm_elu_depthwise
from .irb import irb_block, supports
from .norm import batch_norm_elu
from .pooling import Double, Halve


def _trains(x: Tensor, weight: Optional[Tensor] = None) -> bool:
    """Whether the kernels support this tensor: training in float32 on a CPU, with a multiple of 16 channels."""
    return (
        torch.is_grad_enabled()
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and (weight is None or weight.dtype == torch.float32)
        and x.shape[1] % 16 == 0
    )


def _moves(norm: Any, x: Tensor) -> bool:
    """Whether a batch norm takes mean and variance from x, with more than one value per channel."""
    return norm.training and norm.affine and x.numel() > x.shape[1]


class TrainedDepthwiseConv3d(DepthwiseConv3d):
    """A depth-wise convolution whose backward pass is several times faster than PyTorch's."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, D, H, W) to the same shape."""
        if self.weight.requires_grad and self.kernel_size == (5, 5, 5) and _trains(x, self.weight):
            return DepthwiseConv3dFunction.apply(x, self.weight)
        return super().forward(x)


class TrainedPointwiseConv3d(PointwiseConv3d):
    """A 1x1x1 convolution as a matrix product.

    For some sizes PyTorch's own convolution takes a path whose backward pass copies every tensor to another layout.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, D, H, W) to (N, out, D, H, W)."""
        if _trains(x, self.weight) and x.is_contiguous(memory_format=torch.channels_last_3d):
            out = F.linear(x.permute(0, 2, 3, 4, 1), self.weight.flatten(1), self.bias)
            return out.permute(0, 4, 1, 2, 3)
        return super().forward(x)


class TrainedNormalisedConv(NormalisedConv):
    """Batch norm and ELU in one pass over memory."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, D, H, W) to (N, out, D, H, W)."""
        norm: Any = self[1]
        x = self[0](x)
        if _moves(norm, x) and _trains(x, norm.weight):
            return batch_norm_elu(x, norm, elu=len(self) > 2)
        x = norm(x)
        return self[2](x) if len(self) > 2 else x


class TrainedIRBBlock(IRBBlock):
    """An IRB block whose layers share passes over memory, also with batch norm fixed (evaluation mode)."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, D, H, W) to the same shape."""
        norms: Any = [part[1] for part in (self.expand, self.depthwise, self.project)]
        convolutions: Any = [part[0] for part in (self.expand, self.depthwise, self.project)]
        expand, weight, project = (convolution.weight for convolution in convolutions)
        known = (
            weight.requires_grad
            and weight.shape[-3:] == (5, 5, 5)
            and weight.shape[0] % 16 == 0
            and _trains(x, weight)
            and all(norm.affine and norm.running_mean is not None for norm in norms)
        )
        moving = [_moves(norm, x) for norm in norms]
        if known and supports(x.shape[1], weight.shape[0]) and (all(moving) or not any(n.training for n in norms)):
            return irb_block(x, expand, weight, project, norms)
        if known and all(moving):
            return x + self.project(norm_elu_depthwise(convolutions[0](x), norms[0], weight, norms[1]))
        return super().forward(x)


class TrainedDownSampling(DownSampling):
    """Average pooling whose gradient takes one pass over memory."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, D, H, W) to (N, out, D/2, H/2, W/2)."""
        if _trains(x) and not any(side % 2 for side in x.shape[2:]):
            return self.convolve(Halve.apply(x))
        return super().forward(x)


class TrainedUpSampling(UpSampling):
    """Trilinear up-sampling whose gradient takes one pass over memory."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, D, H, W) to (N, out, 2D, 2H, 2W)."""
        x = self.convolve(x)
        return Double.apply(x) if _trains(x) else self.enlarge(x)


#: See :func:`..swapping.for_training`.
SWAPS: Dict[str, Dict[Type[nn.Module], Type[nn.Module]]] = {
    "the Numba kernels for depth-wise convolutions": {
        DepthwiseConv3d: TrainedDepthwiseConv3d,
        IRBBlock: TrainedIRBBlock,
    },
    "point-wise convolutions as products of matrices": {PointwiseConv3d: TrainedPointwiseConv3d},
    "the Numba kernels for batch norm": {NormalisedConv: TrainedNormalisedConv},
    "the Numba kernels for pooling": {DownSampling: TrainedDownSampling},
    "the Numba kernels for up-sampling": {UpSampling: TrainedUpSampling},
}
