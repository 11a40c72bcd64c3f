"""Fast paths, swapped into a network from above: the network itself is plain PyTorch and knows none of them.

`cpu_inference` and `cpu_training` compute on a CPU, `gpu` on a GPU; `kernels` compiles and keeps what they call,
and `layout` is how memory is laid out for it.  All of it is optional: every fast path is compared with the network
itself before it is used, and where it is absent or wrong, the network computes.  Set the environment variable
``LVNET_ACCELERATION=off`` before the start to use the network itself everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Tuple

from .compute_path import ComputePath
from .switch import SWITCH, switched_off

if TYPE_CHECKING:
    from torch import nn

__all__ = ["SWITCH", "ComputePath", "accelerate", "fastest", "switched_off"]


def accelerate(network: nn.Module, training: bool = False) -> Callable[..., Any]:
    """The fastest way to compute a network that works here and gives what the network gives.

    For inference on a CPU, batch norm is folded and IRB blocks run in tiles that fit the caches: by Numba's kernels
    where Numba is, else by PyTorch alone.  For training on a CPU, Numba's kernels compute the depth-wise convolution,
    batch norm with ELU, pooling and up-sampling with their gradients.  On a GPU, Triton's kernels compute the
    depth-wise convolution, for both.

    Args:
        network: with weights in float32, on the device that it stays on.  Others are left as they are.
        training: swap parts of the network itself, whose parameters and their names, order and values stay as they
            are; what the kernels do not know still takes PyTorch's way, evaluation mode for one.  Otherwise the
            network is in evaluation mode and stays as it is.

    Returns:
        What maps slabs (N, channels, D, H, W) to what the network gives for them; the network where nothing is faster.
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
