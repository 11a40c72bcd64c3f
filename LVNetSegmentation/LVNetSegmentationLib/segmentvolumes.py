"""The volumes of the segments of a segmentation."""

from __future__ import annotations

from typing import Dict, Tuple

import numpy as np
import slicer
import vtk
from lvnet.worker.client.steps import Work
from vtk.util.numpy_support import vtk_to_numpy

from .edits import arrayFromMatrix


def segmentVolumes(segmentationNode: slicer.vtkMRMLSegmentationNode) -> Work[Dict[str, float]]:
    """Counts the voxels of every segment, one plane per step; accesses the node in the first step only.

    Args:
        segmentationNode: segments without a binary labelmap are skipped.

    Returns:
        A generator that returns volumes in ml by segment identifier.
    """
    kind = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    segmentation = segmentationNode.GetSegmentation()
    # Segments that do not overlap share a labelmap, in which each has its own value.
    shared: Dict[str, Tuple[np.ndarray, float, Dict[int, str]]] = {}
    volumes: Dict[str, float] = {}
    for index in range(segmentation.GetNumberOfSegments()):
        segment, identifier = segmentation.GetNthSegment(index), segmentation.GetNthSegmentID(index)
        image = segment.GetRepresentation(kind)
        if image is None:
            continue
        volumes[identifier] = 0.0
        if image.GetPointData().GetScalars() is not None and image.GetNumberOfPoints() > 0:
            address = image.GetAddressAsString("")
            if address not in shared:
                shared[address] = (*_voxelsOf(image), {})
            shared[address][2][segment.GetLabelValue()] = identifier
    return _count(shared, volumes)


def _count(
    shared: Dict[str, Tuple[np.ndarray, float, Dict[int, str]]], volumes: Dict[str, float]
) -> Work[Dict[str, float]]:
    for planes, millilitres, identifiers in shared.values():
        for plane in planes:
            for value, identifier in identifiers.items():
                volumes[identifier] += millilitres * np.count_nonzero(plane == value)
                yield
    return volumes


def _voxelsOf(image: slicer.vtkOrientedImageData) -> Tuple[np.ndarray, float]:
    """The voxels of an image, (z, y, x), and the volume of one voxel in ml."""
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    millilitres = abs(float(np.linalg.det(arrayFromMatrix(matrix)[:3, :3]))) / 1000.0
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1]), millilitres
