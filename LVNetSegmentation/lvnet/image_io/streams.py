"""Reading raw voxels from plain and compressed files, slice by slice, and checking that they are complete."""

from __future__ import annotations

import gzip
import zlib
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Iterator, List, Optional, Tuple

import numpy as np

from ..errors import ImageError
from ..progress import Progress

_CHUNK = 1 << 20


#: Largest expansion of each compression format.
_MOST_OUT_OF_ONE = {"gzip": 1032, "zlib": 1032, "bzip2": 50_000}


class _ZlibReader:
    """Reads a zlib stream that ends at the end of the file, as in MetaImage."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._inflate = zlib.decompressobj()
        self._rest = b""

    def read(self, count: int) -> bytes:
        parts = []
        while count > 0 and not self._inflate.eof:
            data = self._inflate.unconsumed_tail or self._file.read(_CHUNK)
            if not data:
                raise EOFError("compressed data end too early")
            part = self._inflate.decompress(data, count)
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


@contextmanager
def open_voxels(name: str, path: Path, encoding: str, offset: int) -> Iterator[Any]:
    """Opens a file at its first voxel.

    Args:
        name: the file's name for messages.
        path: the file.
        encoding: "raw"; "zlib" or "gzip" for compressed voxels after a plain header; "gzip-file"
            for a file that is compressed as a whole, with `offset` counted inside.
        offset: of the first voxel, in bytes.

    Raises:
        ImageError: a compressed file ends before its voxels begin.
    """
    with ExitStack() as stack:
        file = stack.enter_context(open(path, "rb"))
        if encoding == "gzip-file":
            whole = stack.enter_context(gzip.GzipFile(fileobj=file))
            try:
                whole.read(offset)
            except (EOFError, OSError, zlib.error) as error:
                raise damaged(name) from error
            yield whole
            return
        file.seek(offset)
        if encoding == "gzip":
            yield stack.enter_context(gzip.GzipFile(fileobj=file))
        else:
            yield _ZlibReader(file) if encoding == "zlib" else file


def read_slices(
    name: str,
    stream: Any,
    shape: Tuple[int, int, int],
    dtype: np.dtype,
    progress: Progress,
    notes: Optional[List[str]] = None,
) -> Iterator[np.ndarray]:
    """The (y, x) slices of a volume, one after another, in the computer's own byte order.

    Args:
        name: the file's name for messages.
        stream: anything with `read`, at the first voxel.
        shape: (z, y, x).
        dtype: the file's voxel type.
        progress: called with the fraction of slices read.
        notes: a sentence is added if the file contains at least one more slice.

    Raises:
        ImageError: the file ends too early or is damaged.
    """
    depth, height, width = shape
    length = height * width * dtype.itemsize
    try:
        for index in range(depth):
            data = stream.read(length)
            if len(data) != length:
                raise EOFError("file ends too early")
            yield np.frombuffer(data, dtype).reshape(height, width).astype(dtype.newbyteorder("="), copy=False)
            progress((index + 1) / depth, "reading the scan")
        # gzip stores its checksum after the last byte, so it is only checked if one reads on.
        if len(stream.read(max(length, _CHUNK))) >= length and notes is not None:
            notes.append(f"the file contains more voxels than its header says: only {depth} slices were read")
    except (EOFError, OSError, zlib.error) as error:
        raise damaged(name) from error


def check_length(name: str, encoding: str, stored: int, needed: int) -> None:
    """Fails before memory is allocated for voxels if the file is too short to contain them.

    Args:
        name: the file's name for messages.
        encoding: "gzip", "zlib", "bzip2", or anything else for voxels that are not compressed.
        stored: size of the voxel data in the file, in bytes.
        needed: size of the voxels, in bytes.

    Raises:
        ImageError: the file ends too early.
    """
    # The few bytes of overhead in a compressed file only make the bound more generous.
    if needed > stored * _MOST_OUT_OF_ONE.get(encoding, 1):
        raise damaged(name)


def damaged(name: str) -> ImageError:
    """The error for a file that cannot be read to its end."""
    return ImageError(f"{name} is damaged or incomplete; copy or export it again")
