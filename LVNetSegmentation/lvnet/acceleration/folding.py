"""Folds batch norm into the preceding convolutions, for inference."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, List, Optional, Tuple

import numpy as np
import torch

if TYPE_CHECKING:
    from ..network import LVNet

#: A weight and its bias, float64.
Linear = Tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class FoldedIRB:
    """An IRB block.

    Attributes:
        expand: (wide, C) and (wide,).
        depthwise: (wide, k, k, k) and (wide,).
        project: (out, wide) and (out,); out is C, unless another 1x1x1 convolution was merged in.
        residual: (out, C), the matrix that multiplies the input before it is added; None adds the input itself.
    """

    expand: Linear
    depthwise: Linear
    project: Linear
    residual: Optional[np.ndarray] = None

    def followed_by(self, linear: Linear) -> FoldedIRB:
        """This block merged with the 1x1x1 convolution after it: a product of two matrices is one matrix."""
        weight, bias = linear
        project = weight @ self.project[0], weight @ self.project[1] + bias
        return replace(self, project=project, residual=weight)


@dataclass(frozen=True, eq=False)
class FoldedNetwork:
    """All of LV-Net except its auxiliary heads.

    Attributes:
        stem: (width, in_channels, k, k, k) and bias.
        encoder: blocks from the finest stage to the bottom.
        down: (out, in) and bias of each down-sampling stage.
        up: the same for each up-sampling stage, from the bottom up.
        decoder: blocks from the coarsest stage to the finest; the last gives the logits.
    """

    stem: Linear
    encoder: List[FoldedIRB]
    down: List[Linear]
    up: List[Linear]
    decoder: List[FoldedIRB]


def fold(layers: Any) -> Linear:
    """Merges a convolution without bias and the batch norm after it into one weight and bias.

    Args:
        layers: a sequence that begins with these two.
    """
    convolution, norm = layers[0], layers[1]
    with torch.no_grad():
        scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
        weight = convolution.weight.double() * scale.reshape(-1, 1, 1, 1, 1)
        bias = norm.bias.double() - norm.running_mean.double() * scale
    return weight.cpu().numpy(), bias.cpu().numpy()


def _matrix(linear: Linear) -> Linear:
    return linear[0][:, :, 0, 0, 0], linear[1]


def _fold_block(block: Any) -> FoldedIRB:
    weight, bias = fold(block.depthwise)
    return FoldedIRB(_matrix(fold(block.expand)), (weight[:, 0], bias), _matrix(fold(block.project)))


def fold_network(network: LVNet) -> FoldedNetwork:
    """The folded weights of a network in evaluation mode."""
    last: Any = network.output
    output = tuple(values.detach().double().cpu().numpy() for values in (last.weight, last.bias))
    decoder = [_fold_block(block) for block in network.decoder]
    decoder[-1] = decoder[-1].followed_by(_matrix((output[0], output[1])))
    return FoldedNetwork(
        stem=fold(network.stem),
        encoder=[_fold_block(block) for block in network.encoder],
        down=[_matrix(fold(down.convolve)) for down in network.down],
        up=[_matrix(fold(up.convolve)) for up in network.up],
        decoder=decoder,
    )
