"""Volume nodes in, segmentation nodes out: the one place where Slicer's RAS meets the core's LPS."""

from __future__ import annotations

from typing import Sequence

import numpy as np
import slicer
import vtk
from lvnet.errors import ImageError
from lvnet.image_io.grid import check_grid, check_size
from lvnet.image_io.voxels import AIR, VoxelStack
from lvnet.recipe import LabelClass
from lvnet.volume import Volume
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

_LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_TERMINOLOGY = "Segmentation category and type - 3D Slicer General Anatomy list"
_REGIONS = "Anatomic codes - DICOM master list"
#: Marks segments that this module made, so that a second run replaces these and no other.
_OWN_SEGMENT_TAG = "LVNetSegmentation.LabelValue"


def volumeFromNode(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Volume:
    """The voxels and the place of a volume node, parent transforms left aside.

    Args:
        volumeNode: a scalar volume in HU.

    Returns:
        Its voxels, (z, y, x), int16 where every value fits exactly, else float32; without a copy
        where the node holds int16.

    Raises:
        ImageError: the node is empty or no single 3D volume, or its grid makes no sense.
    """
    name = volumeNode.GetName() or "the volume"
    image = volumeNode.GetImageData()
    if image is None or image.GetPointData().GetScalars() is None:
        raise ImageError(f"{name} holds no voxels; load or choose another volume")
    check_size(name, image.GetDimensions(), image.GetNumberOfScalarComponents())
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    lps = _LPS_FROM_RAS @ _arrayFromMatrix(matrix)
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    check_grid(name, spacing, lps[:3, 3], np.eye(3))
    direction = lps[:3, :3] / spacing
    check_grid(name, spacing, lps[:3, 3], direction)

    voxels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    notes = []
    if voxels.dtype != np.int16:
        stack = VoxelStack(voxels.shape)
        for index, plane in enumerate(voxels):
            stack.put(index, plane)
        if stack.all_replaced:
            raise ImageError(f"{name} holds no voxel with a finite value; load it again")
        if stack.replaced:
            notes.append(f"{stack.replaced} voxels without a finite value set to {AIR} HU (air)")
        voxels = stack.array()
    x, y, z = (float(step) for step in spacing)
    ox, oy, oz = (float(part) for part in lps[:3, 3])
    return Volume(voxels, (z, y, x), (ox, oy, oz), tuple(float(v) for v in direction.ravel()), name, tuple(notes))


def addVolumeNode(volume: Volume, name: str) -> slicer.vtkMRMLScalarVolumeNode:
    """Adds a volume of the core to the scene, for example a made abdomen."""
    return slicer.util.addVolumeFromArray(volume.array, ijkToRAS=_ijkToRas(volume), name=name)


def addSegmentationNode(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLSegmentationNode:
    """An empty segmentation that is named after a volume and lies beside it."""
    scene = volumeNode.GetScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{volumeNode.GetName()} segmentation")
    node.CreateDefaultDisplayNodes()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    none = slicer.vtkMRMLSubjectHierarchyNode.GetInvalidItemID()
    volumeItem = none if hierarchy is None else hierarchy.GetItemByDataNode(volumeNode)
    if volumeItem != none:
        parent = hierarchy.GetItemParent(volumeItem)
        item = hierarchy.GetItemByDataNode(node)
        if item != none:
            hierarchy.SetItemParent(item, parent)
        else:
            # Without Slicer's windows no item is made by itself.
            hierarchy.CreateItem(parent, node)
    return node


def removeSegmentationNode(segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
    """Takes back what :func:`addSegmentationNode` added."""
    scene = segmentationNode.GetScene()
    displayNode = segmentationNode.GetDisplayNode()
    scene.RemoveNode(segmentationNode)
    if displayNode is not None:
        scene.RemoveNode(displayNode)


def checkOutput(segmentationNode: slicer.vtkMRMLSegmentationNode, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Whether segments of a volume can be put into an existing segmentation node.

    Raises:
        ImageError: that would change segments of somebody else.
    """
    segmentation = segmentationNode.GetSegmentation()
    foreign = segmentation.GetNumberOfSegments() - len(_ownSegments(segmentation))
    if not foreign:
        return
    name = segmentationNode.GetName()
    if segmentation.GetSourceRepresentationName() != _labelmapName():
        raise ImageError(f"{name} is made of surfaces, not of voxels; choose another output segmentation")
    if segmentationNode.GetParentTransformNode() is not volumeNode.GetParentTransformNode():
        raise ImageError(f"{name} lies under another transform than the volume; choose another output segmentation")


def writeLabels(
    labels: Volume,
    classes: Sequence[LabelClass],
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
) -> None:
    """Puts a label map into a segmentation node, one segment a class.

    Segments of an earlier run are replaced, all others are kept as they are.

    Args:
        labels: (z, y, x) uint8 on the grid of `volumeNode`.
        classes: name, colour and terminology code of each label value.
        volumeNode: where the labels come from; its grid becomes the reference geometry, its parent
            transform that of the segmentation.
        segmentationNode: is changed.

    Raises:
        ImageError: see :func:`checkOutput`.
    """
    checkOutput(segmentationNode, volumeNode)
    segmentation = segmentationNode.GetSegmentation()
    own = _ownSegments(segmentation)
    shownIn3d = segmentation.ContainsRepresentation(
        slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    )
    for identifier in own.values():
        segmentation.RemoveSegment(identifier)
    if segmentation.GetNumberOfSegments() == 0:
        segmentation.SetSourceRepresentationName(_labelmapName())
    # The voxels are in the volume's own space; under the same transform they lie where it lies.
    segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    segmentationNode.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    geometry = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(geometry)
    for entry in classes:
        segment = slicer.vtkSegment()
        segment.SetName(entry.name)
        segment.SetNameAutoGenerated(False)
        segment.SetColor([part / 255.0 for part in entry.colour])
        segment.SetColorAutoGenerated(False)
        segment.SetTag(_OWN_SEGMENT_TAG, str(entry.value))
        if entry.code:
            segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), terminologyEntry(entry))
        segment.AddRepresentation(_labelmapName(), _labelmap(labels.array == entry.value, geometry))
        segmentation.AddSegment(segment, own.get(entry.value, ""))
    if shownIn3d:
        # The surfaces of the earlier run went with its segments.
        segmentationNode.CreateClosedSurfaceRepresentation()


def terminologyEntry(entry: LabelClass) -> str:
    """What a class is, in the form in which Slicer keeps it with a segment."""
    category = f"SCT^{entry.category_code}^{entry.category_meaning}"
    return f"{_TERMINOLOGY}~{category}~SCT^{entry.code}^{entry.meaning}~^^~{_REGIONS}~^^~^^"


def _ownSegments(segmentation: slicer.vtkSegmentation) -> dict:
    """Identifiers of the segments that this module made, by label value."""
    own = {}
    for index in range(segmentation.GetNumberOfSegments()):
        value = vtk.reference("")
        if segmentation.GetNthSegment(index).GetTag(_OWN_SEGMENT_TAG, value):
            own[int(str(value))] = segmentation.GetNthSegmentID(index)
    return own


def _labelmap(mask: np.ndarray, ijkToRas: vtk.vtkMatrix4x4) -> slicer.vtkOrientedImageData:
    """The box of a mask that holds its voxels, as Slicer stores a segment; an empty image where there is none."""
    image = slicer.vtkOrientedImageData()
    image.SetGeometryFromImageToWorldMatrix(ijkToRas)
    if not mask.any():
        # Scalars of no length: without any, Slicer's conversion to a surface complains.
        image.SetExtent(0, -1, 0, -1, 0, -1)
        image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
        return image
    box = []
    for axis in range(3):
        hits = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        box.append(slice(hits[0], hits[-1] + 1))
    values = np.ascontiguousarray(mask[tuple(box)], dtype=np.uint8)
    image.SetExtent([int(edge) for part in reversed(box) for edge in (part.start, part.stop - 1)])
    image.GetPointData().SetScalars(numpy_to_vtk(values.ravel(), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR))
    return image


def _labelmapName() -> str:
    return slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()


def _arrayFromMatrix(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def _ijkToRas(volume: Volume) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = volume.direction_matrix * np.asarray(volume.spacing[::-1])
    matrix[:3, 3] = volume.origin
    return _LPS_FROM_RAS @ matrix
