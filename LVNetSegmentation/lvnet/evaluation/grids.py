"""Bringing a prediction and its reference to a common grid."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any, List, Optional, Sequence, Tuple

import numpy as np

from ..errors import GeometryError, ImageError
from ..metrics.bits import bounding_box
from ..orientation import to_canonical
from ..volume import Volume

#: Most voxels of the region in which two masks are compared.
MOST_VOXELS = 2_000_000_000
# Tolerance for equal spacings and directions; and for the offset of two lattices, in voxels.
_SAME, _OFF_LATTICE = 1e-3, 0.02


def on_one_grid(prediction: Volume, reference: Volume, resample: bool) -> Tuple[Volume, Volume, List[str]]:
    """Both volumes on the prediction's grid, and notes about what was done.

    Axes that are only permuted or flipped are matched without resampling.  The evaluated region never depends
    on the prediction's extent alone: it is the union of both.

    Raises:
        GeometryError: the grids differ in another way and `resample` is False.
    """
    if prediction.same_grid(reference):
        return prediction, reference, []
    upright, reference_upright = to_canonical(prediction)[0], to_canonical(reference)[0]
    if upright.same_grid(reference_upright):
        return upright, reference_upright, ["the two are stored in different orientations; their axes were matched"]
    offset = _whole_voxels(upright, reference_upright)
    if offset is not None:
        one, other = _padded(upright, reference_upright, offset)
        note = (
            f"the two cover different parts of one grid ({_difference(upright, reference_upright)}): both were padded"
            " with background to their common extent, without resampling"
        )
        return one, other, [note]
    difference = _difference(upright, reference_upright)
    if not resample:
        raise GeometryError(
            f"prediction and reference have different grids: {difference}; compare files of one scan, or have the "
            "reference resampled to the prediction's grid (--resample)"
        )
    wide = covering(prediction, reference)
    region = (
        "" if wide.shape == prediction.shape else ", which was padded with background to contain all of the reference"
    )
    note = (
        f"the grids differ ({difference}): the reference was resampled to the prediction's grid (nearest neighbour)"
        f"{region}; this adds an error of up to half a voxel"
    )
    return wide, _resampled(reference, wide), [note]


def covering(volume: Volume, other: Volume) -> Volume:
    """A label map on its own lattice, padded with background to include the labels of another one.

    Otherwise labels outside the prediction's extent would not count as false negatives.

    Args:
        volume: (z, y, x) labels.
        other: labels on any grid.

    Raises:
        ImageError: the two are so far apart that they do not fit into memory.
    """
    box = bounding_box(other.array)
    if box is None:
        return volume
    to_index = np.linalg.inv(_index_to_world(volume)) @ _index_to_world(other)
    sides = [(side.start - 0.5, side.stop - 0.5) for side in reversed(box)]  # x, y, z
    corners = np.array([(*corner, 1.0) for corner in product(*sides)]).T
    places = (to_index @ corners)[:3]
    size = np.array(volume.shape[::-1])
    if (places.min(axis=1) >= -0.51).all() and (places.max(axis=1) <= size - 0.49).all():
        return volume
    # A margin of one voxel, so that no surface touches the image border.
    low = np.floor(places.min(axis=1)).astype(int) - 1
    high = np.ceil(places.max(axis=1)).astype(int) + 1
    return _grown(volume, np.maximum(0, -low), np.maximum(0, high - size + 1))


def _whole_voxels(one: Volume, other: Volume) -> Optional[np.ndarray]:
    """(x, y, z) offset in voxels between the first voxels of both, if they are on one lattice."""
    step = np.array(one.spacing[::-1])
    if not np.allclose(one.spacing, other.spacing, rtol=0, atol=_SAME * step.min()):
        return None
    if not np.allclose(one.direction, other.direction, rtol=0, atol=_SAME):
        return None
    apart = np.linalg.solve(one.direction_matrix * step, np.array(other.origin) - np.array(one.origin))
    whole = np.rint(apart)
    # Slightly different spacings add up to a shift at the far end.
    reach = np.abs(np.array(one.spacing) - np.array(other.spacing))[::-1] * np.array(other.shape[::-1])
    near = np.abs(apart - whole) * step + reach <= _OFF_LATTICE * step
    return whole.astype(int) if near.all() else None


def _padded(one: Volume, other: Volume, offset: np.ndarray) -> Tuple[Volume, Volume]:
    """Both on the union of their extents; `offset` as :func:`_whole_voxels` gives it."""
    size, other_size = np.array(one.shape[::-1]), np.array(other.shape[::-1])
    low, high = np.minimum(0, offset), np.maximum(size, offset + other_size)
    wide = _grown(one, -low, high - size)
    moved = _grown(other, offset - low, high - offset - other_size)
    return wide, replace(moved, spacing=wide.spacing, origin=wide.origin, direction=wide.direction)


def _grown(volume: Volume, before: np.ndarray, after: np.ndarray) -> Volume:
    """Pads with (x, y, z) background voxels on either side."""
    size = np.array(volume.shape[::-1])
    if not float(np.prod((size + before + after).astype(float))) <= MOST_VOXELS:
        raise ImageError("the two masks are too far apart to be compared; check that both belong to the same scan")
    pad = [(int(before[axis]), int(after[axis])) for axis in (2, 1, 0)]
    moved = _index_to_world(volume) @ np.array([*(-before.astype(float)), 1.0])
    x, y, z = (float(part) for part in moved[:3])
    return replace(volume, array=np.pad(volume.array, pad), origin=(x, y, z))


def _index_to_world(volume: Volume) -> np.ndarray:
    """(4, 4) from (x, y, z) indices to LPS."""
    matrix = np.eye(4)
    matrix[:3, :3] = volume.direction_matrix * np.asarray(volume.spacing[::-1])
    matrix[:3, 3] = volume.origin
    return matrix


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
