"""One segment of a segmentation, or one label of a label map, where it lies in the world."""

from __future__ import annotations

from typing import Any, List, NamedTuple, Optional, Tuple, Union

import numpy as np
import slicer
import vtk
from lvnet.errors import GeometryError, ImageError
from lvnet.volume import Volume
from vtk.util.numpy_support import vtk_to_numpy

from . import nodes

#: A mask that is resampled because of its transform has at most so many voxels.
_MOST_VOXELS = 1_000_000_000
#: Cosine of the angle between two axes up to which they count as perpendicular.
_PERPENDICULAR = 1e-4


class Mask(NamedTuple):
    """A mask in the world.

    Attributes:
        volume: (z, y, x) uint8 zeros and ones, LPS, parent transforms applied.
        name: of the segment, or the label.
        notes: what was done to it.
    """

    volume: Volume
    name: str
    notes: Tuple[str, ...] = ()


def maskOf(node: Any, which: Optional[Union[str, int]], like: Optional[str] = None, resample: bool = True) -> Mask:
    """A mask of a segmentation node or a label map volume node; neither is changed.

    Args:
        node: vtkMRMLSegmentationNode or vtkMRMLLabelMapVolumeNode.
        which: name or identifier of a segment, or a label value; None takes the only one, the one
            named `like`, or the one that this module made.
        like: see `which`.
        resample: whether a mask under a transform that bends or shears may be resampled.

    Raises:
        ImageError: there is no such mask.
        GeometryError: it would have to be resampled.
    """
    if node is None:
        raise ImageError("nothing was chosen to compare; choose a segmentation and a reference")
    if node.IsA("vtkMRMLSegmentationNode"):
        placed, name = _segmentImage(node, which, like)
    elif node.IsA("vtkMRMLScalarVolumeNode"):
        placed, name = _labelImage(node, which)
    else:
        raise ImageError(f"{node.GetName()} is neither a segmentation nor a label map; choose another reference")
    volume, notes = _inWorld(placed, node, name, resample)
    return Mask(volume, name, notes)


class _Placed(NamedTuple):
    """Zeros and ones in a node's own space.

    Attributes:
        array: (z, y, x) uint8.
        ijkToRas: (4, 4), from indices that count from the extent.
        extent: six numbers, as VTK has them.
    """

    array: np.ndarray
    ijkToRas: np.ndarray
    extent: List[int]


def _segmentImage(
    node: slicer.vtkMRMLSegmentationNode, which: Optional[Union[str, int]], like: Optional[str]
) -> Tuple[_Placed, str]:
    """Zeros and ones of a segment in the node's own space, on the whole grid that the node knows."""
    segmentation = node.GetSegmentation()
    identifier = _segmentId(node, which, like)
    name = segmentation.GetSegment(identifier).GetName()
    kind = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    if segmentation.GetSegment(identifier).GetRepresentation(kind) is None:
        # Made in a copy: the scene stays as it is.
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
    return _placed(stored, segment.GetLabelValue(), whole if known else None), name


def _placed(stored: slicer.vtkOrientedImageData, value: int, whole: Optional[slicer.vtkOrientedImageData]) -> _Placed:
    """Zeros and ones, on the grid `whole` where the stored voxels are a part of it."""
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
    shape = tuple(target[2 * axis + 1] - target[2 * axis] + 1 for axis in (2, 1, 0))
    array = np.zeros(shape, np.uint8)
    if not empty and stored.GetPointData().GetScalars() is not None:
        inner = tuple(extent[2 * axis + 1] - extent[2 * axis] + 1 for axis in (2, 1, 0))
        voxels = vtk_to_numpy(stored.GetPointData().GetScalars()).reshape(inner)
        first = [extent[2 * axis] - target[2 * axis] for axis in (2, 1, 0)]
        array[tuple(slice(f, f + n) for f, n in zip(first, inner))] = voxels == value
    return _Placed(array, nodes.arrayFromMatrix(matrix), target)


def _labelImage(node: slicer.vtkMRMLScalarVolumeNode, which: Optional[Union[str, int]]) -> Tuple[_Placed, str]:
    volume = nodes.viewOfNode(node)
    if volume.array.dtype.kind not in "biu":
        raise ImageError(f"{node.GetName()} is no label map, its voxels are no whole numbers; choose another reference")
    values = [int(value) for value in _valuesOf(volume.array, node.GetName()) if value]
    if which is not None:
        value = _wholeNumber(which)
        if value not in values:
            raise ImageError(f"{node.GetName()} has no label {which}; it has {_listed(values) or 'none'}")
    elif len(values) > 1:
        raise ImageError(f"{node.GetName()} has the labels {_listed(values)}; say which one to compare")
    else:
        value = values[0] if values else 1
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    size = node.GetImageData().GetDimensions()
    extent = [0, size[0] - 1, 0, size[1] - 1, 0, size[2] - 1]
    array = (volume.array == value).astype(np.uint8)
    return _Placed(array, nodes.arrayFromMatrix(matrix), extent), f"{node.GetName()} (label {value})"


