"""Brings masks from the local coordinates of a node into world coordinates, through its parent transforms."""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import slicer
import vtk
from lvnet.boxes import Box, bounding_box
from lvnet.errors import GeometryError
from lvnet.volume import Volume
from lvnet.worker.client.steps import Work
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from . import nodes

#: Limit for the voxels of a mask that is resampled because of its transform.
_MOST_VOXELS = 1_000_000_000
#: Voxels that are resampled in one step: few enough for the window to stay responsive.
_STEP_VOXELS = 500_000
#: Cosine of the angle between two axes up to which they count as perpendicular.
_PERPENDICULAR = 1e-4


class PlacedMask(NamedTuple):
    """A mask in the local coordinates of a node.

    Attributes:
        array: (z, y, x) uint8, zeros and ones.
        ijkToRas: (4, 4), for indices that begin at the extent.
        extent: six numbers, as in VTK.
    """

    array: np.ndarray
    ijkToRas: np.ndarray
    extent: List[int]

    def within(self, box: Box) -> PlacedMask:
        """The part of the mask inside a box of its array."""
        first = [self.extent[2 * axis] for axis in range(3)]
        sides = [(first[axis] + box[2 - axis].start, first[axis] + box[2 - axis].stop - 1) for axis in range(3)]
        return PlacedMask(self.array[box], self.ijkToRas, [edge for side in sides for edge in side])


def inWorld(
    placed: PlacedMask, node: slicer.vtkMRMLTransformableNode, name: str, resample: bool
) -> Work[Tuple[Volume, Tuple[str, ...]]]:
    """A mask in world coordinates; it is resampled only where a transform bends or shears it.

    Args:
        placed: the mask.
        node: the node whose parent transforms apply.
        name: of the mask, for messages.
        resample: whether it may be resampled.

    Returns:
        The mask, and remarks on how it was made.

    Raises:
        GeometryError: it would have to be resampled, or cannot be.
    """
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
    array, grid = yield from _resampled(placed, transform)
    extent = [edge for length in array.shape[::-1] for edge in (0, length - 1)]
    return _volumeOf(array, extent, grid, name), (note,)


def _resampled(placed: PlacedMask, transform: vtk.vtkAbstractTransform) -> Work[Tuple[np.ndarray, np.ndarray]]:
    """The mask on a grid along the world axes, with its smallest spacing: (z, y, x) voxels and ijkToRas."""
    whole = _boundsInWorld(placed, transform)
    step = float(np.linalg.norm(placed.ijkToRas[:3, :3], axis=0).min())
    low = np.array(whole[::2]) - step / 2
    size = [max(1, int(np.ceil((high - first) / step)) + 2) for first, high in zip(whole[::2], whole[1::2])]
    if np.prod([float(length) for length in size]) > _MOST_VOXELS:
        raise GeometryError("a transform makes the mask too large to compare; check the transform")
    grid = np.diag([step, step, step, 1.0])
    grid[:3, 3] = low
    array = np.zeros(size[::-1], np.uint8)
    box = bounding_box(placed.array > 0)
    if box is not None:
        organ = placed.within(box)
        bounds = np.array(_boundsInWorld(organ, transform)).reshape(3, 2)
        # Slicer transforms six points along each edge: between them, a transform that bends may reach further.
        margin = 0.1 * (bounds[:, 1] - bounds[:, 0]) + 2 * step
        first = np.clip(np.floor((bounds[:, 0] - margin - low) / step).astype(int), 0, np.array(size) - 1)
        last = np.clip(np.ceil((bounds[:, 1] + margin - low) / step).astype(int), 0, np.array(size) - 1)
        image = _imageOf(organ.array, organ.ijkToRas, organ.extent)
        planes = max(1, _STEP_VOXELS // int(np.prod(last[:2] - first[:2] + 1)))
        for z in range(first[2], last[2] + 1, planes):
            yield
            end = min(z + planes - 1, last[2])
            extent = [first[0], last[0], first[1], last[1], z, end]
            window = tuple(slice(extent[2 * axis], extent[2 * axis + 1] + 1) for axis in (2, 1, 0))
            array[window] = _resampledPart(image, transform, grid, extent)
    return array, grid


def _resampledPart(
    image: slicer.vtkOrientedImageData, transform: vtk.vtkAbstractTransform, grid: np.ndarray, extent: Sequence[int]
) -> np.ndarray:
    shape = tuple(extent[2 * axis + 1] - extent[2 * axis] + 1 for axis in (2, 1, 0))
    reference = _imageOf(np.zeros(shape, np.uint8), grid, extent)
    moved = slicer.vtkOrientedImageData()
    if not slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
        image, reference, moved, False, False, transform
    ):
        raise GeometryError("the mask cannot be brought through its parent transform; harden the transform")
    return vtk_to_numpy(moved.GetPointData().GetScalars()).reshape(shape)


def _boundsInWorld(placed: PlacedMask, transform: vtk.vtkAbstractTransform) -> List[float]:
    bounds = [0.0] * 6
    image = _imageOf(None, placed.ijkToRas, placed.extent)
    slicer.vtkOrientedImageDataResample.TransformOrientedImageDataBounds(image, transform, bounds)
    return bounds


def _imageOf(array: Optional[np.ndarray], ijkToRas: np.ndarray, extent: Sequence[int]) -> slicer.vtkOrientedImageData:
    """An oriented image of (z, y, x) uint8 voxels that fill the extent; without voxels if they are None."""
    matrix = vtk.vtkMatrix4x4()
    for row in range(4):
        for column in range(4):
            matrix.SetElement(row, column, float(ijkToRas[row, column]))
    image = slicer.vtkOrientedImageData()
    image.SetExtent([int(edge) for edge in extent])
    if array is not None:
        scalars = numpy_to_vtk(np.ascontiguousarray(array).ravel(), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR)
        image.GetPointData().SetScalars(scalars)
    image.SetGeometryFromImageToWorldMatrix(matrix)
    return image


def _volumeOf(voxels: np.ndarray, extent: Sequence[int], ijkToRas: np.ndarray, name: str) -> Volume:
    # Indices of the image begin at its extent, those of an array at zero.
    first = np.array([extent[0], extent[2], extent[4], 1.0])
    shifted = ijkToRas.copy()
    shifted[:3, 3] = (ijkToRas @ first)[:3]
    spacing, origin, direction = nodes.gridOf(shifted, name)
    return Volume(voxels, spacing, origin, direction, name)
