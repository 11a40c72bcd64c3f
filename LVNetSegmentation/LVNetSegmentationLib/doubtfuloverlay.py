"""The coloured overlay of the regions in which the network was unsure: a segmentation node that only the views show."""

from __future__ import annotations

import slicer
import vtk

from .nodes import labelmapOf, removeSegmentationNode
from .outcome import DoubtfulRegions

#: Marks the node, so that nobody takes it for a result.
_ATTRIBUTE = "LVNetSegmentation.DoubtfulRegions"
#: Magenta: neither an organ nor a usual segment has it, and it stands out from grey.
_COLOUR = (1.0, 0.0, 0.8)
_OPACITY = 0.4


def addOverlay(doubtful: DoubtfulRegions, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLSegmentationNode:
    """Draws doubtful regions over the slices of the volume in which they were found.

    No node selector, editor or tree lists the node, and it is not saved with the scene.  Since Slicer's subject
    hierarchy has no item for it, Slicer logs an error at every later change of its segment or its display: both are
    complete before the node comes into the scene, and the node is removed rather than hidden.

    Args:
        doubtful: on the grid of the volume.
        volumeNode: lies in a scene; its parent transform becomes that of the overlay.
    """
    scene = volumeNode.GetScene()
    geometry = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(geometry)
    name = f"Doubtful regions of {volumeNode.GetName()}"
    kind = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    segment = slicer.vtkSegment()
    segment.SetName(name)
    segment.SetColor(_COLOUR)
    segment.AddRepresentation(kind, labelmapOf(doubtful.box, doubtful.voxels, geometry))
    display = slicer.vtkMRMLSegmentationDisplayNode()
    display.SetSaveWithScene(False)
    display.SetVisibility3D(False)
    display.SetOpacity2DFill(_OPACITY)
    scene.AddNode(display)
    node = slicer.vtkMRMLSegmentationNode()
    node.SetName(name)
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    node.SetAttribute(_ATTRIBUTE, "1")
    node.GetSegmentation().SetSourceRepresentationName(kind)
    node.GetSegmentation().AddSegment(segment)
    # Told its scene beforehand, the node takes what it refers to at once, and not when it has been added.
    node.SetScene(scene)
    node.SetAndObserveDisplayNodeID(display.GetID())
    # In this order, see `nodes.writeSegments`.
    node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    scene.AddNode(node)
    return node


def isOverlay(segmentationNode: slicer.vtkMRMLSegmentationNode) -> bool:
    """Whether a node was made by :func:`addOverlay`."""
    return segmentationNode.GetAttribute(_ATTRIBUTE) is not None


def removeOverlay(segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
    """Takes an overlay out of its scene; nothing happens where it has gone already."""
    if segmentationNode.GetScene() is not None:
        removeSegmentationNode(segmentationNode)
