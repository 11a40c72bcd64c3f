"""Parameters, multiply-accumulates and size of a network, counted as the paper's Table 3 does.

The table's "GFLOPs" are multiply-accumulates as a common profiler counts them: convolutions
without their bias, transposed convolutions as kernel x C_in x C_out per OUTPUT voxel, batch norm in
evaluation mode 2 per element, trilinear up-sampling 31 per output element; activations, poolings
and sums are free.  "Storage" is the float32 state in MiB.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any, Sequence

import torch
from torch import Tensor, nn

from .network import LVNet

# Cost of one output element of an up-sampling, by mode.
_UPSAMPLING_COST = {"nearest": 0, "linear": 5, "bilinear": 11, "trilinear": 31}


@dataclass(frozen=True)
class Complexity:
    """The columns of Table 3 for a network.

    Attributes:
        parameters: number of trainable parameters, without auxiliary heads.
        macs: multiply-accumulates of one forward pass at `input_size`.
        megabytes: the float32 state (weights and buffers) in MiB, without auxiliary heads.
        input_size: (N, C, D, H, W) for `macs`.
    """

    parameters: int
    macs: int
    megabytes: float
    input_size: Sequence[int]


def count_parameters(network: nn.Module) -> int:
    """Number of trainable parameters of a network, without auxiliary heads (modules named `heads`)."""
    return sum(p.numel() for name, p in network.named_parameters() if not _of_heads(name))


def state_megabytes(network: nn.Module) -> float:
    """Size of the state in MiB, with floating-point numbers counted as float32."""
    state = {name: value for name, value in network.state_dict().items() if not _of_heads(name)}
    return sum(v.numel() * (4 if v.is_floating_point() else v.element_size()) for v in state.values()) / 2**20


def _of_heads(name: str) -> bool:
    return name.startswith("heads.")


def count_macs(network: nn.Module, input_size: Sequence[int]) -> int:
    """Multiply-accumulates of one forward pass in evaluation mode, counted the paper's way.

    Args:
        network: any network of convolutions, batch norms and up-sampling modules; it is not changed.
        input_size: (N, C, D, H, W), or (N, C, H, W) for a 2D network.
    """
    # The cost of LV-Net is proportional to the number of voxels, so the smallest valid slab is enough.
    side = network.architecture.divisor if isinstance(network, LVNet) else 0
    if side and not any(size % side for size in input_size[2:]):
        smallest = (1, input_size[1], *[side] * len(input_size[2:]))
        return _count(network, smallest, "cpu") * (math.prod(input_size) // math.prod(smallest))
    # PyTorch's `meta` device needs no memory and computes nothing, but takes seconds to initialise.
    return _count(network, input_size, "meta")


def _count(network: nn.Module, input_size: Sequence[int], device: str) -> int:
    total = 0

    def convolution(module: Any, inputs: Any, output: Tensor) -> None:
        nonlocal total
        total += output.numel() * module.in_channels // module.groups * math.prod(module.kernel_size)

    def norm(module: Any, inputs: Any, output: Tensor) -> None:
        nonlocal total
        total += 2 * output.numel()

    def upsampling(module: Any, inputs: Any, output: Tensor) -> None:
        nonlocal total
        total += _UPSAMPLING_COST[module.mode] * output.numel()

    hooks = {
        (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d): convolution,
        (nn.BatchNorm2d, nn.BatchNorm3d): norm,
        (nn.Upsample,): upsampling,
    }
    structure = copy.deepcopy(network).to(device).eval()
    for module in structure.modules():
        for kinds, hook in hooks.items():
            if isinstance(module, kinds):
                module.register_forward_hook(hook)
    with torch.no_grad():
        structure(torch.zeros(tuple(input_size), device=device))
    return total


def measure(network: nn.Module, input_size: Sequence[int] = (1, 1, 16, 256, 256)) -> Complexity:
    """All columns of Table 3; the default size is the paper's slab."""
    return Complexity(
        count_parameters(network), count_macs(network, input_size), state_megabytes(network), tuple(input_size)
    )
