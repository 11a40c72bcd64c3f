"""Reading scans and label maps from files and folders."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Callable, Dict, Iterator, Optional, Sequence, Tuple

import numpy as np

from ..errors import ImageError
from ..files import is_pipe_or_device
from ..progress import Progress, silent
from ..volume import Volume
from .dicom import read_dicom_file, read_dicom_folder
from .dicom_header import looks_like_dicom
from .metaimage import read_metaimage
from .names import READABLE_SUFFIXES, PathLike, output_name, shown, suffix_of
from .nifti import read_nifti
from .nrrd import read_nrrd
from .padding import outside, padding_note
from .seg_nrrd import read_layers
from .source import Source
from .voxels import AIR

#: Tolerance for integer labels in a mask that was saved with a CT's slope, and the largest such label.
_NEARLY_WHOLE, _MOST_LABEL = 1e-3, 32767

_READERS: Dict[str, Callable[[str, Path, Progress], Source]] = {
    ".nii.gz": read_nifti,
    ".nii": read_nifti,
    ".nrrd": read_nrrd,
    ".nhdr": read_nrrd,
    ".mha": read_metaimage,
    ".mhd": read_metaimage,
}


def read_image(
    path: PathLike,
    *,
    progress: Progress = silent,
    series: Optional[str] = None,
    files: Optional[Sequence[str]] = None,
) -> Volume:
    """Reads a CT scan.

    Args:
        path: a NIfTI, NRRD or MetaImage file, a DICOM folder (the most suitable CT series in it
            and its subfolders is read), or one DICOM file (the scan that it belongs to is read from
            its folder).
        progress: called with the fraction of slices read.
        series: read this series of a DICOM folder instead: its UID, number or description, as
            :func:`list_scans` gives them.
        files: the files of a DICOM folder to consider; None takes all.

    Returns:
        HU as (z, y, x) int16 if every value fits exactly, else float32, with the file's rescale
        slope and intercept applied; spacing (z, y, x) in mm; origin and direction as in ITK.
        Its `notes` say what was noticed or repaired: voxels without a finite value (set to
        -1024 HU, air), which of several series was chosen, missing slices (interpolated between
        their neighbours), gantry tilt (not corrected).

    Raises:
        ImageError: it cannot be read as a CT volume.
    """
    name = shown(path)
    with _readable(name):
        source = _load(name, path, progress, series, files)
    stack = source.stack
    if stack.all_replaced:
        raise ImageError(f"{name} contains no voxel with a finite value; export the scan again")
    notes = source.notes
    if stack.replaced:
        count = "1 voxel" if stack.replaced == 1 else f"{stack.replaced} voxels"
        notes += (f"{count} without a finite value (NaN or infinite) set to {AIR} HU (air)",)
    array = stack.array()
    mask = outside(array)
    if mask is not None:
        array[mask] = AIR
        notes += (padding_note(int(np.count_nonzero(mask))),)
    if array.shape[0] == 1:
        notes += ("the scan is a single slice",)
    return _volume(source, array, output_name(path), notes)


def read_labels(path: PathLike, label: Optional[int] = None) -> Volume:
    """Reads a label map.

    Args:
        path: a NIfTI, NRRD or MetaImage file, or Slicer's .seg.nrrd; layers of overlapping
            segments are merged by label value, later layers on top.
        label: keep only this value; the result is then 1 where the file has it and 0 elsewhere.

    Returns:
        (z, y, x) uint8, or int16 if a value lies outside 0 to 255, on the file's own grid.

    Raises:
        ImageError: the file cannot be read, or its values are not integers.
    """
    name = shown(path)
    if os.path.isdir(path):
        raise ImageError(f"{name} is a folder; give the file of the label map")
    with _readable(name):
        source = read_layers(name, Path(path)) if suffix_of(path, (".nrrd", ".nhdr")) and os.path.isfile(path) else None
        if source is None:
            source = _load(name, path, silent)
    array = source.stack.array()
    notes = source.notes
    if not source.stack.replaced and array.dtype == np.float32:
        whole = np.rint(array)
        if np.abs(array - whole).max() <= _NEARLY_WHOLE and np.abs(whole).max() <= _MOST_LABEL:
            array = whole.astype(np.int16)
            notes += (f"its values differ from integers by up to {_NEARLY_WHOLE:g} and were rounded",)
    if source.stack.replaced or array.dtype != np.int16:
        raise ImageError(f"{name} is not a label map: it contains values that are not integers, or too large")
    if label is not None:
        array = (array == label).astype(np.uint8)
        if not array.any():
            notes += (f"label {label} does not occur",)
    elif array.min() >= 0 and array.max() <= 255:
        array = array.astype(np.uint8)
    return _volume(source, array, output_name(path), notes)


def _load(
    name: str,
    path: PathLike,
    progress: Progress,
    series: Optional[str] = None,
    files: Optional[Sequence[str]] = None,
) -> Source:
    plain = Path(path)
    if os.path.isdir(plain):
        return read_dicom_folder(name, plain, progress, series, files)
    if series:
        raise ImageError(f"{name} is not a DICOM folder, so a series cannot be selected; omit the series")
    if not plain.exists():
        raise ImageError(f"{name} does not exist; check the path")
    if is_pipe_or_device(plain):
        raise ImageError(f"{name} is a pipe or a device, not a file; save the scan as a file")
    suffix = suffix_of(plain, READABLE_SUFFIXES)
    if suffix:
        return _READERS[suffix](name, plain, progress)
    with open(plain, "rb"):  # gives the reason if it cannot be read
        pass
    if looks_like_dicom(plain):
        return read_dicom_file(name, plain, progress)
    raise ImageError(f"{name} is not a supported image: give {', '.join(READABLE_SUFFIXES)} or a DICOM folder")


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Turns a file system or out-of-memory error into one line."""
    try:
        yield
    except OSError as error:
        raise ImageError(f"{name} cannot be read: {error.strerror or 'input/output error'}") from error
    except MemoryError as error:
        raise ImageError(f"{name} needs more memory than is available; close other programs") from error


def _volume(source: Source, array: np.ndarray, name: str, notes: Tuple[str, ...]) -> Volume:
    x, y, z = (float(step) for step in source.spacing)
    ox, oy, oz = (float(part) for part in source.origin)
    volume = Volume(array, (z, y, x), (ox, oy, oz), tuple(float(part) for part in source.direction), name, notes)
    return replace(volume, placement=(volume.grid, source.placement)) if source.placement else volume
