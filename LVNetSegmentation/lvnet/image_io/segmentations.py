"""Reading segmentations from files, with the meaning of their values."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Optional, Tuple

import numpy as np

from ..errors import ImageError
from ..files import is_pipe_or_device
from ..progress import silent
from ..volume import Segment, Volume
from .dicom_header import looks_like_dicom, read_dicom_header
from .dicom_seg_read import read_dicom_seg
from .names import READABLE_SUFFIXES, PathLike, output_name, shown, suffix_of
from .read import _load, _readable, _volume
from .rtstruct import read_rtstruct
from .seg_nrrd_segments import read_named_layers
from .source import Source

#: Default probability threshold for a voxel to belong to the organ.
DEFAULT_THRESHOLD = 0.5
#: Tolerance for integer labels: they may be inexact in files with a slope and an intercept.
_ROUNDING = 1e-3
#: Most voxels of a probability map are confident: at least this fraction is within `_SURE` of 0 or 1.
_MOST_SURE, _SURE = 0.5, 0.05
_INT16 = np.iinfo(np.int16)


def read_segments(path: PathLike, *, threshold: Optional[float] = None, like: Optional[Volume] = None) -> Volume:
    """Reads a label map, a mask or a probability map, and the segments that the file describes.

    Args:
        path: a NIfTI, NRRD or MetaImage file, Slicer's .seg.nrrd with all its layers, a DICOM SEG or an
            RTSTRUCT.
        threshold: probability threshold for a voxel to belong to the organ; None takes 0.5 if the
            file looks like a probability map, and refuses other non-integer values.
        like: a volume on the grid of the scan, which only an RTSTRUCT needs.

    Returns:
        (z, y, x) uint8, or int16 if a value lies outside 0 to 255, on the file's own grid, with its
        segments if it describes any.

    Raises:
        ImageError: the file cannot be read, or is not a segmentation.
        DependencyError: a package is missing that a DICOM object needs.
    """
    name = shown(path)
    if os.path.isdir(path):
        raise ImageError(f"{name} is a folder; give the file of the label map")
    with _readable(name):
        source, segments = _open(name, path, threshold, like)
    array = source.stack.array()
    notes = source.notes
    if source.stack.replaced:
        raise ImageError(f"{name} is not a label map: it contains values that are not finite")
    if array.dtype != np.int16:
        array, note = as_labels(name, array, threshold)
        notes += (note,)
    if array.min() >= 0 and array.max() <= 255:
        array = array.astype(np.uint8)
    return replace(_volume(source, array, output_name(path), notes), segments=segments)


def needs_grid(path: object) -> bool:
    """Whether a file is an RTSTRUCT, whose contours have no voxel grid of their own."""
    return isinstance(path, (str, os.PathLike)) and _modality(path) == "RTSTRUCT"


def is_dicom_segmentation(path: PathLike) -> bool:
    """Whether a file is a DICOM SEG or an RTSTRUCT."""
    return _modality(path) in ("SEG", "RTSTRUCT")


def _open(
    name: str, path: PathLike, threshold: Optional[float], like: Optional[Volume]
) -> Tuple[Source, Tuple[Segment, ...]]:
    if suffix_of(path, (".nrrd", ".nhdr")) and os.path.isfile(path):
        named = read_named_layers(name, Path(path))
        if named is not None:
            return named
    modality = _modality(path)
    if modality == "SEG":
        return read_dicom_seg(name, str(path), DEFAULT_THRESHOLD if threshold is None else threshold)
    if modality == "RTSTRUCT":
        if like is None:
            raise ImageError(f"{name} is an RTSTRUCT, which has no grid of its own; compare it with a label map")
        return read_rtstruct(name, str(path), like)
    if modality:
        raise ImageError(f"{name} is a DICOM image, not a segmentation; give a DICOM SEG, an RTSTRUCT or a label map")
    return _load(name, path, silent), ()


def _modality(path: PathLike) -> str:
    """The SOP class of a DICOM file; empty for any other file."""
    if suffix_of(path, READABLE_SUFFIXES) or is_pipe_or_device(Path(path)) or not looks_like_dicom(path):
        return ""
    header = read_dicom_header(os.fspath(path))
    return header.fields["modality"].upper() if header is not None else ""


def as_labels(name: str, array: np.ndarray, threshold: Optional[float]) -> Tuple[np.ndarray, str]:
    """Labels from real numbers: rounded if they are almost integers, else a mask from probabilities.

    Args:
        name: the file's name for messages.
        array: (z, y, x) finite float32.
        threshold: see :func:`read_segments`.

    Returns:
        (z, y, x) int16, and notes.

    Raises:
        ImageError: the values are neither.
    """
    low, high, farthest, sure = np.inf, -np.inf, 0.0, 0
    for plane in array:
        low, high = min(low, float(plane.min())), max(high, float(plane.max()))
        farthest = max(farthest, float(np.abs(plane - np.rint(plane)).max()))
        sure += int(np.count_nonzero((plane <= _SURE) | (plane >= 1 - _SURE)))
    if farthest <= _ROUNDING and threshold is None:
        if low < _INT16.min or high > _INT16.max:
            raise ImageError(f"{name} is not a label map: it contains values that are too large")
        return np.rint(array).astype(np.int16), f"values of {name} that are not exactly integers were rounded"
    if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):
        raise ImageError(
            f"{name} is not a label map: it contains values that are not integers ({low:.3g} to {high:.3g}); "
            "give a label map with one integer per organ, or probabilities from 0 to 1"
        )
    if threshold is None and sure < _MOST_SURE * array.size:
        raise ImageError(
            f"{name} is not a label map, and probably not a probability map: most of its values are neither near 0 "
            "nor near 1; give a threshold if it is one"
        )
    chosen = DEFAULT_THRESHOLD if threshold is None else threshold
    mask = (array >= chosen).astype(np.int16)
    return (
        mask,
        f"the values of {name} are interpreted as probabilities: the organ is where they are at least {chosen:g}",
    )
