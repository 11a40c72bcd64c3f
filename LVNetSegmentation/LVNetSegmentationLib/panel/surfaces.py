"""The button `Show 3D`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, List, Optional

import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from ..belonging import referenceVolumeOf
from ..closedsurfaces import makeSurfaces, surfaceName
from ..views import resetThreeDViews, showResult

if TYPE_CHECKING:
    from ..interfaces import QPushButton


class SurfaceButton:
    """Creates the surfaces of a segmentation and shows or hides them; disabled if there is nothing to show."""

    def __init__(self, button: QPushButton, logHidden: Callable[[List[str]], None]) -> None:
        """Args:
        button: must be checkable.
        logHidden: called with the names of segmentations that were hidden because another volume is shown now.
        """
        self._button = button
        self._logHidden = logHidden
        self._node: Optional[slicer.vtkMRMLSegmentationNode] = None
        self._button.connect("clicked(bool)", self._onClicked)

    def watch(self, segmentationNode: Optional[slicer.vtkMRMLSegmentationNode]) -> None:
        """Updates the button for another segmentation, or for changes of the same one."""
        self._node = segmentationNode
        reason = ""
        if segmentationNode is None:
            reason = _("There is no segmentation yet.")
        elif isEmpty(segmentationNode):
            reason = _("The segmentation is empty: there is no surface to show.")
        self._button.enabled = not reason
        self._button.toolTip = reason or _("Show the segments in the 3D view.")
        self._button.checked = not reason and isShown(segmentationNode)

    def _onClicked(self, shown: bool) -> None:
        node = self._node
        if node is None or node.GetScene() is None:
            return
        node.CreateDefaultDisplayNodes()
        if shown:
            makeSurfaces(node)
            if not node.GetDisplayNode().GetVisibility():
                self._bringBack(node)
        node.GetDisplayNode().SetVisibility3D(shown)
        if shown:
            resetThreeDViews()
        self.watch(node)

    def _bringBack(self, node: slicer.vtkMRMLSegmentationNode) -> None:
        """Shows a hidden segmentation, in the slice views only over its own volume."""
        volumeNode = referenceVolumeOf(node)
        if volumeNode is None:
            node.GetDisplayNode().SetVisibility(True)
        else:
            self._logHidden(showResult(volumeNode, node))

    def isShown(self) -> bool:
        """Whether there are surfaces and they are displayed."""
        return self._node is not None and isShown(self._node)


def isEmpty(segmentationNode: slicer.vtkMRMLSegmentationNode) -> bool:
    """Whether no segment contains a voxel or a surface."""
    segmentation = segmentationNode.GetSegmentation()
    source = segmentation.GetSourceRepresentationName()
    for index in range(segmentation.GetNumberOfSegments()):
        data = segmentation.GetNthSegment(index).GetRepresentation(source)
        if data is not None and _holdsSomething(data):
            return False
    return True


def _holdsSomething(data: vtk.vtkDataObject) -> bool:
    if data.IsA("vtkOrientedImageData"):
        scalars = data.GetPointData().GetScalars()
        if scalars is None:
            return False
        voxels = vtk_to_numpy(scalars)
        # Viewed as bool, a scan is searched at the speed of memory, up to the first non-zero voxel.
        return bool((voxels.view(bool) if voxels.itemsize == 1 else voxels).any())
    return data.GetNumberOfPoints() > 0


def isShown(segmentationNode: slicer.vtkMRMLSegmentationNode) -> bool:
    """Whether there are surfaces and they are displayed."""
    display = segmentationNode.GetDisplayNode()
    shown = segmentationNode.GetSegmentation().ContainsRepresentation(surfaceName())
    return bool(display and display.GetVisibility() and display.GetVisibility3D() and shown)
