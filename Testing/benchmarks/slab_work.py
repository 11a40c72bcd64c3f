"""Counts the work of each part of LV-Net's fast CPU network: operations, vector instructions and bytes."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

from lvnet.acceleration.layout.winograd import OUTPUTS, POINTS

#: Vector instructions of the input and output transforms of a tile of four voxels, see layout/winograd.py.
_TRANSFORM_INPUT, _TRANSFORM_OUTPUT = 26, 16
_KERNEL = 5


class Work(NamedTuple):
    """Work of a part of the network for one input.

    Attributes:
        operations: multiply-adds of the network's definition, e.g. 125 per voxel for a 5x5x5 convolution.
        instructions: arithmetic vector instructions of the kernels; without loads, moves and the values that are
            computed twice at the borders of tiles.
        bytes: size of the input and the output, each counted once.
    """

    operations: float = 0.0
    instructions: float = 0.0
    bytes: float = 0.0

    def plus(self, other: Work) -> Work:
        """The sum of both."""
        return Work(*(a + b for a, b in zip(self, other)))


Count = Callable[..., Work]


def of_elu(lanes: int) -> int:
    """Vector instructions of `VectorCode.elu`."""
    return 10 if lanes == 16 else 12


def of_scaled_elu(lanes: int) -> int:
    """Vector instructions of `VectorCode.scaled_elu`."""
    return 8 if lanes == 16 else 12


def of_block(block: Any, lanes: int) -> Count:
    """Work of an IRB block (`FusedIRB`)."""
    channels, wide, results = block.channels, block.groups * lanes, block.results
    residual = 0 if block.residual is None else channels

    def count(x: Any, *_: Any) -> Work:
        voxels = _voxels(x)
        winograd = _KERNEL**2 * POINTS / OUTPUTS + (_TRANSFORM_INPUT + _TRANSFORM_OUTPUT) / OUTPUTS
        vectors = wide / lanes * (channels + 2 * of_scaled_elu(lanes) + winograd) + (wide + residual) * results / lanes
        operations = wide * (channels + _KERNEL**3) + (wide + residual) * results
        return Work(voxels * operations, voxels * vectors, voxels * 4.0 * (channels + results))

    return count


def of_stem(channels: int, lanes: int) -> Count:
    """Work of the first convolution; transforming its one channel is not counted."""

    def count(x: Any, *_: Any) -> Work:
        voxels = float(x.numel())
        winograd = (_KERNEL**2 * POINTS + _TRANSFORM_OUTPUT) / OUTPUTS
        vectors = channels / lanes * (winograd + of_elu(lanes))
        return Work(voxels * channels * _KERNEL**3, voxels * vectors, voxels * 4.0 * (1 + channels))

    return count


def of_pointwise(lanes: int) -> Count:
    """Work of a 1x1x1 convolution with ELU."""

    def count(x: Any, linear: Any, *_: Any) -> Work:
        voxels, (results, channels) = _voxels(x), linear[0].shape
        vectors = results / lanes * (channels + of_elu(lanes))
        return Work(voxels * channels * results, voxels * vectors, voxels * 4.0 * (channels + results))

    return count


def of_halving(lanes: int) -> Count:
    """Work of the mean over 2 x 2 x 2 voxels: seven additions and one multiplication per result."""

    def count(x: Any, *_: Any) -> Work:
        numbers = float(x.numel())
        return Work(numbers, numbers / lanes, 4.0 * numbers * 9 / 8)

    return count


def of_doubling(lanes: int) -> Count:
    """Work of trilinear up-sampling by two: for two results four products across rows, and two each between columns."""

    def count(x: Any, *_: Any) -> Work:
        results = 8.0 * x.numel()
        return Work(results * 4, results / lanes * 4, 4.0 * results * 9 / 8)

    return count


def _voxels(x: Any) -> float:
    """Number of voxels of a tensor (D, H, W, C)."""
    return float(x.shape[0] * x.shape[1] * x.shape[2])
