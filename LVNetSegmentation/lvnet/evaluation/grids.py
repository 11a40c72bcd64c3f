"""Bringing a prediction and its reference to one grid."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, List, Sequence, Tuple

import numpy as np

from ..errors import GeometryError
from ..orientation import to_canonical
from ..volume import Volume


def on_one_grid(prediction: Volume, reference: Volume, resample: bool) -> Tuple[Volume, Volume, List[str]]:
    """Both volumes on the prediction's grid, and notes of what was done to that end.

    Axes that are merely permuted or flipped against each other are matched without resampling.

    Raises:
        GeometryError: the grids differ otherwise and `resample` is False.
    """
    if prediction.same_grid(reference):
        return prediction, reference, []
    upright, reference_upright = to_canonical(prediction)[0], to_canonical(reference)[0]
    if upright.same_grid(reference_upright):
        return upright, reference_upright, ["the two are stored in different orientations; their axes were matched"]
    difference = _difference(upright, reference_upright)
    if not resample:
        raise GeometryError(
            f"prediction and reference lie on different grids: {difference}; compare files of one scan, or have the "
            "reference resampled to the prediction's grid (--resample)"
        )
    note = (
        f"the grids differ ({difference}): the reference was resampled to the prediction's grid (nearest neighbour), "
        "which adds up to half a voxel of error"
    )
    return prediction, _resampled(reference, prediction), [note]


def _difference(one: Volume, other: Volume) -> str:
    found = []
    if one.shape != other.shape:
        found.append(f"size {_times(one.shape[::-1])} and {_times(other.shape[::-1])} voxels")
    step = min(one.spacing)
    for name, a, b, tolerance in (
        ("spacing", one.spacing[::-1], other.spacing[::-1], 1e-3 * step),
        ("origin", one.origin, other.origin, 1e-3 * step),
    ):
        if not np.allclose(a, b, rtol=0, atol=tolerance):
            found.append(f"{name} {_times(a)} and {_times(b)} mm")
    if not np.allclose(one.direction, other.direction, rtol=0, atol=1e-3):
        found.append("direction of the axes")
    return ", ".join(found)


def _times(numbers: Sequence[float]) -> str:
    return " x ".join(f"{number:.6g}" for number in numbers)


def _resampled(reference: Volume, grid: Volume) -> Volume:
    import SimpleITK as sitk  # noqa: N813 - its usual name

    def image(volume: Volume, array: np.ndarray) -> Any:
        made = sitk.GetImageFromArray(array)
        made.SetSpacing(tuple(float(step) for step in volume.spacing[::-1]))
        made.SetOrigin(tuple(float(part) for part in volume.origin))
        made.SetDirection(tuple(float(part) for part in volume.direction))
        return made

    array = reference.array.view(np.uint8) if reference.array.dtype == np.bool_ else reference.array
    filter_ = sitk.ResampleImageFilter()
    filter_.SetSize([int(size) for size in grid.shape[::-1]])
    filter_.SetOutputSpacing(tuple(float(step) for step in grid.spacing[::-1]))
    filter_.SetOutputOrigin(tuple(float(part) for part in grid.origin))
    filter_.SetOutputDirection(tuple(float(part) for part in grid.direction))
    filter_.SetInterpolator(sitk.sitkNearestNeighbor)
    moved = sitk.GetArrayFromImage(filter_.Execute(image(reference, np.ascontiguousarray(array))))
    return replace(grid, array=moved, name=reference.name, notes=reference.notes)
