"""The network that a configuration names: LV-Net, one of its ablations, or a baseline of the paper."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Tuple

from lvnet.building import build_network as build
from lvnet.building import channels_last
from lvnet.errors import ConfigurationError
from lvnet.recipe import CHOICES, Architecture
from torch import nn

if TYPE_CHECKING:
    from .config import Config

__all__ = ["NAMES", "architecture_of", "build_network", "channels_last", "divisors", "supervises"]

#: LV-Net with one full convolution instead of the three in every IRB block.
VANILLA = "lvnet-vanilla"
#: Allowed values of `network` in a configuration.
NAMES: Tuple[str, ...] = (*CHOICES["network"][1:], "lvnet", VANILLA)


def architecture_of(network: str, architecture: Architecture) -> Architecture:
    """The architecture for a recipe, with the network that a configuration names.

    Raises:
        ConfigurationError: the network is unknown, or the architecture names another one.
    """
    if network not in NAMES:
        raise ConfigurationError(f"unknown network {network!r}; choose {', '.join(NAMES)}")
    if network == VANILLA:
        return replace(architecture, block="vanilla")
    if network == "lvnet":
        return architecture
    if architecture.network not in ("lvnet", network):
        raise ConfigurationError(f"`network` is {network}, but `architecture` has {architecture.network}")
    return replace(architecture, network=network)


def divisors(architecture: Architecture) -> Tuple[int, int, int]:
    """The divisors of the (z, y, x) sides of a patch."""
    return architecture.depth_divisor, architecture.divisor, architecture.divisor


def supervises(architecture: Architecture) -> bool:
    """Whether the network has auxiliary outputs to train."""
    return architecture.network == "lvnet"


def build_network(config: Config, training: bool = True) -> nn.Module:
    """The network of a configuration with random weights.

    Args:
        training: include the auxiliary heads, if the configuration has weights for them.
    """
    return build(config.shape, deep_supervision=training and bool(config.eta))
