"""Reading RTSTRUCT: contours are rasterised on a given grid.

A contour belongs to the slice with the nearest plane, and a voxel to the contour that contains its centre
(scikit-image's `polygon`).  If a structure has several contours in a slice, they are combined by the even-odd rule:
one inside another is a hole, separate ones add up.
"""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import numpy as np

from ..errors import ImageError
from ..volume import Segment, Volume
from .dicom_objects import needs, open_object, understood
from .grid import check_memory
from .overlaps import Overlaps
from .source import Source
from .voxels import INT16_BYTES

STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
#: Largest extent of one contour along the slice axis, in slices.
_FLAT = 0.2
_MOST_SLICES = 20000


def read_rtstruct(name: str, path: str, like: Volume) -> Tuple[Source, Tuple[Segment, ...]]:
    """Rasterises the structures of an RTSTRUCT.

    Args:
        name: the file's name for messages.
        path: the file.
        like: a volume on the grid of the scan that the structures were drawn on.

    Returns:
        The voxels on the grid of `like`, enlarged if structures extend beyond it.

    Raises:
        DependencyError: pydicom or scikit-image is missing.
        ImageError: the file is not an RTSTRUCT, or its contours are not in the slices of `like`.
    """
    data = open_object(name, path)
    try:
        from skimage.draw import polygon
    except ImportError as error:
        raise needs("scikit-image", name) from error
    with understood(name):
        if str(data.get("SOPClassUID", "")) != STRUCTURE_SET:
            raise ImageError(f"{name} is not an RTSTRUCT; give a DICOM SEG, an RTSTRUCT, or a label map")
        segments, contours = _contours(data, like)
        if not any(contours):
            raise ImageError(f"{name} contains no closed contour; export it again")
        axis = _axis_of(name, contours)
        points = np.concatenate([contour for part in contours for contour in part])
        low = np.minimum(0, np.floor(points.min(axis=0)).astype(int))
        high = np.maximum(np.array(like.shape[::-1]), np.ceil(points.max(axis=0)).astype(int) + 1)
        size = high - low
        if size[axis] > _MOST_SLICES:
            raise ImageError(f"{name}: its contours are far from the scan; check that both belong to the same patient")
        check_memory(name, tuple(int(length) for length in size[::-1]), 2 * INT16_BYTES)
        # Slice axis first, whichever axis of the grid it is.
        others = [a for a in (2, 1, 0) if a != axis]
        masks = Overlaps(name, (int(size[axis]), int(size[others[0]]), int(size[others[1]])))
        notes: List[str] = []
        for number, part in enumerate(contours):
            planes: Dict[int, np.ndarray] = {}
            for contour in part:
                moved = contour - low
                index = int(np.rint(moved[:, axis].mean()))
                plane = planes.setdefault(index, np.zeros((size[others[0]], size[others[1]]), bool))
                rows, columns = polygon(moved[:, others[0]], moved[:, others[1]], plane.shape)
                plane[rows, columns] ^= True
            for index, plane in planes.items():
                masks.add(index, plane, number)
            if planes and len(planes) < max(planes) - min(planes) + 1:
                notes.append(
                    f"{segments[number].name} of {name} has slices without a contour between other slices: left empty"
                )
        stack, named = masks.finish(segments)
        return _in_order(stack.array(), axis, low, like, tuple(notes)), named


def _contours(data: Any, like: Volume) -> Tuple[List[Segment], List[List[np.ndarray]]]:
    """The structures, and for each its contours as (n, 3) indices (x, y, z) of the grid."""
    matrix = like.direction_matrix * np.asarray(like.spacing[::-1])
    inverse, origin = np.linalg.inv(matrix), np.array(like.origin)
    drawn = {int(item.ReferencedROINumber): item for item in data.ROIContourSequence}
    segments, contours = [], []
    for item in data.StructureSetROISequence:
        number = int(item.ROINumber)
        title = "".join(c if c.isprintable() else " " for c in str(item.get("ROIName", "")))
        found = []
        for contour in (drawn[number].get("ContourSequence") or []) if number in drawn else []:
            if not str(contour.get("ContourGeometricType", "")).upper().startswith("CLOSED"):
                continue
            points = np.array([float(part) for part in contour.ContourData]).reshape(-1, 3)
            if len(points) > 2 and np.isfinite(points).all():
                found.append((points - origin) @ inverse.T)
        segments.append(Segment(number, title))
        contours.append(found)
    return segments, contours


def _axis_of(name: str, contours: List[List[np.ndarray]]) -> int:
    """The axis (x, y, z) of the grid that the contours are stacked along."""
    spread = np.max([np.ptp(contour, axis=0) for part in contours for contour in part], axis=0)
    axis = int(np.argmin(spread))
    if not spread[axis] <= _FLAT:
        raise ImageError(
            f"{name}: its contours are not in the slices of the scan; check that both belong to the same scan"
        )
    return axis


def _in_order(array: np.ndarray, axis: int, low: np.ndarray, like: Volume, notes: Tuple[str, ...]) -> Source:
    from .voxels import VoxelStack

    ordered = np.moveaxis(array, 0, 2 - axis)
    stack = VoxelStack(ordered.shape)
    for index, plane in enumerate(ordered):
        stack.put(index, plane)
    matrix = like.direction_matrix * np.asarray(like.spacing[::-1])
    origin = np.array(like.origin) + matrix @ low
    return Source(stack, like.spacing[::-1], tuple(float(part) for part in origin), like.direction, notes)
