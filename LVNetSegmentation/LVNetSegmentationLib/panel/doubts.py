"""Warnings about the chosen output before a run, and when to check again."""

from __future__ import annotations

from typing import List, Optional, Tuple

import slicer
from slicer.i18n import tr as _

from ..belonging import belongsTo, referenceVolumeOf
from ..edits import editedSegments
from ..nodes import ownSegmentIds


def aboutOutput(
    output: Optional[slicer.vtkMRMLSegmentationNode], volumeNode: slicer.vtkMRMLScalarVolumeNode
) -> List[Tuple[str, str]]:
    """Warnings before a result is written into a segmentation: (severity, sentence) pairs."""
    if output is None:
        return []
    name = output.GetName()
    if not belongsTo(output, volumeNode):
        other = referenceVolumeOf(output)
        of = _("another volume") if other is None else other.GetName()
        words = _("the output {output} belongs to {other}; choose 'Create new on Apply', unless this is intended")
        return [("warning", words.format(output=name, other=of))]
    edited = editedOf(output)
    if edited:
        words = _("{segments} of {output} was edited since the last run, and a run replaces it")
        return [("warning", words.format(segments=", ".join(edited), output=name))]
    return []


def editedOf(output: Optional[slicer.vtkMRMLSegmentationNode]) -> List[str]:
    """The names of the segments that were edited since a run created them."""
    return [] if output is None else editedSegments(output, ownSegmentIds(output))


def stateOfVolume(volumeNode: Optional[slicer.vtkMRMLScalarVolumeNode]) -> tuple:
    """Differs whenever the voxels or the spacing of a volume may have changed; its identifier comes first."""
    if volumeNode is None:
        return ("",)
    image = volumeNode.GetImageData()
    # Sequences have no spacing.
    spacing = tuple(volumeNode.GetSpacing()) if volumeNode.IsA("vtkMRMLVolumeNode") else ()
    return volumeNode.GetID(), 0 if image is None else image.GetMTime(), spacing


def stateOfOutput(output: Optional[slicer.vtkMRMLSegmentationNode]) -> tuple:
    """Differs whenever the voxels of a segmentation may have changed; its identifier comes first."""
    if output is None:
        return ("",)
    segmentation = output.GetSegmentation()
    kind = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    count = segmentation.GetNumberOfSegments()
    images = [segmentation.GetNthSegment(index).GetRepresentation(kind) for index in range(count)]
    return output.GetID(), *(0 if image is None else image.GetMTime() for image in images)


def identifiersOf(states: tuple) -> tuple:
    """The identifiers in several such states."""
    return tuple(part[0] for part in states)
