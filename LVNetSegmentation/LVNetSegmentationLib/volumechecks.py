"""Checks of a volume node before a run, and its size."""

from __future__ import annotations

import math
from typing import List, Optional, Tuple

import slicer
from lvnet.errors import ImageError, LVNetError
from lvnet.pipeline import check_scan
from lvnet.scanchecks import ERROR, NOTE

from . import nodes

_ONE_VOLUME = "choose one of its volumes, or export the one that you mean"


def checkVolumeNode(
    volumeNode: Optional[slicer.vtkMRMLScalarVolumeNode], weights: Optional[str] = None
) -> List[Tuple[str, str]]:
    """(severity, sentence) pairs, see the logic's method `checkInput`."""
    try:
        refuseOtherNodes(volumeNode)
        volume = nodes.viewOfNode(volumeNode)
        findings = [(finding.severity, finding.sentence) for finding in check_scan(volume, weights or None)]
    except LVNetError as error:
        return [(ERROR, " ".join(str(error).split()))]
    if _isFrameOfSequence(volumeNode):
        findings.append((NOTE, "the volume is a frame of a sequence; only the frame that is shown is segmented"))
    return findings


def refuseOtherNodes(node: Optional[slicer.vtkMRMLScalarVolumeNode]) -> None:
    """Rejects nodes that do not hold exactly one scalar image.

    Raises:
        ImageError: the node is rejected; one line says why.
    """
    if node is None:
        raise ImageError("no volume was chosen; load a CT and choose it")
    name = node.GetName() or "the node"
    if node.IsA("vtkMRMLSequenceNode"):
        raise ImageError(f"{name} is a sequence of images (4D); {_ONE_VOLUME}")
    if node.IsA("vtkMRMLMultiVolumeNode") or node.IsA("vtkMRMLDiffusionWeightedVolumeNode"):
        raise ImageError(f"{name} holds several volumes (4D); {_ONE_VOLUME}")
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        raise ImageError(f"{name} is a label map, not a CT; choose the CT that it belongs to")
    if node.IsA("vtkMRMLVectorVolumeNode"):
        raise ImageError(f"{name} is a colour or vector image; a CT with one value per voxel is needed")
    if not node.IsA("vtkMRMLScalarVolumeNode"):
        raise ImageError(f"{name} is not a volume; load a CT and choose it")


def litresOf(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> float:
    """The size of a volume's grid in litres; 0 if it has no voxels."""
    image = volumeNode.GetImageData()
    if image is None:
        return 0.0
    return math.prod(image.GetDimensions()) * math.prod(volumeNode.GetSpacing()) / 1e6


def _isFrameOfSequence(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> bool:
    scene = volumeNode.GetScene()
    if scene is None:
        return False
    browsers = [
        scene.GetNthNodeByClass(index, "vtkMRMLSequenceBrowserNode")
        for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode"))
    ]
    return any(browser.GetSequenceNode(volumeNode) is not None for browser in browsers)
