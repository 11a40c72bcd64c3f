"""Folders of DICOM, and single DICOM files, to volumes in HU."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import numpy as np
import SimpleITK as sitk  # noqa: N813

from ..errors import ImageError
from ..progress import Progress
from . import itk
from .dicom_geometry import Stack, arrange
from .dicom_header import DicomHeader, read_dicom_header
from .dicom_series import Series, Slice, choose_series
from .grid import check_grid, check_memory
from .names import check_name, shown, walk_files
from .source import Source
from .voxels import INT16_BYTES, VoxelStack

#: What GDCM, and with it SimpleITK, decodes.
_DECODED = {
    "1.2.840.10008.1.2" + end
    for end in ("", ".1", ".1.99", ".2", ".4.50", ".4.51", ".4.57", ".4.70", ".4.80", ".4.81", ".4.90", ".4.91", ".5")
}
_PLAIN = {"1.2.840.10008.1.2" + end for end in ("", ".1", ".1.99", ".2")}
#: Of a compressed slice; the largest that CT scanners make have a sixteenth of it.
_MOST_PIXELS = 2**26
_SYNTAX_NAMES = {
    "1.2.840.10008.1.2.4.92": "JPEG 2000 multi-component", "1.2.840.10008.1.2.4.93": "JPEG 2000 multi-component",
    "1.2.840.10008.1.2.4.100": "MPEG-2", "1.2.840.10008.1.2.4.102": "MPEG-4", "1.2.840.10008.1.2.4.107": "HEVC",
    "1.2.840.10008.1.2.4.110": "JPEG XL", "1.2.840.10008.1.2.4.111": "JPEG XL", "1.2.840.10008.1.2.4.112": "JPEG XL",
    "1.2.840.10008.1.2.4.201": "High-Throughput JPEG 2000", "1.2.840.10008.1.2.4.202": "High-Throughput JPEG 2000",
    "1.2.840.10008.1.2.4.203": "High-Throughput JPEG 2000", "1.2.840.10008.1.2.4.50": "JPEG",
    "1.2.840.10008.1.2.4.51": "JPEG", "1.2.840.10008.1.2.4.57": "lossless JPEG",
    "1.2.840.10008.1.2.4.70": "lossless JPEG",
    "1.2.840.10008.1.2.4.80": "JPEG-LS", "1.2.840.10008.1.2.4.81": "JPEG-LS", "1.2.840.10008.1.2.4.90": "JPEG 2000",
    "1.2.840.10008.1.2.4.91": "JPEG 2000", "1.2.840.10008.1.2.5": "RLE",
}  # fmt: skip


def read_dicom_folder(name: str, folder: Path, progress: Progress) -> Source:
    """Reads the largest CT series in a folder and its subfolders.

    Args:
        name: the folder's name for messages.
        folder: the folder.
        progress: told the share that is done.

    Raises:
        ImageError: there is no CT series, or its slices cannot be decoded.
    """
    closed: List[str] = []
    paths = list(walk_files(folder, closed=closed))
    return _read(name, choose_series(name, paths, _part(progress, 0.0, 0.3), closed=len(closed)), progress)


def read_dicom_file(name: str, path: Path, progress: Progress) -> Source:
    """Reads the series that a slice belongs to from the slice's folder, or an enhanced file alone.

    Args:
        name: the file's name for messages.
        path: the file.
        progress: told the share that is done.

    Raises:
        ImageError: the file is no slice of a CT series, or the series cannot be decoded.
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
        notes += ("stored for inverted display (MONOCHROME1): the values are taken as HU all the same",)
    for slice_ in stack.slices:
        _check_slice(name, slice_)
    check_memory(name, (len(stack.layers), *_plane(stack.slices[0])), INT16_BYTES)
    voxels = VoxelStack((len(stack.layers), *_plane(stack.slices[0])))
    _fill(voxels, name, stack, _part(progress, 0.3, 1.0))
    return Source(voxels, stack.spacing, stack.origin, stack.direction, notes)


