"""The networks that the paper compares LV-Net with, by name.

Each has the size in the paper's Table 3 and random initial weights; nothing is downloaded.  They are part of the
core so that weights whose recipe names one of them run wherever LV-Net does; they are only imported in that case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, Tuple

from torch import nn

from ..errors import ConfigurationError
from ..network import LVNet
from ..recipe import Architecture
from .cenet import CENet
from .planar import Planar
from .unet import UNet
from .unet3d import UNet3D
from .vnet import VNet

__all__ = ["NETWORKS", "Baseline", "CENet", "Planar", "UNet", "UNet3D", "VNet", "build"]


@dataclass(frozen=True)
class Baseline:
    """A network of the paper's Table 3.

    Attributes:
        title: its name in the table.
        make: makes the network from the number of input channels, the classes, and the divisor of its widths.
        input_size: (N, C, ...) for the table's operations.
        reading: details that follow from the table's numbers rather than from the network's own paper.
    """

    title: str
    make: Callable[[int, int, int], nn.Module]
    input_size: Tuple[int, ...]
    reading: str = ""

    @property
    def planar(self) -> bool:
        """Whether it takes slices, (N, C, H, W), rather than slabs, (N, C, D, H, W)."""
        return len(self.input_size) == 4


def _lvnet(in_channels: int, classes: int, narrower: int) -> nn.Module:
    widths = tuple(width // narrower for width in Architecture().widths)
    return LVNet(Architecture(in_channels=in_channels, classes=classes, widths=widths))


_SLICE, _SLAB = (1, 1, 512, 512), (1, 1, 16, 256, 256)

#: In the order of the table, LV-Net last.
NETWORKS: Dict[str, Baseline] = {
    "unet": Baseline("U-Net", UNet, _SLICE),
    "cenet": Baseline("CE-Net", CENet, _SLICE, "two classes; the encoder starts from random weights"),
    "unet3d": Baseline("3D U-Net", UNet3D, _SLAB, "up-sampling without weights; pooling pads by one voxel"),
    "vnet": Baseline("V-Net", VNet, _SLAB, "2, 3, 3, 3 and 3, 3, 2, 1 convolutions a stage"),
    "lvnet": Baseline("LV-Net", _lvnet, _SLAB, "bottom width 176"),
}


def build(name: str, in_channels: int = 1, classes: int = 2, narrower: int = 1) -> nn.Module:
    """A network with random weights.

    Args:
        name: unet, cenet, unet3d, vnet or lvnet.
        in_channels: channels of a slice or slab.
        classes: classes including background.
        narrower: divisor of every width; 1 gives the paper's network.

    Raises:
        ConfigurationError: the name is unknown.
    """
    if name not in NETWORKS:
        raise ConfigurationError(f"there is no network {name!r}; choose {', '.join(NETWORKS)}")
    return NETWORKS[name].make(in_channels, classes, narrower)
