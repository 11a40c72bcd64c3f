"""Choosing how the Triton kernels are launched on a GPU, by trying every candidate on the shapes of some work."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Callable, List, Mapping, Optional

import torch
from torch import Tensor

from . import triton_depthwise
from .launches import CONVOLVE, Asked, Launch, candidates, chosen_on, file_for, keep, listening

#: Seconds of one run of a kernel.
Clock = Callable[[Callable[[], object]], float]
#: A candidate has to be so much faster than the default to take its place: less is noise.
_WORTH = 0.97
#: How far sums that are made in another order may be apart, relative to the largest.
_SUMS = 1e-4


@dataclass(frozen=True)
class Choice:
    """What was chosen for a kernel and a class of shapes.

    Attributes:
        key: of the class, see :attr:`.launches.Asked.key`.
        launch: the fastest.
        seconds: it takes.
        default_seconds: the default launch takes.
        left_out: candidates that failed, or gave something else.
    """

    key: str
    launch: Launch
    seconds: float
    default_seconds: float
    left_out: int


def tune(work: Callable[[], object], seconds: Optional[float] = None, clock: Optional[Clock] = None) -> List[Choice]:
    """Runs some work, such as a training step, and chooses the launches of all kernels that it uses.

    What is chosen is used from now on, and after the next start if it can be kept.  Outputs of a network have the same
    bits with every launch; gradients to weights are summed in another order.

    Args:
        work: uses the kernels on one GPU.
        seconds: after which no further shape is tried; None: no limit.
        clock: measures a kernel; None: on the GPU.

    Returns:
        What was chosen, in the order in which it was asked for.
    """
    with listening() as asked:
        work()
    device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    until = None if seconds is None else time.monotonic() + seconds
    choices: List[Choice] = []
    for one in asked.values():
        if choices and until is not None and time.monotonic() > until:
            break
        choices.append(_choose(one, device, clock or on_the_gpu))
    remember({choice.key: choice.launch for choice in choices}, device)
    return choices


def remember(launches: Mapping[str, Launch], device: torch.device) -> None:
    """Uses launches on a GPU from now on, and keeps them for the next start."""
    if device.type != "cuda" or not launches:
        return
    chosen = chosen_on(device)
    chosen.update(launches)
    keep(file_for(device), chosen)


def on_the_gpu(run: Callable[[], object], repeats: int = 5) -> float:
    """The shortest of several runs by the GPU's own clock, after one that compiles."""
    run()
    times = []
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return min(times)


def _choose(asked: Asked, device: torch.device, clock: Clock) -> Choice:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(asked.shape, generator=generator, dtype=torch.float32).to(device=device, dtype=asked.kind)
    if asked.kernel == CONVOLVE:
        taps = (asked.size,) * 3 + asked.shape[-1:]
        weight = torch.randn(taps, generator=generator, dtype=torch.float32).to(device=device, dtype=asked.kind)
        out = torch.empty_like(x)

        def run(launch: Launch) -> Tensor:
            triton_depthwise.convolve(x, weight, out, launch)
            return out
    else:
        pull = x.flip(1)

        def run(launch: Launch) -> Tensor:
            return triton_depthwise.weigh(x, pull, asked.size, launch)

    first, *others = candidates(asked.kernel, asked.size)
    wanted = run(first).clone()
    default = best = clock(lambda: run(first))
    chosen, left_out = first, 0
    for launch in others:
        try:
            same = _same(run(launch), wanted, exactly=asked.kernel == CONVOLVE)
            taken = clock(lambda launch=launch: run(launch)) if same else float("inf")  # type: ignore[misc]
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception as error:  # too many registers, say; the others go on
            logging.getLogger(__name__).info("%s of %s cannot be launched: %s", launch, asked.key, error)
            same, taken = False, float("inf")
        left_out += not same
        if taken < best and taken < _WORTH * default:
            chosen, best = launch, taken
    return Choice(asked.key, chosen, best, default, left_out)


def _same(found: Tensor, wanted: Tensor, exactly: bool) -> bool:
    if exactly:
        return torch.equal(found, wanted)
    return bool((found - wanted).abs().max() <= _SUMS * wanted.abs().max())
