"""Formatting times and numbers for the panel."""

from __future__ import annotations

import math
from typing import Optional

from slicer.i18n import tr as _


def duration(seconds: float) -> str:
    """A time span, rounded for reading: `8 s`, `2 min 05 s`, `1 h 10 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return _("{seconds} s").format(seconds=whole)
    if whole < 3600:
        return _("{minutes} min {seconds:02d} s").format(minutes=whole // 60, seconds=whole % 60)
    return _("{hours} h {minutes:02d} min").format(hours=whole // 3600, minutes=whole % 3600 // 60)


def sentence(line: str) -> str:
    """A line with a capital first letter."""
    return line[:1].upper() + line[1:]


def progressLine(stage: str, elapsed: float, remaining: Optional[float]) -> str:
    """The stage of a run with its times, for example `Segmenting: 12 s, about 30 s left`."""
    stage = sentence(stage)
    if remaining is None:
        return _("{stage}: {elapsed}").format(stage=stage, elapsed=duration(elapsed))
    return _("{stage}: {elapsed}, about {remaining} left").format(
        stage=stage, elapsed=duration(elapsed), remaining=duration(remaining)
    )


def number(value: Optional[float], decimals: int, unit: str = "") -> str:
    """A number with its unit; a dash if there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.{decimals}f} {unit}".rstrip()