def _check_slice(name: str, slice_: Slice) -> None:
    """Fails where a slice cannot be decoded, or would be decoded to something that it does not hold."""
    header = slice_.header
    if header.transfer_syntax not in _DECODED:
        raise ImageError(f"{name} {_stored_as(header)}, which cannot be decoded here; decompress it first")
    if not np.isfinite(slice_.fields.rescale).all():
        raise ImageError(f"{name}: the rescale slope or intercept of a slice is not a number; export it again")
    rows, columns = _plane(slice_)
    if header.pixel_bytes is None or header.transfer_syntax not in _PLAIN:
        # A compressed slice may be of one colour and a few bytes; none has more pixels than this.
        fits = rows * columns <= _MOST_PIXELS
    else:
        wanted = rows * columns * len(header.frames) * max(1, (header.numbers["allocated"] + 7) // 8)
        # Many programs add a few bytes; twice as many are voxels of another type.
        fits = wanted <= header.pixel_bytes < max(2 * wanted, wanted + 2)
    if not fits:
        raise ImageError(f"{name}: a slice does not have the size that its header tells; export the series again")


def _fill(voxels: VoxelStack, name: str, stack: Stack, progress: Progress) -> None:
    last = [layer.second for layer in stack.layers]
    load = _loader(name, stack)
    held: Dict[int, np.ndarray] = {}
    for index, layer in enumerate(stack.layers):
        for needed in (layer.first, layer.second):
            if needed not in held:
                held[needed] = load(needed)
        values = held[layer.first]
        if layer.first != layer.second:
            between = values.astype(np.float64) * (1 - layer.weight) + held[layer.second] * layer.weight
            # Whole HU stay whole, or one filled slice would turn the whole scan to float32.
            values = np.rint(between) if values.dtype.kind in "iu" else between
        voxels.put(index, values)
        held = {key: kept for key, kept in held.items() if key >= layer.first and index + 1 < len(last)}
        progress((index + 1) / len(stack.layers), "reading the scan")


def _loader(name: str, stack: Stack) -> Callable[[int], np.ndarray]:
    """A function from a slice's place in the stack to its (y, x) HU."""
    if all(len(s.header.frames) == 1 for s in stack.slices):
        return lambda index: _pixels(name, stack.slices[index])[0]
    rescales = {s.fields.rescale for s in stack.slices}
    if len(rescales) > 1:
        raise ImageError(f"{name} has frames with different rescale slopes; export it as single slices")
    volume = _pixels(name, stack.slices[0])
    return lambda index: volume[stack.slices[index].frame]


def _pixels(name: str, slice_: Slice) -> np.ndarray:
    """(frames, y, x) HU of a file."""
    header = slice_.header
    if not header.complete:
        raise ImageError(f"{name}: a slice is damaged, its file ends too early; copy or export it again")
    check_name(header.path)
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(header.path)
    try:
        with itk.quiet(), nullcontext() if header.transfer_syntax in _PLAIN else itk.silent_codecs():
            values = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        raise ImageError(
            f"{name}: a slice is damaged, or {_stored_as(header)} in an unusual way; export it again"
        ) from error
    values = values.reshape(values.shape[-3:])
    if values.shape != (len(header.frames), *_plane(slice_)) or values.dtype.kind not in "iuf":
        raise ImageError(f"{name}: a slice does not have the size that its header tells; export the series again")
    return _upright(values, header, slice_.fields.rescale) if _inverted(header) else values


def _upright(values: np.ndarray, header: DicomHeader, rescale: Tuple[float, ...]) -> np.ndarray:
    """Takes back that GDCM mirrors the stored values of MONOCHROME1: they are HU, however they are shown."""
    intercept, slope = rescale if len(rescale) == 2 else (0.0, 1.0)
    bits = header.numbers["bits"]
    ends = -1 if header.numbers["signed"] else 2**bits - 1  # lowest + highest stored value
    return slope * ends + 2 * intercept - values.astype(np.float64)


def _inverted(header: DicomHeader) -> bool:
    return header.fields["photometric"].upper() == "MONOCHROME1"


def _plane(slice_: Slice) -> Tuple[int, int]:
    return slice_.header.numbers["rows"], slice_.header.numbers["columns"]


def _stored_as(header: DicomHeader) -> str:
    syntax = shown(header.transfer_syntax)
    return f"is stored as {_SYNTAX_NAMES.get(syntax, 'an unknown compression')} (transfer syntax {syntax})"


def _part(progress: Progress, begin: float, end: float) -> Progress:
    return lambda share, stage: progress(begin + share * (end - begin), stage)
