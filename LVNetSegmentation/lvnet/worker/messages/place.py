"""The geometry of a volume, as fields of a message."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Dict, Mapping, Tuple

from ...volume import Volume

KEYS = ("spacing", "origin", "direction")


@dataclass(frozen=True)
class Place:
    """The geometry of a volume in the patient's coordinate system.

    Attributes:
        spacing: (z, y, x) mm.
        origin: (x, y, z) mm, LPS.
        direction: nine numbers in row-major order, LPS.
    """

    spacing: Tuple[float, float, float]
    origin: Tuple[float, float, float]
    direction: Tuple[float, ...]

    @classmethod
    def of(cls, volume: Volume) -> Place:
        """The geometry of a volume."""
        return cls(volume.spacing, volume.origin, volume.direction)

    def to_fields(self, prefix: str = "") -> Dict[str, Any]:
        """Three fields of a message, with names that start with the prefix."""
        return {f"{prefix}{key}": list(numbers) for key, numbers in asdict(self).items()}

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any], prefix: str = "") -> Place:
        """Reads what :meth:`to_fields` wrote."""
        (z, y, x), (a, b, c), direction = (map(float, fields[f"{prefix}{key}"]) for key in KEYS)
        return cls((z, y, x), (a, b, c), tuple(direction))
