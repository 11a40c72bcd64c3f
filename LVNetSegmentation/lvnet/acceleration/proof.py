"""Compares a fast path with the network itself, in plain PyTorch, on a small slab."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any, Callable, Dict, List

import torch
from torch import Tensor, nn

from ..recipe import Architecture
from .gpu.precision import inference_precision

#: Largest allowed difference of logits, relative to the largest logit; the second applies to half precision on a GPU.
_LOGITS, _LOGITS_IN_HALF = 1e-3, 5e-2
#: Largest allowed relative difference (L2 norm) of a step's outputs and gradients; rounding alone gives 1e-5.
_STEP = 1e-3
#: Differences below this fraction of the whole are rounding errors.
_NOTHING = 1e-6
#: Stages of the small networks that are compared, and slab sides in units of their divisor: long enough for the
#: kernels' tiles to end inside the slab.
_STAGES, _SLAB = 3, (1, 2, 10)


def check_logits(fast: Callable[[Tensor], Tensor], network: Any) -> None:
    """Compares the logits of a fast path, in the precision that it will have, with those of the network in float32.

    Raises:
        ArithmeticError: they differ.
    """
    a, device = network.architecture, next(network.parameters()).device
    slab = _noise((1, a.in_channels, a.divisor, a.divisor, a.divisor)).to(device)
    precision = inference_precision(device)
    with torch.inference_mode():
        with torch.backends.cudnn.flags(allow_tf32=False):
            wanted = network(slab).float()
        with precision:
            found = fast(slab).float()
    difference = float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1))
    if not difference < (_LOGITS_IN_HALF if isinstance(precision, torch.autocast) else _LOGITS):
        raise ArithmeticError(f"logits differ by {difference:.2g}")


@dataclass(frozen=True, eq=False)
class _Step:
    """Results of a training step: outputs, gradients, and running statistics of the batch norms."""

    outputs: List[Tensor]
    gradients: Dict[str, Tensor]
    moments: Dict[str, Tensor]


class Trial:
    """Training steps of small networks that together contain every block and every width of a network.

    A step of the network itself would take seconds: PyTorch's gradients of depth-wise convolutions are slow.

    Args:
        network: has an `architecture`.  Its weights and the global random state are not changed.
    """

    def __init__(self, network: Any) -> None:
        supervised, device = getattr(network, "heads", None) is not None, next(network.parameters()).device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            small = [_small(a, supervised, device) for a in _parts(network.architecture)]
        # With fixed batch norm, as in the last stage of a schedule, a kernel gets other numbers: one network is enough.
        self._trials = [(plain, False) for plain in small] + [(small[0], True)]
        self._wanted = [_step(copy.deepcopy(plain), fixed) for plain, fixed in self._trials]

    def check(self, change: Callable[[nn.Module], None]) -> None:
        """Compares training steps of the small networks with and without a change, one also with fixed batch norm.

        Args:
            change: replaces layers of a network in place.

        Raises:
            ArithmeticError: outputs, gradients or running statistics differ.
        """
        for (plain, fixed), wanted in zip(self._trials, self._wanted):
            network = copy.deepcopy(plain)
            change(network)
            _compare_steps(_step(network, fixed), wanted)


def _parts(architecture: Architecture) -> List[Architecture]:
    """Architectures of a few consecutive stages each, overlapping by one so that no down- or up-sampling is missed."""
    widths = architecture.widths
    last = max(0, len(widths) - _STAGES)
    return [
        replace(architecture, widths=widths[start : start + _STAGES])
        for start in sorted({*range(0, last, _STAGES - 1), last})
    ]


def _small(architecture: Architecture, supervised: bool, device: torch.device) -> nn.Module:
    from ..building import build_network, channels_last

    return channels_last(build_network(architecture, supervised)).to(device).train()


def _step(network: Any, fixed: bool) -> _Step:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.train(not fixed)
    a, device = network.architecture, next(network.parameters()).device
    slab = _noise((1, a.in_channels, *(a.divisor * units for units in _SLAB))).to(device)
    with torch.enable_grad(), torch.backends.cudnn.flags(allow_tf32=False):
        result = network(slab)
        outputs = [result] if isinstance(result, Tensor) else [result[0], *result[1]]
        pulls = [_noise(tuple(out.shape), 2 + i).to(device) for i, out in enumerate(outputs)]
        torch.stack([(out * pull).mean() for out, pull in zip(outputs, pulls)]).sum().backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    moments = {name: b for name, b in network.named_buffers() if b.is_floating_point()}
    return _Step([out.detach() for out in outputs], gradients, moments)


def _noise(shape: Any, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)


def _compare_steps(found: _Step, wanted: _Step) -> None:
    for got, want in zip(found.outputs, wanted.outputs):
        _compare("an output", got, want)
    size = sum(float(gradient.norm()) ** 2 for gradient in wanted.gradients.values()) ** 0.5
    for name, want in wanted.gradients.items():
        _compare(f"the gradient to {name}", found.gradients[name], want, _NOTHING * size)
    for name, want in wanted.moments.items():
        _compare(name, found.moments[name], want, _NOTHING)


def _compare(what: str, found: Tensor, wanted: Tensor, rounding: float = 0.0) -> None:
    difference, size = float((found - wanted).norm()), float(wanted.norm())
    if not difference <= _STEP * size + rounding:
        raise ArithmeticError(f"{what} differs by {difference / max(size, rounding):.2g} of its norm")
