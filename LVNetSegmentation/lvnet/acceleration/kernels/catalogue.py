"""The CPU kernels: the arguments of each, and the size of its working memory.

Their code is in the modules `numba_*`, which are imported only where kernels have to be compiled.
Addresses and strides are in bytes; `lanes` is the number of float32 in a vector register, see
:func:`.processor.register_lanes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Callable, Dict, Tuple

from ..layout.winograd import POINTS
from ..layout.workspace import TAPS, irb_workspace, ring_workspace, weight_workspace
from .kernel_cache import kernels_of
from .native import Kernel, open_kernels


@cache
def _opened(module: str, *settings: int) -> Dict[str, Kernel]:
    return open_kernels(kernels_of(module, *settings))


@dataclass(frozen=True)
class IRBKernels:
    """An IRB block at inference; see :mod:`.numba_irb`.

    Attributes:
        tile: computes one tile.
        workspace: maps (gang, slices, channels, results, rows, columns) to the number of float32 that `tile` needs.
    """

    tile: Kernel
    workspace: Callable[[int, int, int, int, int, int], int]


@lru_cache(maxsize=2)
def irb_kernels(lanes: int) -> IRBKernels:
    """The kernel for one width of register."""
    return IRBKernels(_opened("numba_irb", lanes)["tile"], irb_workspace(lanes))


@dataclass(frozen=True)
class StageKernels:
    """The layers between the IRB blocks; see :mod:`.numba_stages`.

    Each computes the output rows `first` to `last` - 1, numbered through all slices.

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

    Each writes the rows `first` to `last` - 1 of its output, numbered through all slices.

    Attributes:
        halve: gradient of the mean over 2 x 2 x 2 voxels: an eighth to each of them.
        double: gradient of trilinear up-sampling by two: weights 1/4 and 3/4 along each axis.
        room: maps (width) to the number of float32 that each concurrent call of `double` needs.
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
    """Batch norm in training, without ELU (key False) or followed by it (key True); see :mod:`.numba_norm`.

    Arguments of each: addresses of up to three tensors, of its parameters (rows of C) and of its sums,
    then the number of rows, C, and the range of blocks, `first` to `last` - 1.

    Attributes:
        sums: tensor x; parameter pivot; sums of x - pivot and of its square, two rows of C per block.
        apply: tensors x, out; parameters scale, shift.
        add: tensors x, other, out = other + scale * x + shift; parameters scale, shift.
        gradient_sums: tensors x, gradient w.r.t. the output; parameters scale, shift, mean; sums of g
            and of g (x - mean), where g is the gradient w.r.t. the input of ELU.
        gradient: tensors x, gradient w.r.t. the output, gradient w.r.t. x; parameters scale, shift,
            mean, and a, b, c of a g + b (x - mean) + c.
    """

    sums: Kernel
    add: Kernel
    apply: Dict[bool, Kernel]
    gradient_sums: Dict[bool, Kernel]
    gradient: Dict[bool, Kernel]


def norm_kernels(lanes: int, channels: int) -> NormKernels:
    """The kernels for rows of `channels` numbers."""
    groups = channels // lanes
    # Reading 512 contiguous bytes at a time takes two thirds of the time of one cache line per row.
    return _norm_kernels(lanes, next(n for n in (128 // lanes, 8, 4, 2, 1) if groups % n == 0))


@lru_cache(maxsize=8)
def _norm_kernels(lanes: int, together: int) -> NormKernels:
    found = _opened("numba_norm", lanes, together)

    def both(name: str) -> Dict[bool, Kernel]:
        return {False: found[name], True: found[f"{name}_elu"]}

    return NormKernels(found["sums"], found["add"], both("apply"), both("gradient_sums"), both("gradient"))


@dataclass(frozen=True)
class PointwiseKernels:
    """The 1x1x1 convolutions of an IRB block in training, with what surrounds them; see :mod:`.numba_pointwise`.

    x and the result p of the block's last convolution have C channels, y (expanded) and z (convolved) have W, a
    multiple of twice the vector length and at most `workspace.WIDEST`.  Sums have one part for each block of rows.
    The last arguments of each are the number of rows, that of a block, C, W, and the range of blocks, `first` to
    `last` - 1.

    Attributes:
        expand: x, weights (C, W), y (written), pivot (W), sums of y - pivot and of its square (2, W).
        project: z, scale and shift of its norm (2, W), weights (W, C), p (written), pivot (C), sums (2, C); ELU
            follows the norm.
        project_back: p, gradient w.r.t. the result of p's norm, that norm's (4, C), z, its scale, shift and mean
            (3, W), weights (C, W), gradient w.r.t. the input of ELU (written), sums of it and of it times (z - mean)
            (2, W), gradient of the weights (C, W).
        expand_back: y, gradient w.r.t. the result of its norm, that norm's (4, W), x, weights (W, C), what is added to
            the gradient w.r.t. x, that gradient (written), gradient of the weights (C, W).

    The (4, ...) of a norm are mean, a, b, c: the gradient w.r.t. its input u is a times that w.r.t. its result, plus
    b (u - mean) + c.
    """

    expand: Kernel
    project: Kernel
    project_back: Kernel
    expand_back: Kernel


@lru_cache(maxsize=2)
def pointwise_kernels(lanes: int) -> PointwiseKernels:
    """The kernels for one width of register."""
    return PointwiseKernels(**_opened("numba_pointwise", lanes))


@dataclass(frozen=True)
class TileKernels:
    """A training kernel that processes some groups of channels of one tile.

    Attributes:
        lanes: channels per group.
        tile: computes one tile.
        workspace: maps (groups, slices, columns) to the number of float32 that `tile` needs.
        results: number and dtype of the sums that it writes for each group.
    """

    lanes: int
    tile: Kernel
    workspace: Callable[[int, int, int], int]
    results: Tuple[int, str]


@lru_cache(maxsize=8)
def convolution_kernels(
    lanes: int, activated: bool = False, measured: bool = False, pulled: bool = False
) -> TileKernels:
    """The depth-wise 5x5x5 convolution; see :mod:`.numba_convolution`.

    Args:
        activated: the input of the convolution is ELU(scale * x + shift).
        measured: the kernel also sums its output minus `mean`, and the square of that.
        pulled: the output is multiplied by the derivative of that ELU at `beside`; the sums are of the
            output, and of the output times (`beside` - `mean`).
    """
    settings = (int(activated), int(measured), int(pulled))
    tile = _opened("numba_convolution", lanes, *settings)["tile"]
    return TileKernels(lanes, tile, ring_workspace(lanes), (2 * lanes, "float64"))


@lru_cache(maxsize=4)
def weight_kernels(lanes: int, activated: bool = False) -> TileKernels:
    """The weight gradient of the depth-wise 5x5x5 convolution; see :mod:`.numba_depthwise`.

    Args:
        activated: the input of the convolution was ELU(scale * x + shift).
    """
    tile = _opened("numba_depthwise", lanes, int(activated))["tile"]
    return TileKernels(lanes, tile, weight_workspace(lanes), (POINTS * TAPS * TAPS * lanes, "float32"))
