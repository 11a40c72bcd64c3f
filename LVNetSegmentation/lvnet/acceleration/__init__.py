"""Faster implementations of a network's layers, swapped in from outside: the network itself is plain PyTorch.

`cpu_inference` and `cpu_training` run on a CPU, `gpu` on a GPU; `kernels` compiles and caches the kernels that they
call, and `layout` defines the memory layout of these.  All of it is optional: each fast path is compared with the
network itself before it is used, and where it is missing or wrong, plain PyTorch is used.  Set the environment
variable ``LVNET_ACCELERATION=off`` before the start to use plain PyTorch everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Tuple

from .compute_path import ComputePath
from .switch import SWITCH, switched_off

if TYPE_CHECKING:
    from torch import nn

__all__ = ["SWITCH", "ComputePath", "accelerate", "fastest", "switched_off"]


def accelerate(network: nn.Module, training: bool = False) -> Callable[..., Any]:
    """The fastest implementation of a network that works here and gives the same results.

    For inference on a CPU, batch norm is folded and IRB blocks run in tiles that fit the caches: with Numba kernels
    where Numba is installed, else with PyTorch alone.  For training on a CPU, Numba kernels compute the depth-wise
    convolution, batch norm with ELU, pooling and up-sampling, with their gradients.  On a GPU, Triton kernels compute
    the depth-wise convolution, for inference and training.

    Args:
        network: with float32 weights, already on its final device.  Any other network is returned unchanged.
        training: replace layers of the network in place; the names, order and values of its parameters stay the
            same, and cases that the kernels do not support, such as evaluation mode, still run in PyTorch.  If
            False, the network must be in evaluation mode and is not changed.

    Returns:
        A callable that maps slabs (N, channels, D, H, W) to the network's output; the network itself if nothing
        faster is available.
    """
    from .swapping import for_training

    return for_training(network) if training else fastest(network)[0]


def fastest(network: nn.Module) -> Tuple[Callable[..., Any], ComputePath]:
    """As :func:`accelerate` for inference, and which way was chosen.

    Args:
        network: in evaluation mode, with weights in float32, on the device that it stays on.

    Returns:
        What :func:`accelerate` returns, and the way by which it computes.
    """
    from .swapping import for_inference

    return for_inference(network)
