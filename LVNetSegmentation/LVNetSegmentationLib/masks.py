"""Masks from segmentations and label maps, in world coordinates."""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
import slicer
import vtk
from lvnet.errors import ImageError
from lvnet.volume import Volume
from lvnet.worker.client.steps import Steps, Work
from vtk.util.numpy_support import vtk_to_numpy

from . import nodes
from .choosing import chosenLabels, chosenSegments
from .worldmasks import PlacedMask, inWorld

#: Nodes that can be compared.
ComparedNode = Union[slicer.vtkMRMLSegmentationNode, slicer.vtkMRMLLabelMapVolumeNode]
#: Images with more distinct values are not label maps.
_MOST_LABELS = 256
_PIECE = 1 << 18


class Mask(NamedTuple):
    """A mask in world coordinates.

    Attributes:
        volume: (z, y, x) uint8 zeros and ones, LPS, parent transforms applied.
        name: of the segment, or the label.
        notes: remarks on how it was made.
    """

    volume: Volume
    name: str
    notes: Tuple[str, ...] = ()


def maskOf(
    node: Optional[ComparedNode], which: Optional[Union[str, int]], like: Optional[str] = None, resample: bool = True
) -> Mask:
    """A mask of a segmentation node or a label map volume node, made at once; see :func:`maskInSteps`."""
    steps = Steps(maskInSteps(node, which, like, resample))
    while not steps.advance():
        pass
    return steps.result


def maskInSteps(
    node: Optional[ComparedNode], which: Optional[Union[str, int]], like: Optional[str] = None, resample: bool = True
) -> Work[Mask]:
    """A mask of a segmentation node or a label map volume node; neither is changed.

    The node is read in the first step; only a transform that bends or shears needs more than one.

    Args:
        node: vtkMRMLSegmentationNode or vtkMRMLLabelMapVolumeNode.
        which: name or identifier of a segment, or a label value, or several joined by `+` that
            together form one mask; None takes the liver with the tumours in it, the only one, the one
            named `like`, or the one that this module created.
        like: see `which`.
        resample: whether a mask under a transform that bends or shears may be resampled.

    Raises:
        ImageError: there is no such mask.
        GeometryError: it would have to be resampled.
    """
    said: Tuple[str, ...] = ()
    if node is None:
        raise ImageError("nothing was chosen to compare; choose a segmentation and a reference")
    if node.IsA("vtkMRMLSegmentationNode"):
        chosen = chosenSegments(node, which, like)
        placed, name = _united([_segmentImage(node, part) for part in chosen.identifiers], chosen.name), chosen.name
        said = chosen.notes
    elif node.IsA("vtkMRMLScalarVolumeNode"):
        placed, name = _labelImage(node, which)
    else:
        raise ImageError(f"{node.GetName()} is neither a segmentation nor a label map; choose another reference")
    volume, notes = yield from inWorld(placed, node, name, resample)
    return Mask(volume, name, said + notes)


def _united(parts: List[PlacedMask], name: str) -> PlacedMask:
    """Merges masks that lie on the same lattice.

    Raises:
        ImageError: they lie on different lattices.
    """
    if len(parts) == 1:
        return parts[0]
    grid = parts[0].ijkToRas
    if not all(np.allclose(part.ijkToRas, grid, rtol=0, atol=1e-4) for part in parts[1:]):
        raise ImageError(f"{name} lie on different grids and are not one mask; choose one of them")
    extents = [part.extent for part in parts]
    target = [(min if side % 2 == 0 else max)(extent[side] for extent in extents) for side in range(6)]
    array = np.zeros(_shapeOf(target), np.uint8)
    for part in parts:
        first = [part.extent[2 * axis] - target[2 * axis] for axis in (2, 1, 0)]
        window = array[tuple(slice(f, f + n) for f, n in zip(first, part.array.shape))]
        np.maximum(window, part.array, out=window)
    return PlacedMask(array, grid, target)


def _shapeOf(extent: Sequence[int]) -> Tuple[int, ...]:
    return tuple(extent[2 * axis + 1] - extent[2 * axis] + 1 for axis in (2, 1, 0))


