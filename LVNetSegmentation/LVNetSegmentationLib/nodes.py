"""Reads volume nodes and writes segmentation nodes; converts between Slicer's RAS and the core's LPS."""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import slicer
import vtk
from lvnet.boxes import bounding_box
from lvnet.errors import ImageError
from lvnet.image_io.geometry_checks import check_grid, check_size
from lvnet.recipe import LabelClass
from lvnet.volume import Volume
from lvnet.worker.client.handover import usual_voxels
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from .closedsurfaces import preferSmoothSurfaces, surfaceName
from .edits import arrayFromMatrix, checksumOf, fingerprint, rememberResult

_LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_TERMINOLOGY = "Segmentation category and type - 3D Slicer General Anatomy list"
_REGIONS = "Anatomic codes - DICOM master list"
#: Marks segments that this module created, so that a second run replaces only these.
_OWN_SEGMENT_TAG = "LVNetSegmentation.LabelValue"


def volumeFromNode(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Volume:
    """The voxels and the grid of a volume node, without its parent transforms.

    Args:
        volumeNode: a scalar volume in HU.

    Returns:
        Voxels (z, y, x), int16 if every value fits exactly, else float32; not copied if the node
        holds int16.

    Raises:
        ImageError: the node is empty or not a single 3D volume, or its grid is invalid.
    """
    return usual_voxels(viewOfNode(volumeNode))


def viewOfNode(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Volume:
    """Like :func:`volumeFromNode`, but with the node's own voxels, of any type and not copied.

    The view stays valid when the node is deleted.

    Raises:
        ImageError: see :func:`volumeFromNode`.
    """
    name = volumeNode.GetName() or "the volume"
    image = volumeNode.GetImageData()
    if image is None or image.GetPointData().GetScalars() is None:
        raise ImageError(f"{name} holds no voxels; load or choose another volume")
    check_size(name, image.GetDimensions(), image.GetNumberOfScalarComponents())
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    spacing, origin, direction = gridOf(arrayFromMatrix(matrix), name)
    voxels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    return Volume(voxels, spacing, origin, direction, name)


def gridOf(
    ijkToRas: np.ndarray, name: str
) -> Tuple[Tuple[float, float, float], Tuple[float, float, float], Tuple[float, ...]]:
    """Spacing (z, y, x), origin and direction in LPS of a (4, 4) IJK-to-RAS matrix.

    Raises:
        ImageError: the grid is invalid.
    """
    lps = _LPS_FROM_RAS @ ijkToRas
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    x, y, z = (float(part) for part in lps[:3, 3])
    check_grid(name, spacing, (x, y, z), np.eye(3).ravel().tolist())
    direction = lps[:3, :3] / spacing
    check_grid(name, spacing, (x, y, z), direction.ravel().tolist())
    alongX, alongY, alongZ = (float(step) for step in spacing)
    return (alongZ, alongY, alongX), (x, y, z), tuple(float(part) for part in direction.ravel())


def addVolumeNode(volume: Volume, name: str) -> slicer.vtkMRMLScalarVolumeNode:
    """Adds a volume of the core to the scene, for example a synthetic abdomen."""
    return slicer.util.addVolumeFromArray(volume.array, ijkToRAS=_ijkToRas(volume), name=name)


def addSegmentationNode(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLSegmentationNode:
    """Adds an empty segmentation, named after a volume and beside it in the subject hierarchy."""
    scene = volumeNode.GetScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{volumeNode.GetName()} segmentation")
    node.CreateDefaultDisplayNodes()
    preferSmoothSurfaces(node)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    none = slicer.vtkMRMLSubjectHierarchyNode.GetInvalidItemID()
    volumeItem = none if hierarchy is None else hierarchy.GetItemByDataNode(volumeNode)
    if volumeItem != none:
        parent = hierarchy.GetItemParent(volumeItem)
        item = hierarchy.GetItemByDataNode(node)
        if item != none:
            hierarchy.SetItemParent(item, parent)
        else:
            # Without Slicer's windows, no item is created automatically.
            hierarchy.CreateItem(parent, node)
    return node


def removeSegmentationNode(segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
    """Removes a segmentation node and its display node from the scene."""
    scene = segmentationNode.GetScene()
    displayNode = segmentationNode.GetDisplayNode()
    scene.RemoveNode(segmentationNode)
    if displayNode is not None:
        scene.RemoveNode(displayNode)


def checkOutput(segmentationNode: slicer.vtkMRMLSegmentationNode, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Checks that a result for a volume can be written into an existing segmentation node.

    Raises:
        ImageError: that would change segments that this module did not create.
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


class Piece(NamedTuple):
    """One class of a result.

    Attributes:
        entry: its name, colour and terminology code.
        box: its bounding box in the grid, three slices; None if nothing was found.
        voxels: (z, y, x) uint8 zeros and ones in that box, or None.
        checksum: of these voxels, see :func:`~LVNetSegmentationLib.edits.checksumOf`; None computes it.
    """

    entry: LabelClass
    box: Optional[Tuple[slice, slice, slice]]
    voxels: Optional[np.ndarray]
    checksum: Optional[int] = None


def piecesOf(labels: np.ndarray, classes: Sequence[LabelClass]) -> List[Piece]:
    """The classes of a (z, y, x) label map."""
    pieces = []
    for entry in classes:
        mask = labels == entry.value
        box = bounding_box(mask)
        pieces.append(Piece(entry, box, None if box is None else mask[box].astype(np.uint8)))
    return pieces


def writeSegments(
    pieces: Sequence[Piece],
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
) -> bool:
    """Writes a result into a segmentation node, one segment per class.

    Segments of an earlier run are replaced, all others are kept as they are.

    Args:
        pieces: on the grid of `volumeNode`.
        volumeNode: the segmented volume; its grid becomes the reference geometry, its parent
            transform that of the segmentation.
        segmentationNode: is changed only after all memory has been allocated.

    Returns:
        Whether it had surfaces: those of the replaced segments are gone, and
        :func:`~LVNetSegmentationLib.closedsurfaces.makeSurfaces` creates the new ones.

    Raises:
        ImageError: see :func:`checkOutput`.
    """
    checkOutput(segmentationNode, volumeNode)
    geometry = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(geometry)
    made = [_segmentOf(piece, geometry) for piece in pieces]
    segmentation = segmentationNode.GetSegmentation()
    own = _ownSegments(segmentation)
    hadSurfaces = segmentation.ContainsRepresentation(surfaceName())
    for identifier in own.values():
        segmentation.RemoveSegment(identifier)
    if segmentation.GetNumberOfSegments() == 0:
        segmentation.SetSourceRepresentationName(_labelmapName())
    # The voxels are in the volume's local coordinates, so the segmentation needs the same transform.  It
    # is set first: otherwise Slicer includes the difference of the two transforms in the reference
    # geometry, and saving would resample the voxels to another grid than the volume's.
    segmentationNode.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    for piece, segment in zip(pieces, made):
        segmentation.AddSegment(segment, own.get(piece.entry.value, ""))
        rememberResult(segment, _fingerprintOf(piece, geometry))
    return bool(hadSurfaces)


def ownSegmentIds(segmentationNode: slicer.vtkMRMLSegmentationNode) -> List[str]:
    """Identifiers of the segments that this module created, by ascending label value."""
    return [identifier for _, identifier in sorted(_ownSegments(segmentationNode.GetSegmentation()).items())]


def terminologyEntry(entry: LabelClass) -> str:
    """The terminology of a class, in the form in which Slicer stores it with a segment."""
    category = f"SCT^{entry.category_code}^{entry.category_meaning}"
    return f"{_TERMINOLOGY}~{category}~SCT^{entry.code}^{entry.meaning}~^^~{_REGIONS}~^^~^^"


def _ownSegments(segmentation: slicer.vtkSegmentation) -> dict:
    """Identifiers of the segments that this module created, by label value."""
    own = {}
    for index in range(segmentation.GetNumberOfSegments()):
        value = vtk.reference("")
        if segmentation.GetNthSegment(index).GetTag(_OWN_SEGMENT_TAG, value):
            own[int(str(value))] = segmentation.GetNthSegmentID(index)
    return own


def _segmentOf(piece: Piece, ijkToRas: vtk.vtkMatrix4x4) -> slicer.vtkSegment:
    entry = piece.entry
    segment = slicer.vtkSegment()
    segment.SetName(entry.name)
    segment.SetNameAutoGenerated(False)
    segment.SetColor([part / 255.0 for part in entry.colour])
    segment.SetColorAutoGenerated(False)
    segment.SetTag(_OWN_SEGMENT_TAG, str(entry.value))
    if entry.code:
        segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), terminologyEntry(entry))
    segment.AddRepresentation(_labelmapName(), labelmapOf(piece.box, piece.voxels, ijkToRas))
    return segment


def _fingerprintOf(piece: Piece, ijkToRas: vtk.vtkMatrix4x4) -> str:
    if piece.box is None or piece.voxels is None:
        return "empty"
    first = [*(float(part.start) for part in reversed(piece.box)), 1.0]
    checksum = checksumOf(piece.voxels) if piece.checksum is None else piece.checksum
    return fingerprint(checksum, (arrayFromMatrix(ijkToRas) @ np.array(first))[:3])


def labelmapOf(
    box: Optional[Tuple[slice, slice, slice]], voxels: Optional[np.ndarray], ijkToRas: vtk.vtkMatrix4x4
) -> slicer.vtkOrientedImageData:
    """The binary labelmap of a segment.

    Args:
        box: the part of the grid that the voxels fill; None gives an empty image.
        voxels: (z, y, x) zeros and ones in that box.
        ijkToRas: of the grid.
    """
    image = slicer.vtkOrientedImageData()
    image.SetGeometryFromImageToWorldMatrix(ijkToRas)
    if box is None:
        # Zero-length scalars: without any, Slicer's conversion to a surface reports an error.
        image.SetExtent(0, -1, 0, -1, 0, -1)
        image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
        return image
    values = np.ascontiguousarray(voxels, dtype=np.uint8)
    image.SetExtent([int(edge) for part in reversed(box) for edge in (part.start, part.stop - 1)])
    image.GetPointData().SetScalars(numpy_to_vtk(values.ravel(), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR))
    return image


def _labelmapName() -> str:
    return slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()


def _ijkToRas(volume: Volume) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = volume.direction_matrix * np.asarray(volume.spacing[::-1])
    matrix[:3, 3] = volume.origin
    return _LPS_FROM_RAS @ matrix
