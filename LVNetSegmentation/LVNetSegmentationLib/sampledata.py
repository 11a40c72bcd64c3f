"""A made abdomen with its exact reference, for a first try without any scan and without a download."""

from __future__ import annotations

from typing import Any, Tuple

import slicer
from lvnet.phantom import make_phantom
from lvnet.recipe import LIVER

from . import nodes

#: Under what name the module Sample Data lists the scans of this module.
CATEGORY = "LV-Net Segmentation"
SEED = 7


def addPhantom(source: Any = None) -> Tuple[Any, Any]:
    """Adds a made abdomen and its reference to the scene and shows the scan.

    Args:
        source: what the module Sample Data passes; not needed.

    Returns:
        The volume node, and the segmentation node with one segment "liver".
    """
    with slicer.util.WaitCursor():
        scan, label = make_phantom(SEED)
        volumeNode = nodes.addVolumeNode(scan, "Made abdomen")
        volumeNode.CreateDefaultDisplayNodes()
        referenceNode = nodes.addSegmentationNode(volumeNode)
        referenceNode.SetName("Made abdomen reference")
        referenceNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
        # Not written as a result of this module: no later run may take it for its own and replace it.
        segmentation = referenceNode.GetSegmentation()
        segmentId = segmentation.AddEmptySegment("", LIVER.name, [0.3, 0.7, 1.0])
        slicer.util.updateSegmentBinaryLabelmapFromArray(label.array, referenceNode, segmentId, volumeNode)
        slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)
    return volumeNode, referenceNode
