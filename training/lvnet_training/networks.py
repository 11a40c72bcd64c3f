"""The network that a configuration names: LV-Net, one of its ablations, or a baseline of the paper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Tuple

import torch
from lvnet.errors import ConfigurationError
from lvnet.network import LVNet
from lvnet.recipe import Architecture
from torch import Tensor, nn

from .baselines import NETWORKS, build

if TYPE_CHECKING:
    from .config import Config

#: LV-Net with a full convolution in the place of every IRB block's three.
VANILLA = "lvnet-vanilla"
#: What `network` of a configuration may be.
NAMES: Tuple[str, ...] = (*NETWORKS, VANILLA)


class VanillaBlock(nn.Module):
    """A k x k x k convolution C to C, batch norm and ELU, plus the input: what an IRB block replaces."""

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.convolve = nn.Sequential(
            nn.Conv3d(channels, channels, kernel_size, padding=kernel_size // 2, bias=False),
            nn.BatchNorm3d(channels),
            nn.ELU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, D, H, W) to the same shape."""
        return x + self.convolve(x)


class VanillaLVNet(LVNet):
    """LV-Net's skeleton with full convolutions; for the paper's comparison only."""

    def __init__(self, architecture: Architecture, deep_supervision: bool = False) -> None:
        super().__init__(architecture, deep_supervision)
        widths, k = architecture.widths, architecture.kernel_size
        self.encoder = nn.ModuleList(VanillaBlock(w, k) for w in widths)
        self.decoder = nn.ModuleList(VanillaBlock(2 * w, k) for w in widths[-2::-1])


class Planar(nn.Module):
    """A network of slices that takes slabs: every slice by itself.

    Args:
        network: takes (N, C, H, W) to (N, classes, H, W).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, D, H, W) to (N, classes, D, H, W)."""
        n, channels, depth, height, width = x.shape
        slices = x.transpose(1, 2).reshape(n * depth, channels, height, width)
        logits = self.network(slices)
        return logits.reshape(n, depth, -1, height, width).transpose(1, 2)


def divisors(network: str, architecture: Architecture) -> Tuple[int, int, int]:
    """What (z, y, x) sides of a patch must be multiples of.

    Raises:
        ConfigurationError: there is no network of that name.
    """
    if network not in NAMES:
        raise ConfigurationError(f"there is no network {network!r}; choose {', '.join(NAMES)}")
    side = architecture.divisor if network in ("lvnet", VANILLA) else 32 if network == "cenet" else 16
    return (1 if network in NETWORKS and NETWORKS[network].planar else side, side, side)


def supervises(network: str) -> bool:
    """Whether the network has auxiliary outputs to train."""
    return network in ("lvnet", VANILLA)


def build_network(config: Config, training: bool = True) -> nn.Module:
    """The network of a configuration with random weights.

    Args:
        training: with the auxiliary heads, where the configuration weights them.
    """
    heads = training and bool(config.eta)
    if config.network == "lvnet":
        return LVNet(config.architecture, deep_supervision=heads)
    if config.network == VANILLA:
        return VanillaLVNet(config.architecture, deep_supervision=heads)
    network = build(config.network, config.architecture.in_channels, config.architecture.classes)
    return Planar(network) if NETWORKS[config.network].planar else network


def channels_last(network: nn.Module) -> nn.Module:
    """The network itself with its weights in the memory order that is fastest."""
    order = torch.channels_last if isinstance(network, Planar) else torch.channels_last_3d
    return network.to(memory_format=order)  # type: ignore[call-overload]
