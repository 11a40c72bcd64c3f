"""The networks of a comparison: the paper's five networks, and ablations of LV-Net."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Dict, List, Mapping, Sequence

from lvnet.errors import ConfigurationError

from ..config import Config

#: The network that all others are compared with.
REFERENCE = "lvnet"
_OTHER_NAMES = {"unet2d": "unet", "3dunet": "unet3d", "eps-4": REFERENCE}


@dataclass(frozen=True)
class Contestant:
    """One network of a comparison.

    Attributes:
        name: its name on the command line and of its folder.
        title: its title in tables.
        network: `network` of the configuration.
        architecture: differences of its architecture from the configuration's.
        heads: whether it is trained with the configuration's auxiliary outputs.
    """

    name: str
    title: str
    network: str = REFERENCE
    architecture: Mapping[str, Any] = field(default_factory=dict)
    heads: bool = True

    def config(self, config: Config, narrower: int = 1) -> Config:
        """The configuration of its run, which differs only in the network.

        Args:
            narrower: divisor of a baseline's widths; 1 gives the paper's.
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
#: In the order of the paper's Table 2, but LV-Net first, since the others are compared with it.
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
#: Ablations for each of the paper's claims: LV-Net without one idea, or with another expansion.
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
    """The contestants with these names, without duplicates.

    Raises:
        ConfigurationError: a name is unknown, or there are no names.
    """
    everyone = {**NETWORKS, **ABLATIONS}
    found: Dict[str, Contestant] = {}
    for given in names:
        name = _OTHER_NAMES.get(given.strip().lower(), given.strip().lower())
        if name not in everyone:
            raise ConfigurationError(f"unknown network {given!r}; choose from {', '.join(everyone)}")
        found[name] = everyone[name]
    if not found:
        raise ConfigurationError(f"give the networks to compare: {', '.join(everyone)}")
    return list(found.values())
