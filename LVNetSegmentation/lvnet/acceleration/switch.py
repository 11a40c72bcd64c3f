"""The environment variable that turns every fast path off."""

from __future__ import annotations

import os

SWITCH = "LVNET_ACCELERATION"


def switched_off() -> bool:
    """Whether the user asked for plain PyTorch: ``LVNET_ACCELERATION=off`` in the environment."""
    return os.environ.get(SWITCH, "").lower() == "off"
