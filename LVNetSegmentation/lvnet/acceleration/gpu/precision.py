"""Half precision for inference, where it is faster."""

from __future__ import annotations

import contextlib
from typing import ContextManager

import torch

from ..switch import switched_off

#: The compute capability from which on inference runs in half precision.
HALF_CAPABILITY = (8, 0)


def inference_precision(device: torch.device) -> ContextManager[object]:
    """A context manager that sets the precision of a network's inference.

    On NVIDIA GPUs with compute capability 8.0 or higher: autocast to float16, with products summed in
    float32.  float16 rather than bfloat16, because its resolution is eight times finer and batch norm
    keeps values well within its range.  Everywhere else, and if acceleration is switched off, it does
    nothing: on a CPU half precision is slower, and some older GPUs produce NaN in it.

    Args:
        device: where the network is.
    """
    if device.type == "cuda" and not switched_off() and torch.cuda.get_device_capability(device) >= HALF_CAPABILITY:
        return torch.autocast("cuda", dtype=torch.float16)
    return contextlib.nullcontext()
