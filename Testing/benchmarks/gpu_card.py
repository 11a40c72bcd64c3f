"""Describes the card that `gpu.py` measures and tests that the kernels give correct results on it.

Everything also runs on a CPU, where Triton's interpreter computes the kernels.
"""

from __future__ import annotations

import contextlib
import subprocess
from typing import Any, Callable, Dict, List, Optional

import harness


def card() -> Dict[str, Any]:
    """The hardware and software that the measurements belong to."""
    import torch

    facts: Dict[str, Any] = {"name": None, "torch": torch.__version__, "cuda": torch.version.cuda, "triton": None}
    with contextlib.suppress(Exception):
        import triton

        facts["triton"] = triton.__version__
    if torch.cuda.is_available():
        found = torch.cuda.get_device_properties(0)
        facts.update(name=found.name, capability=f"{found.major}.{found.minor}", processors=found.multi_processor_count,
                     memory_gib=round(found.total_memory / 2**30, 1), cudnn=torch.backends.cudnn.version(),
                     driver=_driver())  # fmt: skip
    return facts


def _driver() -> Optional[str]:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else None


def pretend() -> None:
    """Runs the GPU kernels on CPU tensors, using Triton's interpreter."""
    import torch
    from lvnet.acceleration import proof as checks
    from lvnet.acceleration import swapping
    from lvnet.acceleration.gpu import depthwise, modules

    # The interpreter is slow: skip the kernel check that every child process would repeat.
    depthwise.kernels_work = lambda *_: True  # type: ignore[assignment]
    checks._SLAB = (1, 1, 2)
    gpu, paths, swaps = torch.device("cuda"), swapping._paths, swapping._swaps
    swapping._paths = lambda network, device: paths(network, gpu)
    swapping._swaps = lambda device: swaps("cuda")
    modules.TritonDepthwiseConv3d.forward = lambda self, x: depthwise.depthwise_conv3d(x, self.weight, self.bias)  # type: ignore[method-assign]


def proof(task: harness.Task) -> Dict[str, Any]:
    """Compares the kernels' results and gradients with PyTorch's convolution in double precision, case by case."""
    cases: List[Dict[str, Any]] = []
    for size, shapes in task["cases"]:
        for shape in shapes:
            for kind in task["kinds"]:
                case = {"shape": "x".join(map(str, shape)), "k": size, "kind": kind}
                cases.append({**case, **guarded(lambda s=shape, k=size, t=kind: _compare(s, k, t, task["device"]))})
    return {"cases": cases}


def _compare(shape: List[int], size: int, kind: str, device: str) -> Dict[str, Any]:
    """The errors of the kernels, in units of the expected rounding error."""
    import torch
    from lvnet.acceleration.gpu.depthwise import TritonDepthwiseFunction
    from torch.nn import functional as F  # noqa: N812

    dtype, generator = getattr(torch, kind), torch.Generator().manual_seed(size)

    def draw(*sides: int) -> Any:
        return torch.randn(sides, generator=generator).to(device=device, dtype=dtype)

    channels = shape[1]
    # As in training: the weights are float32, also under autocast.
    x, weight, pull = draw(*shape), draw(channels, 1, size, size, size).float(), draw(*shape)
    exact = [t.detach().double().requires_grad_() for t in (x, weight)]
    wanted = F.conv3d(*exact, padding=size // 2, groups=channels)
    wanted_all = (wanted, *torch.autograd.grad(wanted, exact, pull.double()))
    given = [x.requires_grad_(), weight.requires_grad_()]
    found = TritonDepthwiseFunction.apply(*given)
    found_all = (found, *torch.autograd.grad(found, given, pull))
    # One rounding of the result to its type, plus the rounding of sums in float32.
    rounding = {torch.float32: 4e-6, torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7}
    off = {}
    for what, got, want in zip(("result", "to_x", "to_weight"), found_all, wanted_all):
        limit = rounding[got.dtype] * want.abs() + 1e-5 * want.abs().max()
        off[what] = float(((got.double() - want).abs() / limit).max())
    return {"off": off, "right": all(value <= 1 for value in off.values())}


def guarded(work: Callable[[], Dict[str, Any]]) -> Dict[str, Any]:
    """The result of a piece of work, or the reason why it failed."""
    try:
        return work()
    except Exception as error:  # only this part failed; the table shows why
        message = (str(error).strip().splitlines() or [""])[0][:160]
        return {"failed": f"{type(error).__name__}: {message}".rstrip(": ")}
