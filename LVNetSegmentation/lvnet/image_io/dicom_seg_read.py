"""Reading DICOM SEG: binary, fractional and label map segmentations of any program, on the grid of their frames.

The standard allows frames without any voxel to be omitted.  The grid therefore extends from the first
frame that is present to the last.
"""

from __future__ import annotations

from typing import Any, List, NamedTuple, Tuple

import numpy as np

from ..errors import ImageError
from ..volume import Segment
from .dicom_objects import open_object, understood
from .geometry_checks import check_grid, check_memory
from .overlaps import Overlaps
from .source import Source
from .voxels import INT16_BYTES

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
LABELMAP_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.7"
_SAME_PLACE_MM = 0.01
#: Tolerance for frames off a regular grid, as a fraction of the slice distance, and for sideways shifts, of a pixel.
_UNEVEN, _SIDEWAYS = 0.1, 0.1
#: Most slices between the first and the last frame; with more, the positions are not accepted as a grid.
_MOST_SLICES = 20000


class _Frame(NamedTuple):
    place: int
    segment: int
    position: np.ndarray


def read_dicom_seg(name: str, path: str, threshold: float) -> Tuple[Source, Tuple[Segment, ...]]:
    """Reads a DICOM SEG.

    Args:
        name: the file's name for messages.
        path: the file.
        threshold: fraction from which a voxel belongs to a segment, in fractional segmentations.

    Raises:
        DependencyError: pydicom is missing.
        ImageError: the file is not a DICOM SEG, or its frames do not form a regular grid.
    """
    data = open_object(name, path)
    with understood(name):
        kind = str(data.get("SOPClassUID", ""))
        if kind not in (SEGMENTATION, LABELMAP_SEGMENTATION):
            raise ImageError(f"{name} is not a DICOM segmentation; give a DICOM SEG, an RTSTRUCT, or a label map")
        entries = [_segment(item) for item in data.SegmentSequence]
        shared = data.SharedFunctionalGroupsSequence[0] if "SharedFunctionalGroupsSequence" in data else None
        groups = list(data.PerFrameFunctionalGroupsSequence)
        orientation = _orientation(name, groups, shared)
        measures = _functional(groups[0], shared, "PixelMeasuresSequence")
        frames = [_frame(index, group, shared, kind) for index, group in enumerate(groups)]
        rows, columns = int(data.Rows), int(data.Columns)
        pixel = [float(part) for part in measures.PixelSpacing]
        heights, step = _lattice(name, frames, orientation, pixel, measures)
        shape = (int(np.rint(heights.max())) + 1, rows, columns)
        check_memory(name, shape, 2 * INT16_BYTES)
        masks, said = _filled(name, data, kind, frames, heights, shape, [e.value for e in entries], threshold)
        stack, segments = masks.finish(entries)
        first = frames[int(np.argmin(heights))].position
        spacing = (pixel[1], pixel[0], step)
        direction = tuple(float(part) for part in np.stack(orientation, axis=1).ravel())
        check_grid(name, spacing, [float(part) for part in first], direction)
        return Source(stack, spacing, tuple(float(part) for part in first), direction, said), segments


def _segment(item: Any) -> Segment:
    label = "".join(c if c.isprintable() else " " for c in str(item.get("SegmentLabel", "")))
    kinds = item.get("SegmentedPropertyTypeCodeSequence") or []
    meaning = str(kinds[0].get("CodeMeaning", "")) if kinds else ""
    return Segment(int(item.SegmentNumber), label, "" if meaning == "Tissue" else meaning)


def _functional(group: Any, shared: Any, sequence: str) -> Any:
    own = group.get(sequence)
    return own[0] if own else shared[sequence].value[0]


