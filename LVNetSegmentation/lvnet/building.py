"""Building the network of a recipe's architecture: LV-Net, a variant of it, or a baseline of the paper."""

from __future__ import annotations

import torch
from torch import nn

from .network import LVNet
from .recipe import Architecture


def build_network(architecture: Architecture, deep_supervision: bool = False) -> nn.Module:
    """A network with random weights that takes slabs (N, C, D, H, W).

    Args:
        architecture: the network and its sizes.
        deep_supervision: also build LV-Net's auxiliary heads; the baselines have none.
    """
    if architecture.plain:
        return LVNet(architecture, deep_supervision)
    # Networks that only comparisons need are imported only if a recipe names them.
    if architecture.network == "lvnet":
        from .variants import VariantLVNet

        return VariantLVNet(architecture, deep_supervision)
    from .baselines import NETWORKS, Planar, build

    a = architecture
    network = build(a.network, a.in_channels, a.classes, a.narrower)
    return Planar(network) if NETWORKS[a.network].planar else network


def channels_last(network: nn.Module) -> nn.Module:
    """The same network with its weights in the fastest memory format."""
    flat = any(isinstance(module, nn.Conv2d) for module in network.modules())
    return network.to(memory_format=torch.channels_last if flat else torch.channels_last_3d)  # type: ignore[call-overload]
