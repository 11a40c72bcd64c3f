"""Many scans, segmented by several processes into one folder: records of progress, and a table of all results."""

from __future__ import annotations

from .ledger import Ledger, State
from .shards import Shard

__all__ = ["Ledger", "Shard", "State"]
