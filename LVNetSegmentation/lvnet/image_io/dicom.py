"""Reading DICOM folders and single DICOM files as volumes in HU."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from ..errors import ImageError
from ..progress import Progress
from .dicom_geometry import Stack, arrange
from .dicom_header import DicomHeader, read_dicom_header
from .dicom_pixels import check_pixels, in_hu, stored_frames
from .dicom_series import Series, choose_series
from .grid import check_grid, check_memory
from .names import walk_files
from .padding import as_air, outside, padded, padding_note
from .source import Source
from .voxels import INT16_BYTES, VoxelStack
from .weaving import Weaving


def read_dicom_folder(
    name: str,
    folder: Path,
    progress: Progress,
    series: Optional[str] = None,
    files: Optional[Sequence[str]] = None,
) -> Source:
    """Reads the most suitable CT series in a folder and its subfolders.

    Args:
        name: the folder's name for messages.
        folder: the folder.
        progress: called with the fraction done.
        series: read this series instead: its UID, number or description.
        files: the files of the folder to consider, such as those of one study; None takes all.

    Raises:
        ImageError: there is no CT series, or its slices cannot be decoded.
    """
    closed: List[str] = []
    paths = list(walk_files(folder, closed=closed)) if files is None else list(files)
    found = choose_series(name, paths, _part(progress, 0.0, 0.3), closed=len(closed), series=series)
    return _read(name, found, progress)


def read_dicom_file(name: str, path: Path, progress: Progress) -> Source:
    """Reads the scan that a slice belongs to from the slice's folder, or a single enhanced file.

    Args:
        name: the file's name for messages.
        path: the file.
        progress: called with the fraction done.

    Raises:
        ImageError: the file is not a slice of a CT series, or the series cannot be decoded.
    """
    header = read_dicom_header(str(path))
    if header is None:
        raise ImageError(f"{name} is a damaged DICOM file; copy or export it again")
    paths = [str(path)] if len(header.frames) > 1 else list(walk_files(path.parent, nested=False))
    if str(path) not in paths:
        paths.append(str(path))
    return _read(name, choose_series(name, paths, _part(progress, 0.0, 0.3), wanted=str(path)), progress)


def _read(name: str, series: Series, progress: Progress) -> Source:
    stack = arrange(name, series.slices)
    check_grid(name, stack.spacing, stack.origin, stack.direction)
    notes = series.notes + stack.notes
    if any(_inverted(s.header) for s in stack.slices):
        notes += ("stored for inverted display (MONOCHROME1): the values are used as HU nevertheless",)
    for header in {slice_.header.path: slice_.header for slice_ in stack.slices}.values():
        check_pixels(name, header)
    first = stack.slices[0].header
    shape = (len(stack.layers), first.numbers["rows"], first.numbers["columns"])
    # The frames of one file are in memory twice while they are assembled: as stored, and as a volume.
    beside = 2 * first.numbers["allocated"] // 8 if len(first.frames) > 1 else 0
    check_memory(name, shape, INT16_BYTES + beside)
    voxels = VoxelStack(shape)
    padding = _fill(voxels, name, stack, _part(progress, 0.3, 1.0))
    notes += (padding_note(padding),) if padding else ()
    return Source(voxels, stack.spacing, stack.origin, stack.direction, notes)


def _fill(voxels: VoxelStack, name: str, stack: Stack, progress: Progress) -> int:
    """Reads slice after slice; returns the number of padding voxels."""
    padding = 0
    last = [layer.second for layer in stack.layers]
    load = _loader(name, stack)
    held: Dict[int, np.ndarray] = {}
    weaving = Weaving()
    for index, layer in enumerate(stack.layers):
        for needed in (layer.first, layer.second):
            if needed not in held:
                held[needed], count = load(needed)
                padding += count
                weaving.look(held[needed])
        values = held[layer.first]
        if layer.first != layer.second:
            between = values.astype(np.float64) * (1 - layer.weight) + held[layer.second] * layer.weight
            # Integer HU stay integers, or one interpolated slice would turn the whole scan into float32.
            values = np.rint(between) if values.dtype.kind in "iu" else between
        voxels.put(index, values)
        held = {key: kept for key, kept in held.items() if key >= layer.first and index + 1 < len(last)}
        progress((index + 1) / len(stack.layers), "reading the scan")
    if weaving.period:
        raise ImageError(
            f"{name}: the slices alternate between {weaving.period} different images, probably passes merged into"
            " one series; their headers do not distinguish them: export each pass into a folder of its own"
        )
    return padding


def _loader(name: str, stack: Stack) -> Callable[[int], Tuple[np.ndarray, int]]:
    """A function from a slice's index in the stack to its (y, x) HU and its number of padding pixels."""
    several = len(stack.slices[0].header.frames) > 1  # all frames in one file
    volume = stored_frames(name, stack.slices[0].header) if several else None

    def load(index: int) -> Tuple[np.ndarray, int]:
        slice_ = stack.slices[index]
        stored = stored_frames(name, slice_.header)[0] if volume is None else volume[slice_.frame]
        values = in_hu(stored, slice_.fields.rescale)
        count = 0
        for mask in (padded(slice_.header, stored, slice_.fields.rescale), outside(values)):
            values = as_air(values, mask)
            count += 0 if mask is None else int(np.count_nonzero(mask))
        return values, count

    return load


def _inverted(header: DicomHeader) -> bool:
    return header.fields["photometric"].upper() == "MONOCHROME1"


def _part(progress: Progress, begin: float, end: float) -> Progress:
    return lambda share, stage: progress(begin + share * (end - begin), stage)
