"""The slice and 3D views: which volume they show, and how they show a result.

Works without a main window, where the scene has view nodes only, or none.
"""

from __future__ import annotations

from typing import List, Optional, Sequence, Set, Tuple

import slicer

from .belonging import referenceVolumeOf
from .doubtfuloverlay import isOverlay, removeOverlay

#: The usual display window for the abdomen, HU.
ABDOMEN = (-160.0, 240.0)


def shownVolume() -> Optional[slicer.vtkMRMLScalarVolumeNode]:
    """The scalar volume on display: the active one, else the background of a slice view; or None."""
    scene = slicer.mrmlScene
    selection = scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
    candidates = [selection.GetActiveVolumeID()] if selection is not None else []
    candidates += [composite.GetBackgroundVolumeID() for composite in _sliceComposites()]
    for identifier in candidates:
        node = scene.GetNodeByID(identifier) if identifier else None
        if node is not None and node.IsA("vtkMRMLScalarVolumeNode") and not node.IsA("vtkMRMLLabelMapVolumeNode"):
            return node
    return None


def showResult(
    volumeNode: slicer.vtkMRMLScalarVolumeNode, segmentationNode: slicer.vtkMRMLSegmentationNode
) -> List[str]:
    """Shows a volume unless a slice view does, and centres all slice views on its segmentation.

    Window and level are set for the abdomen unless the user has changed them.

    Returns:
        The names of the segmentations that were hidden, see `hideForeign`.
    """
    hidden = bringIntoSight(volumeNode)
    if segmentationNode.GetDisplayNode() is not None:
        segmentationNode.GetDisplayNode().SetVisibility(True)
    display = volumeNode.GetDisplayNode()
    if display is not None and display.IsA("vtkMRMLScalarVolumeDisplayNode") and _isAsLoaded(display):
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(*ABDOMEN)
    centre = _centreOf(segmentationNode)
    if centre is not None:
        _centreViews(centre)
    return hidden


def bringIntoSight(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> List[str]:
    """Shows a volume in the slice views unless one of them does.

    Returns:
        The names of the segmentations that were hidden, see `hideForeign`.
    """
    if volumeNode.GetID() not in _volumesInViews():
        slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)
    return hideForeign()


def jumpTo(volumeNode: slicer.vtkMRMLScalarVolumeNode, place: Tuple[float, float, float]) -> None:
    """Centres all slice views on a position in a volume.

    Args:
        volumeNode: its parent transform is applied to the position.
        place: (R, A, S) mm in the volume's local coordinates.
    """
    world = [0.0, 0.0, 0.0]
    volumeNode.TransformPointToWorld(place, world)
    _centreViews(world)


def hideForeign() -> List[str]:
    """Hides segmentations of volumes that no slice view shows: they would be drawn over another patient's scan.

    Returns:
        The names of the segmentations that were visible until now.
    """
    shown = _volumesInViews()
    if not shown:  # no main window
        return []
    hidden = []
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        display, reference = node.GetDisplayNode(), referenceVolumeOf(node)
        if display and display.GetVisibility() and reference is not None and reference.GetID() not in shown:
            hidden.append(node.GetName())
            if isOverlay(node):
                removeOverlay(node)
            else:
                display.SetVisibility(False)
    return hidden


def resetThreeDViews() -> None:
    """Resets the 3D views so that they show all their contents."""
    layoutManager = slicer.app.layoutManager()
    if layoutManager is None:  # no main window
        return
    for index in range(layoutManager.threeDViewCount):
        layoutManager.threeDWidget(index).threeDView().resetFocalPoint()


def _isAsLoaded(display: slicer.vtkMRMLScalarVolumeDisplayNode) -> bool:
    """Whether window and level are still those that Slicer chose, or took from the first preset of a DICOM series."""
    if display.GetAutoWindowLevel():
        return True
    if not display.GetNumberOfWindowLevelPresets():
        return False
    preset = display.GetWindowPreset(0), display.GetLevelPreset(0)
    return preset == (display.GetWindow(), display.GetLevel())


def _sliceComposites() -> list:
    return list(slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"))


def _volumesInViews() -> Set[Optional[str]]:
    """Identifiers of the volumes in the slice views, None for an empty layer; an empty set without a main window."""
    composites = _sliceComposites()
    layers = [(node.GetBackgroundVolumeID(), node.GetForegroundVolumeID()) for node in composites]
    return {identifier for pair in layers for identifier in pair}


def _centreViews(world: Sequence[float]) -> None:
    slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *world, slicer.vtkMRMLSliceNode.CenteredJumpSlice)


def _centreOf(segmentationNode: slicer.vtkMRMLSegmentationNode) -> Optional[List[float]]:
    """The centre of a segmentation in world coordinates, mm in RAS; None if it is empty."""
    bounds = [1.0, -1.0] * 3
    segmentationNode.GetRASBounds(bounds)
    if any(bounds[2 * axis] > bounds[2 * axis + 1] for axis in range(3)):
        return None
    return [(bounds[2 * axis] + bounds[2 * axis + 1]) / 2 for axis in range(3)]
