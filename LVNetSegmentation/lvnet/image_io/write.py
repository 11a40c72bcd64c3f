"""Writing images and label maps to files, completely or not at all."""

from __future__ import annotations

import errno
import os
import zlib
from contextlib import contextmanager
from typing import Any, BinaryIO, Dict, Iterator, Sequence, Union

import numpy as np

from ..errors import ImageError
from ..files import readable_json, whole_file
from ..recipe import LabelClass
from ..volume import Volume
from .geometry_checks import check_grid
from .metaimage import compressed_size, metaimage_header
from .names import IMAGE_SUFFIXES, LABEL_SUFFIXES, PathLike, check_output_path, shown
from .nifti import nifti_header
from .nrrd import nrrd_header
from .seg_nrrd import segmentation_fields

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space",
    getattr(errno, "EDQUOT", errno.ENOSPC): "the disk's quota is used up; free some space",
    errno.EFBIG: "the file exceeds the size limit there; choose another folder",
}


def write_labels(volume: Volume, path: PathLike, classes: Sequence[LabelClass]) -> None:
    """Writes a label map as compressed uint8 voxels on the volume's own grid.

    Read back with ITK, size, spacing, origin and direction are the volume's own, bit for bit,

    - in .mha: always;
    - in .nii and .nii.gz: for grids that came from NIfTI in mm, or whose numbers float32 holds; others
      are rounded to float32, the format's own precision;
    - in .nrrd and .seg.nrrd: for grids that came from NRRD.  The format stores spacing times
      direction, which ITK divides again, so that directions of other grids, and spacings of
      oblique ones, may come back changed in the last bit of a double (0.9999999999999999 for 1).

    Args:
        volume: (z, y, x) integers from 0 to 255 (or bool).
        path: ends with one of `LABEL_SUFFIXES`; .seg.nrrd opens in Slicer as a segmentation with
            the classes' names, colours and terminology.
        classes: the meaning of the label values; every value that occurs, except 0, must be included.

    Raises:
        ImageError: the file cannot be written, or its format does not support the grid.
        ValueError: the voxels are not a label map of these classes.
    """
    labels = _as_uint8(volume.array)
    known = np.zeros(256, bool)
    known[[0, *(entry.value for entry in classes)]] = True
    for layer in labels:
        if not known[layer].all():
            raise ValueError(f"label value {int(layer[~known[layer]][0])} belongs to none of the classes")
    suffix = check_output_path(path, LABEL_SUFFIXES)
    fields: Dict[str, str] = {}
    if suffix == ".seg.nrrd":
        fields = segmentation_fields(volume.with_array(labels), classes)
    _write(volume, labels, path, suffix, fields, level=6)


def write_image(volume: Volume, path: PathLike) -> None:
    """Writes a scan or a probability map as compressed voxels, as exactly as :func:`write_labels`.

    Args:
        volume: (z, y, x) int16, uint8 or float32.
        path: ends with one of `IMAGE_SUFFIXES`.

    Raises:
        ImageError: the file cannot be written, or its format does not support the grid.
        ValueError: the voxels have another type.
    """
    if volume.array.dtype.newbyteorder("=") not in (np.int16, np.uint8, np.float32):
        raise ValueError(f"images are int16, uint8 or float32, not {volume.array.dtype}")
    suffix = check_output_path(path, (".seg.nrrd", *IMAGE_SUFFIXES))
    if suffix == ".seg.nrrd":
        raise ImageError(f"{shown(path)}: .seg.nrrd is for segmentations, not images; write .nrrd instead")
    # Noise hardly compresses: a higher level would take minutes to save a few per cent.
    _write(volume, volume.array, path, suffix, {}, level=1)


def _as_uint8(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind not in "biu" or (array.size and not (array.min() >= 0 and array.max() <= 255)):
        raise ValueError("a label map contains integers from 0 to 255")
    return array.astype(np.uint8)


def _write(
    volume: Volume, array: np.ndarray, path: PathLike, suffix: str, fields: Dict[str, str], *, level: int
) -> None:
    name = shown(path)
    if array.ndim != 3 or not array.size:
        raise ValueError(f"a volume is (z, y, x) and not empty, not {array.shape}")
    spacing = volume.spacing[::-1]
    place = (spacing, volume.origin, volume.direction)
    check_grid(name, *place)
    dtype = array.dtype.newbyteorder("=")
    later = None
    if suffix in (".nii", ".nii.gz"):
        grid, placement = volume.placement
        head = nifti_header(name, array.shape, dtype, *place, placement if grid == volume.grid else b"")
        header = b""
        window = 31 if suffix == ".nii.gz" else 0
    elif suffix == ".mha":
        header, later = metaimage_header(array.shape, dtype, *place)
        head, window = b"", 15
    else:
        head, header, window = b"", nrrd_header(array.shape, dtype, *place, fields), 31
    packer: Any = zlib.compressobj(level, zlib.DEFLATED, window) if window else _Plain()
    with atomic_file(path) as file:
        file.write(header)
        file.write(packer.compress(head))
        for layer in array:
            file.write(packer.compress(np.ascontiguousarray(layer, layer.dtype.newbyteorder("<")).tobytes()))
        file.write(packer.flush())
        if later is not None:
            count = file.tell() - len(header)
            file.seek(later)
            file.write(compressed_size(count))


class _Plain:
    """A compressor that stores data unchanged."""

    def compress(self, data: bytes) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


@contextmanager
def atomic_file(path: Union[str, os.PathLike[str]]) -> Iterator[BinaryIO]:
    """A file that appears under its name once it is complete, and not at all otherwise.

    Raises:
        ImageError: the disk is full, the folder is read-only, or the like.
    """
    try:
        with whole_file(path) as file:
            yield file
    except OSError as error:
        reason = _REASONS.get(error.errno or 0) or error.strerror or "disk error"
        raise ImageError(f"{shown(path)} cannot be written: {reason}") from error


def write_json(value: object, path: PathLike) -> None:
    """Writes a JSON file, completely or not at all.

    Raises:
        ImageError: it cannot be written.
    """
    with atomic_file(path) as file:
        file.write((readable_json(value) + "\n").encode("utf-8"))
