"""Which volume a segmentation was made on."""

from __future__ import annotations

from typing import Optional

import slicer
import vtk


def referenceVolumeOf(segmentationNode: slicer.vtkMRMLSegmentationNode) -> Optional[slicer.vtkMRMLScalarVolumeNode]:
    """The volume that a segmentation was made on; None where the scene does not say or it is gone."""
    return segmentationNode.GetNodeReference(segmentationNode.GetReferenceImageGeometryReferenceRole())


def belongsTo(segmentationNode: slicer.vtkMRMLSegmentationNode, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether a segmentation was made on this volume, or on none that is known while its grid is the volume's."""
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
