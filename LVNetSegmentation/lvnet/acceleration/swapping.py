"""Finds the fast paths for a network on its device and keeps those that give correct results."""

from __future__ import annotations

import copy
import importlib.util
import logging
import platform
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence, Tuple, Type

import torch
from torch import Tensor, nn

from ..errors import is_out_of_memory
from .compute_path import NUMBA, TILES, TRITON, ComputePath
from .proof import Trial, check_logits
from .switch import switched_off

if TYPE_CHECKING:
    from .folding import FoldedNetwork

#: Maps the class of a plain module to the class that computes the same, faster, from the same parameters.
Swaps = Dict[Type[nn.Module], Type[nn.Module]]
#: Creates a fast path; gives None if there is none for the network.
Maker = Callable[[], Optional[Callable[[Tensor], Tensor]]]


@lru_cache(maxsize=1)
def numba_available() -> bool:
    """Whether Numba is installed."""
    return importlib.util.find_spec("numba") is not None


def for_inference(network: nn.Module) -> Tuple[Callable[[Tensor], Tensor], ComputePath]:
    """See :func:`lvnet.acceleration.fastest`."""
    if not _may_be_faster(network) or network.training:
        return network, ComputePath()
    device = next(network.parameters()).device
    makers, faster_with = _paths(network, device)
    left_out: List[str] = []
    for name, make in makers.items():
        try:
            fast = make()
            if fast is not None:
                check_logits(fast, network)
                return fast, ComputePath(name, "; ".join(left_out), faster_with)
        except Exception as error:  # a broken installation fails in many ways; the network itself always works
            left_out.append(_leave_out(name, error))
    return network, ComputePath(left_out="; ".join(left_out), faster_with=faster_with)


def _paths(network: nn.Module, device: torch.device) -> Tuple[Dict[str, Maker], str]:
    """The fast paths for a device, fastest first, and the package that would add a faster one."""
    if device.type == "cuda":
        return {TRITON: lambda: _with_triton(network)}, ""
    architecture = getattr(network, "architecture", None)
    if device.type != "cpu" or architecture is None or not architecture.plain:
        return {}, ""
    from .cpu_inference.network import CPUNetwork
    from .folding import fold_network

    lvnet: Any = network
    folded = fold_network(lvnet)

    def fused() -> Optional[CPUNetwork]:
        from .cpu_inference.fused_block import FusedIRB, network_fits
        from .cpu_inference.fused_stages import FusedStages

        return CPUNetwork(folded, FusedIRB, FusedStages(folded)) if network_fits(folded) else None

    tiles: Dict[str, Maker] = {TILES: lambda: CPUNetwork(folded)}
    if numba_available():
        return {NUMBA: fused, **tiles}, ""
    return tiles, "numba" if _numba_would_help(folded) else ""


def _numba_would_help(folded: FoldedNetwork) -> bool:
    """Whether the kernels know a network, on a kind of processor on which they were measured."""
    from .cpu_inference.fused_block import network_fits

    # Which of the two the processor has, is known with Numba only.
    fits = all(network_fits(folded, lanes) for lanes in (8, 16))
    return fits and platform.machine().lower() in ("x86_64", "amd64")


def _with_triton(network: nn.Module) -> Optional[nn.Module]:
    """A copy that computes depth-wise convolutions with Triton kernels, and has batch norm in its weights."""
    kinds = _swaps("cuda")
    if not any(_present(network, swaps) for swaps in kinds.values()):
        return None
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    fast = copy.deepcopy(network, shared)
    for swaps in kinds.values():
        swap(fast, swaps)
    from .gpu.modules import fold_norms

    fold_norms(fast)
    return fast


def for_training(network: nn.Module) -> nn.Module:
    """See :func:`lvnet.acceleration.accelerate`."""
    if not _may_be_faster(network):
        return network
    device = next(network.parameters()).device
    kinds = {name: swaps for name, swaps in _swaps(device.type).items() if _present(network, swaps)}
    if not kinds:
        return network
    trial = Trial(network)

    def check(names: Sequence[str]) -> None:
        trial.check(partial(swap, swaps={plain: fast for name in names for plain, fast in kinds[name].items()}))

    for name in _right(list(kinds), check):
        swap(network, kinds[name])
    return network


def _right(names: List[str], check: Callable[[Sequence[str]], None]) -> List[str]:
    """The swaps that leave a network's results unchanged."""
    try:
        check(names)
        return names
    except Exception as error:
        together = error
    alone = []
    for name in names:
        try:
            check([name])
            alone.append(name)
        except Exception as error:
            _leave_out(name, error)
    if len(alone) == len(names):
        _leave_out("all kernels for training", together)
        return []
    return _right(alone, check) if alone else []


def swap(network: nn.Module, swaps: Swaps) -> None:
    """Changes the class of a network's modules in place; their parameters and buffers stay the same."""
    for module in network.modules():
        module.__class__ = swaps.get(type(module), type(module))


def _present(network: nn.Module, swaps: Swaps) -> bool:
    return any(type(module) in swaps for module in network.modules())


def _swaps(device: str) -> Dict[str, Swaps]:
    """The swaps available on a device type, keyed by the name that is logged if one is not used."""
    if device == "cpu" and numba_available():
        from .cpu_training.modules import SWAPS

        return SWAPS
    if device == "cuda":
        from .gpu.depthwise import triton_available
        from .gpu.modules import SWAPS as GPU_SWAPS

        return GPU_SWAPS if triton_available() else {}
    return {}


def _may_be_faster(network: nn.Module) -> bool:
    first = next(network.parameters(), None)
    return first is not None and first.dtype == torch.float32 and not switched_off()


def _leave_out(name: str, error: Exception) -> str:
    """Logs why a fast path is not used, and returns the reason; an out-of-memory error is raised again instead."""
    if is_out_of_memory(error):
        raise error
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    logging.getLogger(__name__).warning("%s are left out: %s", name, reason)
    return f"{name}: {reason}"
