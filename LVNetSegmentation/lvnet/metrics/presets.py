"""Presets: the definitions of the five metrics in different tools.

Published numbers depend on the definition: the choice between the 6- and the 18-neighbourhood for the
surface alone changes ASSD by about 13 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict

from ..errors import ConfigurationError


@dataclass(frozen=True)
class Preset:
    """One set of definitions.

    Attributes:
        name: its name on the command line and in results.
        surface: `voxels18` or `voxels6`, the voxels that an erosion with that neighbourhood
            removes; `surfels`, the corners between voxels where a marching-cubes surface passes,
            weighted by its area there.
        outside_is_background: whether a mask that is cut off at the image border has a surface there.
        rvd_as_percentage: whether RVD is |P - R| / R * 100 rather than the signed fraction.
        summary: the definition in one sentence, for help texts and reports.
    """

    name: str
    surface: str
    outside_is_background: bool
    rvd_as_percentage: bool
    summary: str


_ALL = (
    Preset(
        "lits",
        "voxels18",
        True,
        False,
        "LiTS challenge: surface of the 18-neighbourhood, distances pooled over both surfaces; RVD = (P - R) / R "
        "(the challenge's own script swaps its arguments and therefore prints (R - P) / P)",
    ),
    Preset(
        "chaos",
        "voxels6",
        False,
        True,
        "CHAOS challenge: surface of the 6-neighbourhood, without the image border, distances pooled; "
        "RVD is absolute, in percent",
    ),
    Preset("medpy", "voxels6", True, False, "MedPy: surface of the 6-neighbourhood, distances pooled; RVD signed"),
    Preset(
        "surfel",
        "surfels",
        True,
        False,
        "Nikolov et al.: half-voxel surface elements, distances weighted by their area; HD95 is the larger of both "
        "directions",
    ),
)

#: The definitions by name; `lits` is the default everywhere.
PRESETS: Dict[str, Preset] = {preset.name: preset for preset in _ALL}


def preset_named(name: str) -> Preset:
    """The preset with this name.

    Raises:
        ConfigurationError: the name is unknown.
    """
    try:
        return PRESETS[name]
    except (KeyError, TypeError):
        raise ConfigurationError(f"unknown metrics preset {name!r}; choose one of {', '.join(PRESETS)}") from None
