"""One run: from a volume node to a segmentation node."""

from __future__ import annotations

from typing import List, NamedTuple, Optional

import slicer
from lvnet.errors import ImageError
from lvnet.inference import DEFAULT_OVERLAP, segment
from lvnet.progress import Progress, silent

from . import nodes


class Outcome(NamedTuple):
    """What a run gives.

    Attributes:
        segmentationNode: the node that holds the segments.
        lines: what a user should read: the volume of every class, and what was noticed.
    """

    segmentationNode: slicer.vtkMRMLSegmentationNode
    lines: List[str]


def segmentVolumeNode(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    segmentationNode: Optional[slicer.vtkMRMLSegmentationNode] = None,
    device: str = "auto",
    weights: Optional[str] = None,
    overlap: Optional[float] = None,
    progress: Optional[Progress] = None,
) -> Outcome:
    """Segments a volume in this process; the scene is touched only once the result is there.

    Args:
        volumeNode: a CT in HU.
        segmentationNode: takes the segments; None adds a new one.
        device: auto, cpu, cuda, cuda:N or mps.
        weights: a checkpoint file; None takes the bundled one.
        overlap: share of a slab that its neighbour covers again, 0 to 0.9; None takes the usual one.
        progress: called with the share that is done (0 to 1) and the stage.

    Raises:
        LVNetError: the volume, the output, the weights or the device cannot be used.
    """
    if segmentationNode is not None:
        nodes.checkOutput(segmentationNode, volumeNode)
    result = segment(
        nodes.volumeFromNode(volumeNode),
        weights=weights,
        device=device,
        overlap=DEFAULT_OVERLAP if overlap is None else overlap,
        progress=silent if progress is None else progress,
    )
    if volumeNode.GetScene() is None:
        raise ImageError("the volume was removed from the scene while it was segmented; load it again")
    output = nodes.addSegmentationNode(volumeNode) if segmentationNode is None else segmentationNode
    try:
        nodes.writeLabels(result.labels, result.recipe.classes, volumeNode, output)
    except Exception:
        if segmentationNode is None:
            nodes.removeSegmentationNode(output)
        raise
    lines = [f"{name}: {volume:.0f} ml" for name, volume in result.volumes_ml.items()]
    return Outcome(output, [*lines, *result.notes])
