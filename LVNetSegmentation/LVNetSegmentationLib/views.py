"""What the views show: which volume is looked at, and a result brought into sight.

Works without a main window, where there are views in the scene only, or none at all.
"""

from __future__ import annotations

from typing import List, Optional, Sequence, Set, Tuple

import slicer

from .belonging import referenceVolumeOf
from .doubtfuloverlay import isOverlay, removeOverlay

#: The usual window of an abdomen, HU.
ABDOMEN = (-160.0, 240.0)


def shownVolume() -> Optional[slicer.vtkMRMLScalarVolumeNode]:
    """The scalar volume that the user looks at: the active one, else the background of a slice view; or None."""
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
    """Shows a volume that no slice view shows, and moves all slices to the middle of what was found in it.

    Window and level become those of an abdomen as long as the user has not touched them.

    Returns:
        The names of the segmentations that were hidden, see `hideForeign`.
    """
    hidden = bringIntoSight(volumeNode)
    if segmentationNode.GetDisplayNode() is not None:
        segmentationNode.GetDisplayNode().SetVisibility(True)
    display = volumeNode.GetDisplayNode()
    if display is not None and display.IsA("vtkMRMLScalarVolumeDisplayNode") and display.GetAutoWindowLevel():
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(*ABDOMEN)
    centre = _centreOf(segmentationNode)
    if centre is not None:
        _centreViews(centre)
    return hidden


def bringIntoSight(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> List[str]:
    """Shows a volume that no slice view shows.

    Returns:
        The names of the segmentations that were hidden, see `hideForeign`.
    """
    if volumeNode.GetID() not in _volumesInViews():
        slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)
    return hideForeign()


def jumpTo(volumeNode: slicer.vtkMRMLScalarVolumeNode, place: Tuple[float, float, float]) -> None:
    """Centres all slice views on a place in a volume.

    Args:
        volumeNode: the place moves with its parent transform.
        place: (R, A, S) mm in the volume's own space.
    """
    world = [0.0, 0.0, 0.0]
    volumeNode.TransformPointToWorld(place, world)
    _centreViews(world)


def hideForeign() -> List[str]:
    """Hides what was made on a volume that no slice view shows: it would be drawn over the scan of somebody else.

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
    """Looks at all that the 3D views show."""
    layoutManager = slicer.app.layoutManager()
    if layoutManager is None:  # no main window
        return
    for index in range(layoutManager.threeDViewCount):
        layoutManager.threeDWidget(index).threeDView().resetFocalPoint()


def _sliceComposites() -> list:
    return list(slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"))


def _volumesInViews() -> Set[Optional[str]]:
    """Identifiers of the volumes in the slice views, None for an empty layer; nothing at all without a main window."""
    composites = _sliceComposites()
    layers = [(node.GetBackgroundVolumeID(), node.GetForegroundVolumeID()) for node in composites]
    return {identifier for pair in layers for identifier in pair}


def _centreViews(world: Sequence[float]) -> None:
    slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *world, slicer.vtkMRMLSliceNode.CenteredJumpSlice)


def _centreOf(segmentationNode: slicer.vtkMRMLSegmentationNode) -> Optional[List[float]]:
    """The middle of a segmentation in the world, mm in RAS; None where it is empty."""
    bounds = [1.0, -1.0] * 3
    segmentationNode.GetRASBounds(bounds)
    if any(bounds[2 * axis] > bounds[2 * axis + 1] for axis in range(3)):
        return None
    return [(bounds[2 * axis] + bounds[2 * axis + 1]) / 2 for axis in range(3)]
