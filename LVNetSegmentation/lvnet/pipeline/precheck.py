"""Input checks: whether a scan is likely to show what the weights segment; used by command line, worker and Slicer."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Optional, Tuple, Union

from ..checkpoint import BUNDLED_WEIGHTS, load_checkpoint
from ..recipe import Recipe
from ..scanchecks import Finding, check_input
from ..volume import Volume


def check_scan(scan: Volume, weights: Union[Recipe, str, Path, None] = None) -> Tuple[Finding, ...]:
    """Looks at a scan before it is segmented; loads no network and needs no PyTorch.

    Args:
        scan: (z, y, x) voxels, supposedly in HU.
        weights: a checkpoint's recipe or its path; None takes the bundled one.

    Returns:
        The findings, most severe first; empty if there are none.

    Raises:
        CheckpointError: the weights cannot be used.
    """
    return tuple(check_input(scan, weights if isinstance(weights, Recipe) else recipe_of(weights)))


def recipe_of(weights: Optional[Union[str, Path]] = None) -> Recipe:
    """The recipe of a checkpoint; of one that was read before and has not changed, without reading it again.

    Raises:
        CheckpointError: the weights cannot be used.
    """
    path = os.path.abspath(weights or BUNDLED_WEIGHTS)
    try:
        facts = os.stat(path)
    except (OSError, ValueError):  # said in words by the reader
        return load_checkpoint(path).recipe
    return _recipe(path, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=4)
def _recipe(path: str, _changed: int, _size: int) -> Recipe:
    return load_checkpoint(path).recipe
