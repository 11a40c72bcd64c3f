"""Detects whether a segment was edited since a run created it."""

from __future__ import annotations

import zlib
from typing import Dict, List, Optional, Sequence

import numpy as np
import slicer
import vtk
from lvnet.boxes import bounding_box
from vtk.util.numpy_support import vtk_to_numpy

#: Segment tag with the fingerprint of the voxels that this module wrote.
_RESULT_TAG = "LVNetSegmentation.Result"
#: Tolerance in mm for a position that was saved and loaded.
_SAME_PLACE = 0.01
#: Cached fingerprints, by the state of the image.
_known: Dict[tuple, str] = {}
_MOST_KNOWN = 32


def rememberResult(segment: slicer.vtkSegment, fingerprint: str) -> None:
    """Stores the fingerprint of a segment in its tags, so that later edits are detected, also in a saved scene.

    Args:
        segment: holds a binary labelmap.
        fingerprint: of exactly these voxels.
    """
    segment.SetTag(_RESULT_TAG, fingerprint)
    _known[_stateOf(_imageOf(segment), segment)] = fingerprint


def editedSegments(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentIds: Sequence[str]) -> List[str]:
    """The names of those segments that differ from what :func:`rememberResult` stored.

    A segment without a stored fingerprint counts as edited, to be safe.
    """
    segmentation = segmentationNode.GetSegmentation()
    edited = []
    for identifier in segmentIds:
        segment = segmentation.GetSegment(identifier)
        stored = vtk.reference("")
        now = fingerprintOf(segment)
        if not segment.GetTag(_RESULT_TAG, stored) or now is None or not _same(str(stored), now):
            edited.append(str(segment.GetName()))
    return edited


def fingerprintsOf(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentIds: Sequence[str]) -> Dict[str, str]:
    """The fingerprints of segments, by identifier."""
    segmentation = segmentationNode.GetSegmentation()
    return {name: fingerprintOf(segmentation.GetSegment(name)) or "" for name in segmentIds}


def fingerprintOf(segment: slicer.vtkSegment) -> Optional[str]:
    """Identifies the voxels of a segment and their position; None if it has no binary labelmap.

    Independent of the empty margin stored around the voxels, and of whether segments share a labelmap.
    """
    image = _imageOf(segment)
    if image is None:
        return None
    state = _stateOf(image, segment)
    if state not in _known:
        while len(_known) >= _MOST_KNOWN:
            del _known[next(iter(_known))]
        _known[state] = _fingerprintOf(image, segment.GetLabelValue())
    return _known[state]


def fingerprint(checksum: int, place: Sequence[float]) -> str:
    """The fingerprint as text.

    Args:
        checksum: of the mask in its bounding box, see :func:`checksumOf`.
        place: position of the first voxel of that box, mm in RAS.
    """
    return " ".join([f"{checksum:08x}", *(f"{part:.3f}" for part in place)])


def checksumOf(inside: np.ndarray, before: Optional[int] = None) -> int:
    """A checksum of a mask.

    Args:
        inside: (z, y, x) uint8 or bool, zeros and ones; or one plane of it, passed in order.
        before: the checksum of the planes before this one; None for the first.
    """
    return zlib.crc32(np.ascontiguousarray(inside).view(np.uint8).data, 0 if before is None else before)


def _imageOf(segment: slicer.vtkSegment) -> Optional[slicer.vtkOrientedImageData]:
    return segment.GetRepresentation(slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName())


def _stateOf(image: slicer.vtkOrientedImageData, segment: slicer.vtkSegment) -> tuple:
    return image.GetAddressAsString(""), image.GetMTime(), segment.GetLabelValue()


def _fingerprintOf(image: slicer.vtkOrientedImageData, value: int) -> str:
    extent = image.GetExtent()
    shape = tuple(extent[2 * axis + 1] - extent[2 * axis] + 1 for axis in (2, 1, 0))
    scalars = image.GetPointData().GetScalars()
    if scalars is None or min(shape) <= 0:
        return "empty"
    voxels = vtk_to_numpy(scalars).reshape(shape)
    mask = voxels == value
    box = bounding_box(mask)
    if box is None:
        return "empty"
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    first = [box[2 - axis].start + extent[2 * axis] for axis in range(3)]
    place = (arrayFromMatrix(matrix) @ np.array([*first, 1.0]))[:3]
    return fingerprint(checksumOf(mask[box]), place)


def arrayFromMatrix(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    """The matrix as a (4, 4) float64 array."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def _same(one: str, other: str) -> bool:
    first, *here = one.split(" ")
    second, *there = other.split(" ")
    places = zip(map(float, here), map(float, there))
    return first == second and len(here) == len(there) and all(abs(a - b) <= _SAME_PLACE for a, b in places)
