"""Volume and HU statistics of the labels of a segmentation."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from .evaluation.common_grid import on_one_grid
from .evaluation.organ_names import LIVER
from .evaluation.sides import Side
from .volume import Volume

_PERCENTILES = (5, 25, 50, 75, 95)


def measured(scan: Volume, labels: Volume, side: Side) -> Dict[str, Any]:
    """The measurements of every label that occurs; liver with tumours is also measured as a whole.

    Args:
        scan: in HU.
        labels: on the scan's grid, possibly stored with another orientation.
        side: the meaning of the values of `labels`.

    Returns:
        Valid JSON: `labels`, by name (or `label N`) the `value` or values, `voxels`, `volume_ml` and,
        under `hu`, `mean`, `sd`, `min`, `max` and percentiles (`p5` to `p95`) of the voxels that are
        inside the scan, null if none is; `notes`.

    Raises:
        GeometryError: the two have different grids.
    """
    on_labels, on_scan, notes = on_one_grid(labels, scan, False)
    _, covered, _ = on_one_grid(labels, scan.with_array(np.ones(scan.shape, np.uint8)), False)
    result: Dict[str, Any] = {}
    outside = 0
    for name, values, voxels in _wanted(side):
        mask = np.isin(on_labels.array, voxels)
        inside = mask & (covered.array != 0)
        count = int(np.count_nonzero(mask))
        outside += count - int(np.count_nonzero(inside))
        result[name] = {
            "value": values[0] if len(values) == 1 else list(values),
            "voxels": count,
            "volume_ml": round(count * on_labels.voxel_volume_ml, 4),
            "hu": _statistics(on_scan.array[inside]),
        }
    if outside:
        notes = [*notes, f"{outside} voxels lie outside the scan and have no HU"]
    return {"labels": result, "notes": [*scan.notes, *labels.notes, *notes]}


def _wanted(side: Side) -> List[Tuple[str, Tuple[int, ...], Tuple[int, ...]]]:
    """Name, label values and array values of everything that is measured."""
    found: List[Tuple[str, Tuple[int, ...], Tuple[int, ...]]] = []
    for segment in side.segments:
        if side.present & set(segment.voxels):
            name = segment.name or segment.meaning or f"label {segment.value}"
            if any(name == other for other, _, _ in found):
                name = f"{name} (label {segment.value})"
            found.append((name, (segment.value,), segment.voxels))
    whole = side.of_organ(LIVER)
    if len(whole) > 1:
        values = tuple(sorted({segment.value for segment in whole}))
        found.append(("liver with its tumours", values, tuple({v for s in whole for v in s.voxels})))
    return found


def _statistics(values: np.ndarray) -> Optional[Dict[str, float]]:
    if not values.size:
        return None
    exact = values.astype(np.float64)
    numbers = {"mean": exact.mean(), "sd": exact.std(), "min": exact.min(), "max": exact.max()}
    numbers.update({f"p{share}": value for share, value in zip(_PERCENTILES, np.percentile(exact, _PERCENTILES))})
    return {name: round(float(value), 3) for name, value in numbers.items()}
