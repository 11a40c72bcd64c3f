"""One part of the scans, for one of several processes or computers."""

from __future__ import annotations

import re
from typing import NamedTuple, Sequence, TypeVar

from ..errors import ConfigurationError

Item = TypeVar("Item")


class Shard(NamedTuple):
    """Part `number` of `total`, counted from 1."""

    number: int = 1
    total: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Reads `K/N`.

        Raises:
            ConfigurationError: it is something else, or K is not one of 1 to N.
        """
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text.strip())
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise ConfigurationError(f"--shard must be K/N with K from 1 to N, such as 1/4, not {text!r}")
        return cls(int(found[1]), int(found[2]))

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """Every N-th item from the K-th on: neighbouring scans, often of similar size, go to different parts."""
        return items[self.number - 1 :: self.total]
