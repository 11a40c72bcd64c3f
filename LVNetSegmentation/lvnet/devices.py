"""Choosing a compute device, and saying why."""

from __future__ import annotations

from typing import TYPE_CHECKING, List, Tuple

from .errors import DeviceError

if TYPE_CHECKING:
    import torch

CHOICES = "auto, cpu, cuda, cuda:N or mps"


def select_device(name: str = "auto") -> Tuple[torch.device, str]:
    """The device to compute on, and one line that says why.

    Args:
        name: auto, cpu, cuda, cuda:N or mps.  `auto` takes CUDA when a small computation on it
            works, then MPS, then the CPU.

    Raises:
        DeviceError: the requested device does not work on this computer.
    """
    import torch

    if name == "auto":
        return _automatic()
    if name == "cpu":
        return torch.device("cpu"), "CPU, as requested"
    kind, colon, index = name.partition(":")
    if kind not in ("cuda", "mps") or (colon and (kind != "cuda" or not index.isdigit())):
        raise DeviceError(f"unknown device {name!r}; choose {CHOICES}")
    device = torch.device(name)
    problem = _problem(device)
    if problem:
        raise DeviceError(f"the device {name!r} cannot be used: {problem}; choose the device cpu or auto")
    return device, f"{describe(device)}, as requested"


def _automatic() -> Tuple[torch.device, str]:
    import torch

    reasons = []
    for name in ("cuda", "mps"):
        device = torch.device(name)
        problem = _problem(device)
        if not problem:
            return device, f"{describe(device)}, chosen automatically"
        reasons.append(f"{name.upper()}: {problem}")
    return torch.device("cpu"), f"CPU, because no GPU can be used ({'; '.join(reasons)})"


def _problem(device: torch.device) -> str:
    """Why a device cannot be used; empty if a small convolution on it gives finite numbers."""
    import torch

    if device.type == "cuda":
        if not torch.backends.cuda.is_built():
            return "this build of PyTorch does not support it"
        if not torch.cuda.is_available():
            return "no NVIDIA GPU with a working driver was found"
        if (device.index or 0) >= torch.cuda.device_count():
            return f"there are {torch.cuda.device_count()} GPUs, numbered from 0"
    if device.type == "mps" and not torch.backends.mps.is_available():
        return "it is not available on this computer"
    try:
        x = torch.ones(1, 1, 4, 4, 4, device=device)
        result = torch.nn.functional.conv3d(x, torch.ones(1, 1, 3, 3, 3, device=device)).sum().item()
    except Exception as error:  # whatever fails in a driver or a build, the device cannot be used
        return str(error).splitlines()[0][:160] if str(error) else type(error).__name__
    return "" if result == 216 else "it computes wrong results"


def describe(device: torch.device) -> str:
    """A device's description: its type, and a GPU's name."""
    import torch

    if device.type == "cuda":
        return f"GPU {torch.cuda.get_device_name(device)}"
    return device.type.upper()


def list_devices() -> List[dict]:
    """Every device that can be selected, as JSON objects with `name`, `description`, `memory_gb`."""
    import torch

    devices: List[dict] = [{"name": "cpu", "description": f"CPU, {torch.get_num_threads()} threads", "memory_gb": None}]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(index)
            memory = round(facts.total_memory / 2**30, 1)
            devices.append({"name": f"cuda:{index}", "description": facts.name, "memory_gb": memory})
    if torch.backends.mps.is_available():
        devices.append({"name": "mps", "description": "Apple GPU", "memory_gb": None})
    return devices
