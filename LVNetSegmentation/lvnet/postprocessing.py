"""Postprocessing: keeps the largest connected component of each class and fills its holes.

Components are joined through voxel faces (6-connectivity).  With 26-connectivity, noise or a strip along a
neighbouring organ would be joined to the liver by a single corner; no real part of an organ is joined like that at CT
resolution.  Holes follow the same rule, so that a wall of voxels that touch by their edges counts as closed.

Each class is processed inside its bounding box, which takes five bytes per voxel of the box beside the result.
"""

from __future__ import annotations

from typing import List, Tuple

import numpy as np
from scipy import ndimage

from .boxes import Box, bounding_box, box_of_value

#: Voxels are neighbours through their faces.
_FACES = ndimage.generate_binary_structure(3, 1)


def postprocess(labels: np.ndarray) -> np.ndarray:
    """Keeps the largest component of every class, then fills the holes in it.

    Args:
        labels: (z, y, x) uint8 label map, 0 is background.

    Returns:
        A new label map of the same shape and type.

    Raises:
        ValueError: not three axes, or not uint8.
    """
    tidy = _copied(labels)
    _keep_largest(tidy)
    _fill(tidy)
    return tidy


def largest_component(labels: np.ndarray) -> np.ndarray:
    """Keeps the largest 6-connected component of every class and sets the others to background.

    Of components of equal size the first in the order of voxels stays.

    Args:
        labels: (z, y, x) uint8 label map, 0 is background.

    Returns:
        A new label map of the same shape and type.

    Raises:
        ValueError: not three axes, or not uint8.
    """
    tidy = _copied(labels)
    _keep_largest(tidy)
    return tidy


def fill_holes(labels: np.ndarray) -> np.ndarray:
    """Gives background that a class fully encloses in 3D to that class.

    Other classes inside the hole stay as they are.  What reaches the edge of the scan is no hole.

    Args:
        labels: (z, y, x) uint8 label map, 0 is background.

    Returns:
        A new label map of the same shape and type.

    Raises:
        ValueError: not three axes, or not uint8.
    """
    tidy = _copied(labels)
    _fill(tidy)
    return tidy


def _copied(labels: np.ndarray) -> np.ndarray:
    if labels.ndim != 3 or labels.dtype != np.uint8:
        raise ValueError(f"a label map is (z, y, x) uint8, not {labels.dtype} with {labels.ndim} axes")
    return labels.copy()


def _keep_largest(labels: np.ndarray) -> None:
    for value, box in _classes(labels):
        crop = labels[box]
        pieces, sizes = components(crop == value)
        if sizes.size > 1:
            largest = np.argmax(sizes) + 1
            for plane, piece in zip(crop, pieces):
                plane[(piece != 0) & (piece != largest)] = 0


def _fill(labels: np.ndarray) -> None:
    for value, box in _classes(labels):
        crop = labels[box]
        gaps, enclosed = gaps_of(crop, value)
        if enclosed.any():
            for plane, gap in zip(crop, gaps):
                plane[enclosed[gap] & (plane == 0)] = value


def components(mask: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """The 6-connected components of a mask, numbered in the order of their first voxels.

    Args:
        mask: (z, y, x) bool.

    Returns:
        (z, y, x) int32 with the number of each voxel's component, from 1 on, and the voxels of each component.
    """
    found, count = ndimage.label(mask, _FACES)
    sizes = np.zeros(count + 1, np.int64)
    for plane in found:  # counting all at once would take eight bytes a voxel more
        sizes += np.bincount(plane.ravel(), minlength=count + 1)
    return found, sizes[1:]


def gaps_of(crop: np.ndarray, value: int) -> Tuple[np.ndarray, np.ndarray]:
    """The 6-connected components of what is not a class, and which of them the class encloses.

    Args:
        crop: (z, y, x) label map, cut to the bounding box of the class, so that what reaches its faces is outside.
        value: of the class.

    Returns:
        (z, y, x) int32 with the number of each voxel's component, 0 for the class itself; and by number, whether it is
        enclosed.
    """
    found, count = ndimage.label(crop != value, _FACES)
    enclosed = np.ones(count + 1, bool)
    enclosed[0] = False
    for face in (found[0], found[-1], found[:, 0], found[:, -1], found[:, :, 0], found[:, :, -1]):
        enclosed[face] = False
    return found, enclosed


def _classes(labels: np.ndarray) -> List[Tuple[int, Box]]:
    """Every class that occurs and its bounding box."""
    whole = bounding_box(labels)
    if whole is None:
        return []
    crop = labels[whole]
    boxes: List[Tuple[int, Box]] = []
    present = np.zeros(256, bool)
    for plane in crop:
        present |= np.bincount(plane.ravel(), minlength=256) > 0
    values = [int(value) for value in np.flatnonzero(present) if value]
    if len(values) == 1:
        return [(values[0], whole)]
    for value in values:
        found = box_of_value(crop, value)
        assert found is not None
        z_side, y_side, x_side = (
            slice(part.start + side.start, part.stop + side.start) for part, side in zip(found, whole)
        )
        boxes.append((value, (z_side, y_side, x_side)))
    return boxes
