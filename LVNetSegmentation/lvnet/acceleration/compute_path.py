"""Which way the outputs of a network are computed, and what would be faster."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Dict, Mapping

#: Names of the ways, as users read them.
NUMBA, TILES, TRITON, PLAIN = "Numba kernels", "PyTorch tiles", "Triton kernels", "PyTorch"


@dataclass(frozen=True)
class ComputePath:
    """The way that was chosen for one network on one device.

    Attributes:
        name: NUMBA, TILES, TRITON or PLAIN.
        left_out: why a faster way that is installed is not used, in one line; empty where none is left out.
        faster_with: the package (`numba`) whose installation gives a faster way; empty where there is none.
    """

    name: str = PLAIN
    left_out: str = ""
    faster_with: str = ""

    def to_dict(self) -> Dict[str, str]:
        """The way as a JSON object."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> ComputePath:
        """Reads what :meth:`to_dict` wrote.

        Raises:
            KeyError, TypeError: it is something else.
        """
        return cls(str(fields["name"]), str(fields["left_out"]), str(fields["faster_with"]))
