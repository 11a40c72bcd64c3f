"""LV-Net's layers on a GPU: the same parameters, computed by Triton kernels."""

from __future__ import annotations

from typing import Dict, Type

from torch import Tensor, nn

from ...network import DepthwiseConv3d
from .depthwise import depthwise_conv3d


class TritonDepthwiseConv3d(DepthwiseConv3d):
    """Replaces the plain depth-wise convolution, see :func:`..swapping.swap`."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, D, H, W) to the same shape."""
        return depthwise_conv3d(x, self.weight) if x.is_cuda else super().forward(x)


#: See :func:`..swapping.for_training`.
SWAPS: Dict[str, Dict[Type[nn.Module], Type[nn.Module]]] = {
    "Triton kernels": {DepthwiseConv3d: TritonDepthwiseConv3d},
}
