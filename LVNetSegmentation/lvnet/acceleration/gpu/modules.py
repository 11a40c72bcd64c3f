"""LV-Net's layers on a GPU: the same parameters, computed by Triton kernels."""

from __future__ import annotations

from typing import Any, Dict, Type

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from ...network import DepthwiseConv3d, NormalisedConv
from ..folding import fold
from .depthwise import depthwise_conv3d


class TritonDepthwiseConv3d(DepthwiseConv3d):
    """Replaces the plain depth-wise convolution, see :func:`..swapping.swap`; with a bias, ELU follows."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, D, H, W) to the same shape."""
        if x.is_cuda:
            return depthwise_conv3d(x, self.weight, self.bias)
        out = super().forward(x)
        return out if self.bias is None else F.elu(out, inplace=True)


def fold_norms(network: nn.Module) -> None:
    """Folds batch norm into the convolutions, and ELU into the kernels, of a network for inference, in place.

    Half of the passes over the widest tensors are saved.  Weights are replaced, so that a network that shares them
    keeps its own.
    """
    for layers in list(network.modules()):
        if not isinstance(layers, NormalisedConv) or not isinstance(layers[1], nn.BatchNorm3d):
            continue
        convolution: Any = layers[0]
        with_elu = len(layers) > 2
        kernel = isinstance(convolution, TritonDepthwiseConv3d)
        if kernel and not with_elu:
            continue
        weight, bias = (torch.from_numpy(values) for values in fold(layers))
        old = convolution.weight
        convolution.weight = nn.Parameter(torch.empty_like(old).copy_(weight), requires_grad=False)
        convolution.bias = nn.Parameter(bias.to(old.device, old.dtype), requires_grad=False)
        layers[1] = nn.Identity()
        if kernel:
            layers[2] = nn.Identity()


#: See :func:`..swapping.for_training`.
SWAPS: Dict[str, Dict[Type[nn.Module], Type[nn.Module]]] = {
    "Triton kernels": {DepthwiseConv3d: TritonDepthwiseConv3d},
}