def imageOf(array: np.ndarray, ijkToRas: np.ndarray, extent: List[int]) -> slicer.vtkOrientedImageData:
    """An oriented image of (z, y, x) uint8 voxels that fill the extent."""
    from vtk.util.numpy_support import numpy_to_vtk

    matrix = vtk.vtkMatrix4x4()
    for row in range(4):
        for column in range(4):
            matrix.SetElement(row, column, float(ijkToRas[row, column]))
    image = slicer.vtkOrientedImageData()
    image.SetExtent([int(edge) for edge in extent])
    scalars = numpy_to_vtk(np.ascontiguousarray(array).ravel(), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR)
    image.GetPointData().SetScalars(scalars)
    image.SetGeometryFromImageToWorldMatrix(matrix)
    return image


def _inWorld(placed: _Placed, node: Any, name: str, resample: bool) -> Tuple[Volume, Tuple[str, ...]]:
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(node.GetParentTransformNode(), None, transform)
    linear = vtk.vtkTransform()
    if slicer.vtkOrientedImageDataResample.IsTransformLinear(transform, linear):
        moved = nodes.arrayFromMatrix(linear.GetMatrix()) @ placed.ijkToRas
        volume = _volumeOf(placed.array, placed.extent, moved, name)
        axes = volume.direction_matrix
        if np.abs(axes.T @ axes - np.eye(3)).max() < _PERPENDICULAR:
            return volume, ()
    if not resample:
        raise GeometryError(
            f"{name} lies under a transform that bends or shears it, so it has to be resampled; harden the transform"
        )
    note = f"{name} lies under a transform that bends or shears it: it was resampled, which adds up to half a voxel"
    resampled = _resampledInWorld(imageOf(placed.array, placed.ijkToRas, placed.extent), transform)
    matrix = vtk.vtkMatrix4x4()
    resampled.GetImageToWorldMatrix(matrix)
    extent = list(resampled.GetExtent())
    shape = tuple(extent[2 * axis + 1] - extent[2 * axis] + 1 for axis in (2, 1, 0))
    voxels = vtk_to_numpy(resampled.GetPointData().GetScalars()).reshape(shape)
    return _volumeOf(voxels, extent, nodes.arrayFromMatrix(matrix), name), (note,)


def _resampledInWorld(image: slicer.vtkOrientedImageData, transform: Any) -> slicer.vtkOrientedImageData:
    """The mask on a grid along the world's axes, as fine as its own."""
    bounds = [0.0] * 6
    slicer.vtkOrientedImageDataResample.TransformOrientedImageDataBounds(image, transform, bounds)
    step = min(image.GetSpacing())
    size = [max(1, int(np.ceil((bounds[2 * axis + 1] - bounds[2 * axis]) / step)) + 2) for axis in range(3)]
    if np.prod([float(length) for length in size]) > _MOST_VOXELS:
        raise GeometryError("a transform makes the mask too large to compare; check the transform")
    grid = np.diag([step, step, step, 1.0])
    grid[:3, 3] = [bounds[2 * axis] - step / 2 for axis in range(3)]
    extent = [0, size[0] - 1, 0, size[1] - 1, 0, size[2] - 1]
    reference = imageOf(np.zeros(size[::-1], np.uint8), grid, extent)
    moved = slicer.vtkOrientedImageData()
    if not slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
        image, reference, moved, False, False, transform
    ):
        raise GeometryError("the mask cannot be brought through its parent transform; harden the transform")
    return moved


def _volumeOf(voxels: np.ndarray, extent: List[int], ijkToRas: np.ndarray, name: str) -> Volume:
    # The image counts from its extent, an array from zero.
    first = np.array([extent[0], extent[2], extent[4], 1.0])
    shifted = ijkToRas.copy()
    shifted[:3, 3] = (ijkToRas @ first)[:3]
    spacing, origin, direction = nodes.gridOf(shifted, name)
    return Volume(voxels, spacing, origin, direction, name)


def _segmentId(node: slicer.vtkMRMLSegmentationNode, which: Optional[Union[str, int]], like: Optional[str]) -> str:
    segmentation = node.GetSegmentation()
    count = segmentation.GetNumberOfSegments()
    names = {segmentation.GetNthSegmentID(i): segmentation.GetNthSegment(i).GetName() for i in range(count)}
    if not names:
        raise ImageError(f"{node.GetName()} has no segments; choose another segmentation")
    if which is not None:
        for identifier, name in names.items():
            if str(which) in (identifier, name):
                return identifier
        raise ImageError(f"{node.GetName()} has no segment {which!r}; it has {_listed(list(names.values()))}")
    if count == 1:
        return next(iter(names))
    alike = [identifier for identifier, name in names.items() if like and name.lower() == like.lower()]
    own = nodes.ownSegmentIds(node)
    for choice in (alike, own):
        if len(choice) == 1:
            return choice[0]
    raise ImageError(f"{node.GetName()} has the segments {_listed(list(names.values()))}; say which one to compare")


def _valuesOf(array: np.ndarray, name: str) -> List[int]:
    found: set = set()
    for plane in array:
        found.update(int(value) for value in np.unique(plane))
        if len(found) > 256:
            raise ImageError(f"{name} is an image, no label map; choose another reference")
    return sorted(found)


def _wholeNumber(which: Union[str, int]) -> int:
    try:
        return int(which)
    except ValueError:
        raise ImageError(f"a label of a label map is a whole number, not {which!r}") from None


def _listed(values: List[Any]) -> str:
    return ", ".join(str(value) for value in values[:12]) + (" ..." if len(values) > 12 else "")
