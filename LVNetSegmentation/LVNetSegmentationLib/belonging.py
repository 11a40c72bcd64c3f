"""Which volume a segmentation was created from."""

from __future__ import annotations

from typing import Optional

import slicer
import vtk


def referenceVolumeOf(segmentationNode: slicer.vtkMRMLSegmentationNode) -> Optional[slicer.vtkMRMLScalarVolumeNode]:
    """The volume that a segmentation was created from; None if it is unknown or no longer in the scene."""
    return segmentationNode.GetNodeReference(segmentationNode.GetReferenceImageGeometryReferenceRole())


def belongsTo(segmentationNode: slicer.vtkMRMLSegmentationNode, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether a segmentation was created from this volume or, if its source is unknown, has the volume's grid."""
    reference = referenceVolumeOf(segmentationNode)
    if reference is not None:
        return bool(reference.GetID() == volumeNode.GetID())
    segmentation = segmentationNode.GetSegmentation()
    geometry = segmentation.GetConversionParameter(
        slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    )
    if not geometry or volumeNode.GetImageData() is None:
        return segmentation.GetNumberOfSegments() == 0
    known, own = slicer.vtkOrientedImageData(), slicer.vtkOrientedImageData()
    if not slicer.vtkSegmentationConverter.DeserializeImageGeometry(geometry, known, False):
        return segmentation.GetNumberOfSegments() == 0
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    own.SetExtent(volumeNode.GetImageData().GetExtent())
    own.SetGeometryFromImageToWorldMatrix(matrix)
    return bool(slicer.vtkOrientedImageDataResample.DoGeometriesMatch(known, own)) and tuple(
        known.GetExtent()
    ) == tuple(own.GetExtent())
