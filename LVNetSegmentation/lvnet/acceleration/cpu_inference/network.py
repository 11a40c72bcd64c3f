"""LV-Net at inference on a CPU: folded weights, channels-last memory, tiled IRB blocks."""

from __future__ import annotations

from typing import Callable, List, Optional

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from ..folding import FoldedIRB, FoldedNetwork, Linear
from .tiled_block import TiledIRB, elu_

#: Computes an IRB block of (D, H, W, C) into a tensor (D, H, W, out), with the given number of threads.
Block = Callable[[Tensor, Tensor, int], None]


class TorchStages:
    """The layers between the blocks in plain PyTorch.  Tensors are (D, H, W, C) float32."""

    def __init__(self, folded: FoldedNetwork) -> None:
        weight, bias = (torch.tensor(values, dtype=torch.float32) for values in folded.stem)
        self.weight, self.bias = weight.contiguous(memory_format=torch.channels_last_3d), bias

    def stem(self, x: Tensor, threads: int) -> Tensor:
        """Convolution and ELU of (channels, D, H, W)."""
        x = x[None].contiguous(memory_format=torch.channels_last_3d)
        out = F.conv3d(x, self.weight, self.bias, padding=self.weight.shape[-1] // 2)
        return elu_(out)[0].permute(1, 2, 3, 0)

    def halve(self, x: Tensor, threads: int) -> Tensor:
        """Mean over 2 x 2 x 2 voxels."""
        # Sums along one axis after the other: avg_pool3d takes several times as long.
        for axis in range(3):
            pairs = x.unflatten(axis, (-1, 2))
            x = pairs.select(axis + 1, 0) + pairs.select(axis + 1, 1)
        return x.mul_(0.125)

    def double(self, x: Tensor, out: Tensor, threads: int) -> None:
        """Trilinear up-sampling by two into `out`."""
        for axis in range(3):
            size = [*x.shape[:axis], 2 * x.shape[axis], *x.shape[axis + 1 :]]
            x = _double_along(x, axis, out if axis == 2 else x.new_empty(size))

    def pointwise(self, x: Tensor, linear: Linear, threads: int) -> Tensor:
        """A 1x1x1 convolution with its bias, and ELU."""
        weight, bias = (torch.tensor(values, dtype=torch.float32) for values in linear)
        return elu_(torch.addmm(bias, x.reshape(-1, x.shape[3]), weight.t()).view(*x.shape[:3], -1))


def _double_along(x: Tensor, axis: int, out: Tensor) -> Tensor:
    """Linear up-sampling by two along one axis into `out`, three times as fast as F.interpolate along all three."""
    count = x.shape[axis]
    pairs = out.unflatten(axis, (count, 2))
    # An even output lies a quarter voxel before its input, an odd one behind it; the outermost are copies.
    for which, inner, outer, edge in ((0, 1, 0, 0), (1, 0, 1, count - 1)):
        part = pairs.select(axis + 1, which)
        near, far = x.narrow(axis, inner, count - 1), x.narrow(axis, outer, count - 1)
        torch.lerp(near, far, 0.25, out=part.narrow(axis, inner, count - 1))
        part.narrow(axis, edge, 1).copy_(x.narrow(axis, edge, 1))
    return out


class CPUNetwork:
    """Computes the same as LVNet in evaluation mode, up to rounding errors, with the same input and output shapes.

    Args:
        folded: the weights.
        make_block: creates an IRB block from its folded weights.
        stages: the layers between the blocks; None takes plain PyTorch.
    """

    def __init__(
        self,
        folded: FoldedNetwork,
        make_block: Callable[[FoldedIRB], Block] = TiledIRB,
        stages: Optional[TorchStages] = None,
    ) -> None:
        self.stages = stages or TorchStages(folded)
        self.encoder = [make_block(block) for block in folded.encoder]
        self.decoder = [make_block(block) for block in folded.decoder]
        self.down, self.up = folded.down, folded.up
        self.classes = len(folded.decoder[-1].project[1])

    def __call__(self, x: Tensor) -> Tensor:
        """Logits (N, classes, D, H, W) of normalised slabs (N, channels, D, H, W)."""
        with torch.inference_mode():
            return torch.stack([self._one(item) for item in x])

    def _one(self, x: Tensor) -> Tensor:
        stages, threads = self.stages, torch.get_num_threads()
        x = stages.stem(x, threads)
        joined: List[Tensor] = []
        for stage, block in enumerate(self.encoder):
            if stage:
                x = stages.pointwise(stages.halve(x, threads), self.down[stage - 1], threads)
            if stage == len(self.encoder) - 1:
                out = torch.empty_like(x)
            else:
                # The block writes to where its decoder stage will read, so that nothing need be concatenated.
                joined.append(x.new_empty((*x.shape[:3], 2 * x.shape[3])))
                out = joined[-1][..., x.shape[3] :]
            block(x, out, threads)
            x = out
        for up, block in zip(self.up, self.decoder):
            both = joined.pop()
            low = stages.pointwise(x, up, threads)
            stages.double(low, both[..., : low.shape[3]], threads)
            # The output convolution is merged into the last block.
            x = torch.empty_like(both) if joined else both.new_empty((*both.shape[:3], self.classes))
            block(both, x, threads)
        return x.permute(3, 0, 1, 2)
