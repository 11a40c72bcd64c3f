"""Many scans, segmented by many processes into one folder: what is done, what is left, and one table of all."""

from __future__ import annotations

from .ledger import Ledger, State
from .shards import Shard

__all__ = ["Ledger", "Shard", "State"]
