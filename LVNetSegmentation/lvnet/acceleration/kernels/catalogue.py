"""The kernels for a CPU: what each takes, and the memory that it works in.

Their code is in the modules `numba_*`, which are imported only where kernels have to be compiled.
Addresses and distances are bytes; `lanes` is the number of float32 in a vector, see
:func:`.processor.register_lanes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Callable, Dict, Tuple

from ..layout.winograd import POINTS
from ..layout.workspace import TAPS, irb_gang, irb_workspace, ring_workspace, weight_workspace
from .kernel_cache import kernels_of
from .native import Kernel, open_kernels


@cache
def _opened(module: str, *settings: int) -> Dict[str, Kernel]:
    return open_kernels(kernels_of(module, *settings))


@dataclass(frozen=True)
class IRBKernels:
    """An IRB block at inference; see :mod:`.numba_irb`.

    Attributes:
        gang: groups that pass at once; the number of groups is a multiple of it.
        tile: computes one tile.
        workspace: (slices, channels, results, rows, columns) to the number of float32 that `tile` works in.
    """

    gang: int
    tile: Kernel
    workspace: Callable[[int, int, int, int, int], int]


@lru_cache(maxsize=2)
def irb_kernels(lanes: int) -> IRBKernels:
    """The kernel for one width of register."""
    return IRBKernels(irb_gang(lanes), _opened("numba_irb", lanes)["tile"], irb_workspace(lanes))


@dataclass(frozen=True)
class StageKernels:
    """What lies between the IRB blocks; see :mod:`.numba_stages`.

    Each works on the output rows `first` to `last` - 1, counted over all slices.

    Attributes:
        stem: 5x5x5 convolution of one padded channel, and ELU.
        halve: mean over 2 x 2 x 2 voxels.
        double: trilinear up-sampling by two.
        pointwise: a 1x1x1 convolution, and ELU.
    """

    stem: Kernel
    halve: Kernel
    double: Kernel
    pointwise: Kernel


@lru_cache(maxsize=2)
def stage_kernels(lanes: int) -> StageKernels:
    """The kernels for one width of register."""
    return StageKernels(**_opened("numba_stages", lanes))


@dataclass(frozen=True)
class AdjointKernels:
    """Gradients of halving and doubling; see :mod:`.numba_adjoints`.

    Each works on the rows `first` to `last` - 1 of what it writes, counted over all slices.

    Attributes:
        halve: of the mean over 2 x 2 x 2 voxels: an eighth to each of them.
        double: of trilinear up-sampling by two: a quarter and three quarters along each axis.
        room: (width) to the number of float32 that `double` works in, for each call at the same time.
    """

    halve: Kernel
    double: Kernel
    room: Callable[[int], int]


@lru_cache(maxsize=2)
def adjoint_kernels(lanes: int) -> AdjointKernels:
    """The kernels for one width of register."""
    return AdjointKernels(**_opened("numba_adjoints", lanes), room=lambda width: (2 * width + 2) * lanes)


@dataclass(frozen=True)
class NormKernels:
    """Batch norm with ELU in training; those with ELU behind the norm under True; see :mod:`.numba_norm`.

    Each takes the addresses of up to three tensors, of its parameters (rows of C) and of its sums,
    then rows, C, and the blocks `first` to `last` - 1 that it works on.

    Attributes:
        sums: of x; parameter pivot; sums of x - pivot and of its square, two rows of C a block.
        apply: of x, out; parameters scale, shift.
        gradient_sums: of x, the gradient to the output; parameters scale, shift, mean; sums of g and
            of g (x - mean), g being the gradient to what ELU takes.
        gradient: of x, the gradient, the gradient to x; parameters scale, shift, mean, and a, b, c of
            a g + b (x - mean) + c.
    """

    sums: Kernel
    apply: Dict[bool, Kernel]
    gradient_sums: Dict[bool, Kernel]
    gradient: Dict[bool, Kernel]


def norm_kernels(lanes: int, channels: int) -> NormKernels:
    """The kernels for rows of `channels` numbers."""
    groups = channels // lanes
    # Memory is read in runs: 512 bytes at once take two thirds of the time that a cache line a row takes.
    return _norm_kernels(lanes, next(n for n in (8, 4, 2, 1) if groups % n == 0))


@lru_cache(maxsize=8)
def _norm_kernels(lanes: int, together: int) -> NormKernels:
    found = _opened("numba_norm", lanes, together)

    def both(name: str) -> Dict[bool, Kernel]:
        return {False: found[name], True: found[f"{name}_elu"]}

    return NormKernels(found["sums"], both("apply"), both("gradient_sums"), both("gradient"))


@dataclass(frozen=True)
class TileKernels:
    """A kernel that works on one group of channels of one tile in training.

    Attributes:
        lanes: channels of a group.
        tile: computes one tile.
        workspace: (slices, columns) to the number of float32 that `tile` works in.
        results: the shape of the sums that it writes, and their type.
    """

    lanes: int
    tile: Kernel
    workspace: Callable[[int, int], int]
    results: Tuple[int, str]


@lru_cache(maxsize=8)
def convolution_kernels(
    lanes: int, activated: bool = False, measured: bool = False, pulled: bool = False
) -> TileKernels:
    """The depth-wise 5x5x5 convolution; see :mod:`.numba_convolution`.

    Args:
        activated: what is convolved is ELU of scale x + shift.
        measured: the kernel also sums what it writes, less `mean`, and the square of that.
        pulled: what is written is multiplied by the slope of that ELU at the place of `beside`; the sums
            are of what is written, and of that times what `beside` holds less `mean`.
    """
    settings = (int(activated), int(measured), int(pulled))
    tile = _opened("numba_convolution", lanes, *settings)["tile"]
    return TileKernels(lanes, tile, ring_workspace(lanes), (2 * lanes, "float64"))


@lru_cache(maxsize=4)
def weight_kernels(lanes: int, activated: bool = False) -> TileKernels:
    """The weight gradient of the depth-wise 5x5x5 convolution; see :mod:`.numba_depthwise`.

    Args:
        activated: what was convolved is ELU of scale x + shift.
    """
    tile = _opened("numba_depthwise", lanes, int(activated))["tile"]
    return TileKernels(lanes, tile, weight_workspace(lanes), (POINTS * TAPS * TAPS * lanes, "float32"))
