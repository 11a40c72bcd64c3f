"""The depth-wise convolution on a GPU: Triton kernels where they work, PyTorch's own elsewhere.

Triton comes with PyTorch on Linux, but not on Windows.  It compiles kernels on first use, which needs a C
compiler and a supported GPU: so before the kernels are used on a device, a small convolution and its
gradients are compared with PyTorch's.  If anything fails, then or later, one warning is logged and
PyTorch's own convolution is used from then on.
"""

from __future__ import annotations

import importlib.util
import logging
from functools import lru_cache
from typing import Any, Callable, Optional, Tuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812
from torch.nn import grad as plain_gradients

from ..switch import switched_off

#: Kernel sizes that are supported.
KERNEL_SIZES = (3, 5, 7)
_TYPES = (torch.float16, torch.bfloat16, torch.float32)
_OLDEST_TRITON = (3, 3)

_given_up = False


def depthwise_conv3d(x: Tensor, weight: Tensor, bias: Optional[Tensor] = None) -> Tensor:
    """Like :class:`torch.nn.Conv3d`, for tensors on a GPU.

    Under autocast x is cast to autocast's half-precision type, as by PyTorch's own convolution; the
    weight keeps its type, and sums are in float32.

    Args:
        x: (N, C, D, H, W).
        weight: (C, 1, k, k, k).
        bias: (C,); if given, the result is ELU(convolution + bias), which has no gradient.
    """
    kind = _autocast_type()
    if kind is not None and x.dtype != torch.float64:
        x = x.to(kind)
    if usable(x, weight):
        try:
            return TritonDepthwiseFunction.apply(x, weight) if bias is None else _forward(_dense(x), weight, bias)
        except Exception as error:
            _give_up(error)
    out = F.conv3d(x, weight, bias, padding=weight.shape[-1] // 2, groups=weight.shape[0])
    return out if bias is None else F.elu(out, inplace=True)


def usable(x: Tensor, weight: Tensor) -> bool:
    """Whether the kernels support these tensors and work on their device."""
    size = weight.shape[-1]
    return (
        not switched_off()
        and not _given_up
        and x.dtype in _TYPES
        and size in KERNEL_SIZES
        and weight.shape == (x.shape[1], 1, size, size, size)
        and x.device == weight.device
        and x.numel() > 0
        and triton_available()
        and kernels_work(str(x.device), x.dtype, size)
    )


@lru_cache(maxsize=1)
def triton_available() -> bool:
    """Whether a version of Triton that supports tuples is installed."""
    if importlib.util.find_spec("triton") is None:
        return False
    try:
        import triton

        version = tuple(int(part) for part in triton.__version__.split(".")[:2])
    except Exception as error:  # a broken installation fails in many ways, and must not stop the program
        _give_up(error)
        return False
    return version >= _OLDEST_TRITON


@lru_cache(maxsize=64)
def kernels_work(device: str, kind: torch.dtype, kernel_size: int) -> bool:
    """Whether the kernels compile for a device and agree with PyTorch there."""
    try:
        problem = _difference(torch.device(device), kind, kernel_size)
    except Exception as error:
        _give_up(error)
        return False
    if problem:
        _give_up(ArithmeticError(problem))
    return not problem


def _difference(device: torch.device, kind: torch.dtype, kernel_size: int) -> str:
    """What is wrong with a small convolution and its gradients; an empty string if nothing is."""
    generator = torch.Generator().manual_seed(1)
    # Two blocks of channels, the second half full, and fewer columns than in a tile.
    shape, k = (1, 48, 2, 3, 9), kernel_size
    x, pull = (torch.randn(shape, generator=generator).to(kind) for _ in range(2))
    weight = torch.randn((48, 1, k, k, k), generator=generator).to(kind).float()
    bias = torch.randn(48, generator=generator)
    how: Any = {"padding": k // 2, "groups": 48}
    # Computed on the CPU in float32, in whatever mode the caller runs.
    wanted = (
        F.conv3d(x.float(), weight, **how),
        F.elu(F.conv3d(x.float(), weight, bias, **how)),
        plain_gradients.conv3d_input(shape, weight, pull.float(), **how),
        plain_gradients.conv3d_weight(x.float(), weight.shape, pull.float(), **how),
    )
    x, pull, weight = (_dense(t.to(device)) for t in (x, pull, weight))
    found = (
        _forward(x, weight),
        _forward(x, weight, bias.to(device)),
        _input_gradient(pull, weight),
        _weight_gradient(x, pull, weight),
    )
    names = ("result", "result with ELU", "gradient to the input", "gradient to the weights")
    for what, got, want in zip(names, found, wanted):
        error = float((got.cpu().float() - want).abs().max() / want.abs().max())
        if not error < (1e-5 if kind == torch.float32 else 1e-2):
            return f"the {what} of the k={k} kernel in {kind} is off by {error:.2g}"
    return ""


class TritonDepthwiseFunction(torch.autograd.Function):
    """Depth-wise k x k x k convolution, k = 3, 5 or 7, with the kernels of :mod:`.triton_depthwise`.

    Supports float16, bfloat16 and float32 with sums in float32, and float64; x and the weight may
    differ in type.  Results are channels-last with x's type; each gradient has the type of its tensor.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        """x (N, C, D, H, W), weight (C, 1, k, k, k)."""
        x = _dense(x)
        ctx.save_for_backward(x, weight)
        return _forward(x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tuple[Optional[Tensor], Optional[Tensor]]:
        """Gradients w.r.t. x and weight."""
        x, weight = ctx.saved_tensors
        gradient = _dense(gradient.to(x.dtype))
        k = weight.shape[-1]
        how = {"padding": k // 2, "groups": weight.shape[0]}
        to_x = to_weight = None
        if ctx.needs_input_grad[0]:
            to_x = _or_plainly(
                lambda: _input_gradient(gradient, weight),
                lambda: plain_gradients.conv3d_input(x.shape, weight.to(x.dtype), gradient, **how),
            )
        if ctx.needs_input_grad[1]:
            to_weight = _or_plainly(
                lambda: _weight_gradient(x, gradient, weight),
                lambda: plain_gradients.conv3d_weight(x, weight.shape, gradient, **how).to(weight.dtype),
            )
        return to_x, to_weight


def _forward(x: Tensor, weight: Tensor, bias: Optional[Tensor] = None) -> Tensor:
    from . import triton_depthwise

    out = _room_like(x)
    triton_depthwise.convolve(_channels_last(x), _taps(weight.to(x.dtype)), _channels_last(out), bias=bias)
    return out


def _input_gradient(gradient: Tensor, weight: Tensor) -> Tensor:
    # Stride 1 and an odd kernel: the gradient is the same convolution, kernel flipped.
    return _forward(gradient, weight.flip(2, 3, 4))


def _weight_gradient(x: Tensor, gradient: Tensor, weight: Tensor) -> Tensor:
    from . import triton_depthwise

    sums = triton_depthwise.weigh(_channels_last(x), _channels_last(gradient), weight.shape[-1])
    return sums.permute(3, 0, 1, 2).unsqueeze(1).to(weight.dtype)


def _dense(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last_3d) if x.shape[1] > 1 else x.contiguous()


def _channels_last(x: Tensor) -> Tensor:
    """(N, C, D, H, W) as (N, D, H, W, C), a view of the same memory."""
    return x.permute(0, 2, 3, 4, 1)


def _room_like(x: Tensor) -> Tensor:
    """An uninitialised output tensor for x."""
    batch, channels, depth, height, width = x.shape
    room = torch.empty((batch, depth, height, width, channels), dtype=x.dtype, device=x.device)
    return room.permute(0, 4, 1, 2, 3)


def _taps(weight: Tensor) -> Tensor:
    """(C, 1, k, k, k) as (k, k, k, C)."""
    return weight.detach()[:, 0].permute(1, 2, 3, 0).contiguous()


def _autocast_type() -> Optional[torch.dtype]:
    """The half-precision type of autocast on a GPU; None if autocast is off."""
    if not torch.is_autocast_enabled():
        return None
    # This function was renamed in PyTorch 2.4.
    newer = getattr(torch, "get_autocast_dtype", None)
    return newer("cuda") if newer is not None else torch.get_autocast_gpu_dtype()


def _or_plainly(fast: Callable[[], Tensor], plain: Callable[[], Tensor]) -> Tensor:
    if not _given_up:
        try:
            return fast()
        except Exception as error:
            _give_up(error)
    return plain()


def _give_up(error: Exception) -> None:
    """Logs once why the kernels are not used; an out-of-memory error is raised again instead."""
    global _given_up
    if isinstance(error, torch.cuda.OutOfMemoryError):
        raise error
    if not _given_up:
        _given_up = True
        reason = (str(error).strip().splitlines() or [""])[0][:200]
        logging.getLogger(__name__).warning("Triton kernels are left out: %s: %s", type(error).__name__, reason)