def _segmentImage(node: slicer.vtkMRMLSegmentationNode, identifier: str) -> PlacedMask:
    """The mask of a segment in local coordinates, on the whole reference geometry of the node if it has one."""
    segmentation = node.GetSegmentation()
    name = segmentation.GetSegment(identifier).GetName()
    kind = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    if segmentation.GetSegment(identifier).GetRepresentation(kind) is None:
        # Converted in a copy, so that the scene is not changed.
        copy = slicer.vtkSegmentation()
        copy.SetSourceRepresentationName(segmentation.GetSourceRepresentationName())
        copy.DeserializeConversionParameters(segmentation.SerializeAllConversionParameters())
        copy.CopySegmentFromSegmentation(segmentation, identifier)
        if not copy.CreateRepresentation(kind):
            raise ImageError(f"the segment {name!r} cannot be turned into voxels; make its binary labelmap first")
        segmentation = copy
    segment = segmentation.GetSegment(identifier)
    stored = segment.GetRepresentation(kind)
    geometry = segmentation.GetConversionParameter(
        slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    )
    whole = slicer.vtkOrientedImageData()
    known = bool(geometry) and slicer.vtkSegmentationConverter.DeserializeImageGeometry(geometry, whole, False)
    return _placed(stored, segment.GetLabelValue(), whole if known else None)


def _placed(
    stored: slicer.vtkOrientedImageData, value: int, whole: Optional[slicer.vtkOrientedImageData]
) -> PlacedMask:
    """The mask, on the grid `whole` if the stored voxels lie on it."""
    matrix = vtk.vtkMatrix4x4()
    stored.GetImageToWorldMatrix(matrix)
    extent = list(stored.GetExtent())
    empty = any(extent[2 * axis] > extent[2 * axis + 1] for axis in range(3))
    target = list(extent)
    if whole is not None:
        matches = slicer.vtkOrientedImageDataResample.DoGeometriesMatch(stored, whole)
        if matches or empty:
            around = whole.GetExtent()
            whole.GetImageToWorldMatrix(matrix)
            target = [
                (min if side % 2 == 0 else max)(around[side], extent[side]) if not empty else around[side]
                for side in range(6)
            ]
    if any(target[2 * axis] > target[2 * axis + 1] for axis in range(3)):
        target = [0, 0, 0, 0, 0, 0]
    array = np.zeros(_shapeOf(target), np.uint8)
    if not empty and stored.GetPointData().GetScalars() is not None:
        inner = _shapeOf(extent)
        voxels = vtk_to_numpy(stored.GetPointData().GetScalars()).reshape(inner)
        first = [extent[2 * axis] - target[2 * axis] for axis in (2, 1, 0)]
        array[tuple(slice(f, f + n) for f, n in zip(first, inner))] = voxels == value
    return PlacedMask(array, nodes.arrayFromMatrix(matrix), target)


def _labelImage(node: slicer.vtkMRMLScalarVolumeNode, which: Optional[Union[str, int]]) -> Tuple[PlacedMask, str]:
    volume = nodes.viewOfNode(node)
    if volume.array.dtype.kind not in "biu":
        raise ImageError(f"{node.GetName()} is not a label map: its voxels are not integers; choose another reference")
    values = [int(value) for value in _valuesOf(volume.array, node.GetName()) if value]
    chosen = chosenLabels(values, which, node.GetName())
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    size = node.GetImageData().GetDimensions()
    extent = [0, size[0] - 1, 0, size[1] - 1, 0, size[2] - 1]
    array = (volume.array == chosen[0] if len(chosen) == 1 else np.isin(volume.array, chosen)).astype(np.uint8)
    name = f"{'labels' if len(chosen) > 1 else 'label'} {' + '.join(str(value) for value in chosen)}"
    return PlacedMask(array, nodes.arrayFromMatrix(matrix), extent), f"{node.GetName()} ({name})"


def _valuesOf(array: np.ndarray, name: str) -> List[int]:
    values = labelValues(array, _MOST_LABELS)
    if values is None:
        raise ImageError(f"{name} is an image, not a label map; choose another reference")
    return values


def labelValues(array: np.ndarray, most: Optional[int] = None) -> Optional[List[int]]:
    """The distinct values of an integer array, ascending; None if there are more than `most`.

    Takes a fifth of the time of sorting all voxels, which would block the window for a tenth of a second.
    """
    found: List[int] = []
    voxels = array.reshape(-1)
    # In pieces: for a whole scan at once, temporary arrays would take eight bytes per voxel.
    for start in range(0, voxels.size, _PIECE):
        left = voxels[start : start + _PIECE]
        # Nearly all voxels have one of the first values, so little remains to be sorted.
        for value in found[:4]:
            left = left[left != value]
        found += sorted(set(np.unique(left).tolist()).difference(found))
        if most is not None and len(found) > most:
            return None
    return sorted(int(value) for value in found)