def _orientation(name: str, groups: List[Any], shared: Any) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Directions of rows, of columns, and across the slices."""
    found = [_functional(group, shared, "PlaneOrientationSequence").ImageOrientationPatient for group in groups]
    first = np.array([float(part) for part in found[0]])
    if any(np.abs(np.array([float(part) for part in other]) - first).max() > 1e-3 for other in found[1:]):
        raise ImageError(f"{name}: its frames are in different planes; export it again")
    row, column = first.reshape(2, 3)
    return row, column, np.cross(row, column)


def _frame(index: int, group: Any, shared: Any, kind: str) -> _Frame:
    position = np.array(
        [float(part) for part in _functional(group, shared, "PlanePositionSequence").ImagePositionPatient]
    )
    if kind == LABELMAP_SEGMENTATION:
        return _Frame(index, 0, position)
    number = _functional(group, shared, "SegmentIdentificationSequence").ReferencedSegmentNumber
    return _Frame(index, int(number), position)


def _lattice(
    name: str, frames: List[_Frame], orientation: Tuple[np.ndarray, ...], pixel: List[float], measures: Any
) -> Tuple[np.ndarray, float]:
    """The slice number of every frame, which may deviate from an integer, and the distance of slices in mm."""
    row, column, normal = orientation
    positions = np.stack([frame.position for frame in frames])
    along = positions @ normal
    sideways = np.abs((positions - positions[0]) @ np.stack([row, column], axis=1)).max(axis=0)
    if (sideways > _SIDEWAYS * np.array([pixel[1], pixel[0]])).any():
        raise ImageError(f"{name}: its frames are shifted sideways against each other; export it again")
    places = np.unique(np.round(along / _SAME_PLACE_MM)) * _SAME_PLACE_MM
    gaps = np.diff(places)
    stated = [float(measures.get(key) or 0) for key in ("SpacingBetweenSlices", "SliceThickness")]
    if not gaps.size:
        step = next((value for value in stated if value > 0), 1.0)
        return np.zeros(len(frames)), step
    # Empty frames may be omitted, so the smallest gap is not necessarily the distance of slices.
    for step in [value for value in (stated[0], float(gaps.min()), stated[1]) if value > 0]:
        whole = np.maximum(1, np.rint(gaps / step))
        if (np.abs(gaps / step - whole) <= _UNEVEN).all() and whole.sum() < _MOST_SLICES:
            even = float(gaps.sum() / whole.sum())
            return (along - along.min()) / even, even
    raise ImageError(f"{name}: its frames are {gaps.min():.3g} to {gaps.max():.3g} mm apart, not on a regular grid")


def _filled(
    name: str,
    data: Any,
    kind: str,
    frames: List[_Frame],
    heights: np.ndarray,
    shape: Tuple[int, int, int],
    numbers: List[int],
    threshold: float,
) -> Tuple[Overlaps, Tuple[str, ...]]:
    masks = Overlaps(name, shape)
    least, said = _cut(name, data, len(frames), shape, threshold)
    for frame, height in zip(frames, heights):
        plane, index = _plane(name, data, frame.place, shape[1:]), int(np.rint(height))
        if kind == LABELMAP_SEGMENTATION:
            for number in np.unique(plane[plane != 0]):
                if int(number) in numbers:
                    masks.add(index, plane == number, numbers.index(int(number)))
        elif frame.segment in numbers:
            masks.add(index, plane >= least, numbers.index(frame.segment))
    return masks, said


def _cut(
    name: str, data: Any, frames: int, shape: Tuple[int, int, int], threshold: float
) -> Tuple[float, Tuple[str, ...]]:
    """The lowest stored value that belongs to a segment, and a note about it."""
    if str(data.get("SegmentationType", "")).upper() != "FRACTIONAL":
        return 1, ()
    most = float(data.get("MaximumFractionalValue", 255))
    # Programs with dcmjs (OHIF) store binary masks as fractions of 255, in order to compress them.
    if most > 1 and max(int(_plane(name, data, index, shape[1:]).max()) for index in range(frames)) == 1:
        return 1, (f"{name} says that its voxels are fractions of {most:g}, but they are 0 and 1: read as a mask",)
    return threshold * most, (f"fractions of {name}: a segment is where they are at least {threshold:g}",)


def _plane(name: str, data: Any, index: int, shape: Tuple[int, int]) -> np.ndarray:
    """(y, x) stored values of one frame, so that only one frame at a time is unpacked in memory."""
    size, bits = shape[0] * shape[1], int(data.BitsAllocated)
    if data.file_meta.TransferSyntaxUID.is_compressed and not data.file_meta.TransferSyntaxUID.is_deflated:
        whole = data.pixel_array  # pydicom keeps it
        return np.asarray(whole if whole.ndim == 2 else whole[index]).reshape(shape)
    pixels = data.PixelData
    begin, end = index * size * bits // 8, -(-(index + 1) * size * bits // 8)
    if len(pixels) < end:
        raise ImageError(f"{name} is damaged: its voxels are incomplete; copy or export it again")
    if bits == 1:
        values = np.unpackbits(np.frombuffer(pixels[begin:end], np.uint8), bitorder="little")[
            index * size - 8 * begin :
        ]
    else:
        values = np.frombuffer(pixels[begin:end], np.dtype({8: "u1", 16: "<u2"}[bits]))
    return values[:size].reshape(shape)
