"""Who takes part in a comparison: the paper's five networks, and LV-Net with one of its ideas taken back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Dict, List, Mapping, Sequence

from lvnet.errors import ConfigurationError

from ..config import Config

#: The network that every other is tested against.
REFERENCE = "lvnet"
_OTHER_NAMES = {"unet2d": "unet", "3dunet": "unet3d", "eps-4": REFERENCE}


@dataclass(frozen=True)
class Contestant:
    """One network of a comparison.

    Attributes:
        name: on the command line and of its folder.
        title: in tables.
        network: of the configuration.
        architecture: what its architecture has otherwise than the configuration's.
        heads: whether it is trained with the configuration's auxiliary outputs.
    """

    name: str
    title: str
    network: str = REFERENCE
    architecture: Mapping[str, Any] = field(default_factory=dict)
    heads: bool = True

    def config(self, config: Config, narrower: int = 1) -> Config:
        """The settings of its run: the configuration's in all but the network.

        Args:
            narrower: what the widths of a baseline are divided by; 1 is the paper's.
        """
        changes = dict(self.architecture)
        if self.network != REFERENCE:
            changes.update(network=self.network, narrower=narrower)
        return replace(
            config,
            name=f"{config.name}-{self.name}",
            network=self.network,
            architecture=replace(config.architecture, **changes),
            eta=config.eta if self.heads else (),
        )


_LVNET = Contestant(REFERENCE, "LV-Net")
#: In the order of the paper's Table 2, LV-Net first: what others are compared with is there first.
NETWORKS: Dict[str, Contestant] = {
    entry.name: entry
    for entry in (
        _LVNET,
        Contestant("unet", "U-Net", "unet", heads=False),
        Contestant("cenet", "CE-Net", "cenet", heads=False),
        Contestant("unet3d", "3D U-Net", "unet3d", heads=False),
        Contestant("vnet", "V-Net", "vnet", heads=False),
    )
}
#: The paper's claims one by one: each is LV-Net without one idea, or with another expansion.
ABLATIONS: Dict[str, Contestant] = {
    entry.name: entry
    for entry in (
        _LVNET,
        Contestant("no-deep-supervision", "without deep supervision", heads=False),
        Contestant("eps-1", "eps = 1", architecture={"expansion": 1}),
        Contestant("eps-2", "eps = 2", architecture={"expansion": 2}),
        Contestant("eps-6", "eps = 6", architecture={"expansion": 6}),
        Contestant("vanilla", "vanilla convolutions", architecture={"block": "vanilla"}),
        Contestant("strided", "strided convolutions", architecture={"down": "strided"}),
        Contestant("transposed", "transposed convolutions", architecture={"up": "transposed"}),
    )
}


def chosen(names: Sequence[str]) -> List[Contestant]:
    """The contestants of these names, each once.

    Raises:
        ConfigurationError: there is none of a name, or no name.
    """
    everyone = {**NETWORKS, **ABLATIONS}
    found: Dict[str, Contestant] = {}
    for given in names:
        name = _OTHER_NAMES.get(given.strip().lower(), given.strip().lower())
        if name not in everyone:
            raise ConfigurationError(f"there is no network {given!r} to compare; choose from {', '.join(everyone)}")
        found[name] = everyone[name]
    if not found:
        raise ConfigurationError(f"name networks to compare: {', '.join(everyone)}")
    return list(found.values())
