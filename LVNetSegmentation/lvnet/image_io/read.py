"""Scans and label maps from files and folders."""

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

#: Share of one that a mask saved with the slope of a CT's header may be off, and the largest label that is one.
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
        path: a NIfTI, NRRD or MetaImage file, a folder of DICOM (the most suitable CT series in it
            and its subfolders is taken), or one DICOM file (the scan it belongs to is taken from
            its folder).
        progress: told the share of slices read.
        series: of a folder of DICOM, the series to take instead: its UID, number or description, as
            :func:`list_scans` gives them.
        files: of a folder of DICOM, the files that count; None takes all.

    Returns:
        HU as (z, y, x) int16 where every value fits exactly, else float32, with the file's rescale
        slope and intercept applied; spacing (z, y, x) in mm; origin and direction as ITK has them.
        Its `notes` tell what was noticed or repaired: voxels without a finite value (they become
        -1024 HU, air), which of several series was taken, missing slices (filled in between
        their neighbours), gantry tilt (the slices are kept as they are).

    Raises:
        ImageError: nothing there that can be read as a CT volume.
    """
    name = shown(path)
    with _readable(name):
        source = _load(name, path, progress, series, files)
    stack = source.stack
    if stack.all_replaced:
        raise ImageError(f"{name} holds no voxel with a finite value; export the scan again")
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
        label: the one value to keep; the result is then 1 where the file has it and 0 elsewhere.

    Returns:
        (z, y, x) uint8, or int16 if a value lies outside 0 to 255, on the file's own grid.

    Raises:
        ImageError: the file cannot be read, or its values are not whole numbers.
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
            notes += (f"its values lie within {_NEARLY_WHOLE:g} of whole numbers and were rounded",)
    if source.stack.replaced or array.dtype != np.int16:
        raise ImageError(f"{name} is no label map: it holds values that are not whole numbers, or too large")
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
        raise ImageError(f"{name} is no folder of DICOM, in which a series could be chosen; leave the series out")
    if not plain.exists():
        raise ImageError(f"{name} does not exist; check the path")
    if is_pipe_or_device(plain):
        raise ImageError(f"{name} is a pipe or a device, not a file; save the scan as a file")
    suffix = suffix_of(plain, READABLE_SUFFIXES)
    if suffix:
        return _READERS[suffix](name, plain, progress)
    with open(plain, "rb"):  # says why, where it may not be read
        pass
    if looks_like_dicom(plain):
        return read_dicom_file(name, plain, progress)
    raise ImageError(f"{name} is no image that can be read: give {', '.join(READABLE_SUFFIXES)} or a folder of DICOM")


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Turns a refusal of the file system, or of memory, into one line."""
    try:
        yield
    except OSError as error:
        raise ImageError(f"{name} cannot be read: {error.strerror or 'input/output error'}") from error
    except MemoryError as error:
        raise ImageError(f"{name} needs more memory than there is; close other programs") from error


def _volume(source: Source, array: np.ndarray, name: str, notes: Tuple[str, ...]) -> Volume:
    x, y, z = (float(step) for step in source.spacing)
    ox, oy, oz = (float(part) for part in source.origin)
    volume = Volume(array, (z, y, x), (ox, oy, oz), tuple(float(part) for part in source.direction), name, notes)
    return replace(volume, placement=(volume.grid, source.placement)) if source.placement else volume
