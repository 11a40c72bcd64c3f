"""Half precision in inference, where it pays."""

from __future__ import annotations

import contextlib
from typing import ContextManager

import torch

from ..switch import switched_off


def inference_precision(device: torch.device) -> ContextManager[object]:
    """What to run a network in when no gradient is asked for.

    On NVIDIA GPUs from compute capability 8.0 on: autocast to float16, whose products are summed in
    float32.  float16 rather than bfloat16, since its steps are eight times finer and batch norm
    keeps values far from its limits.  Everywhere else, and where accelerations are switched off,
    this does nothing: on a CPU half precision is slower, and some older GPUs give NaN in it.

    Args:
        device: where the network is.
    """
    if device.type == "cuda" and not switched_off() and torch.cuda.get_device_capability(device) >= (8, 0):
        return torch.autocast("cuda", dtype=torch.float16)
    return contextlib.nullcontext()
