"""Fast creation of smooth closed surfaces of segments."""

from __future__ import annotations

import slicer
import vtk


def surfaceName() -> str:
    """Slicer's name for the closed surface representation."""
    return str(slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName())


def preferSmoothSurfaces(segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
    """Selects surface nets with internal smoothing, which takes a tenth of the default's time."""
    rule = slicer.vtkBinaryLabelmapToClosedSurfaceConversionRule
    segmentation = segmentationNode.GetSegmentation()
    segmentation.SetConversionParameter(rule.GetConversionMethodParameterName(), "1")
    segmentation.SetConversionParameter(rule.GetSurfaceNetInternalSmoothingParameterName(), "1")
    segmentation.SetConversionParameter(rule.GetSmoothingFactorParameterName(), "0.5")


def makeSurfaces(segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
    """Creates the closed surfaces of all segments, unless they exist."""
    segmentation = segmentationNode.GetSegmentation()
    if not segmentation.ContainsRepresentation(surfaceName()):
        preferSmoothSurfaces(segmentationNode)
    segmentationNode.CreateClosedSurfaceRepresentation()
    for index in range(segmentation.GetNumberOfSegments()):
        surface = segmentation.GetNthSegment(index).GetRepresentation(surfaceName())
        # Surface nets produce no normals, without which every facet would be visible.
        if surface is not None and surface.GetNumberOfCells() and surface.GetPointData().GetNormals() is None:
            normals = vtk.vtkPolyDataNormals()
            normals.SetInputData(surface)
            normals.SplittingOff()
            # All facets already face outwards; checking that would take four times as long.
            normals.ConsistencyOff()
            normals.Update()
            surface.GetPointData().SetNormals(normals.GetOutput().GetPointData().GetNormals())
