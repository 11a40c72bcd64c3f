"""The voxels of a DICOM file, as stored and in HU.

Uncompressed pixels are read directly.  Compressed ones are passed to GDCM's codecs in a temporary file that contains
only their size and type: GDCM sees neither damaged or unusual fields of the original nor the patient's identity.
"""

from __future__ import annotations

import os
import struct
import tempfile
import zlib
from contextlib import contextmanager
from typing import Any, Iterator, List, Optional, Tuple

import numpy as np
import SimpleITK as sitk  # noqa: N813

from ..errors import ImageError
from ..files import passing_folder
from . import itk
from .codestreams import BEGINS, check_rle, jpeg_2000_size, jpeg_size
from .dicom_header import DicomHeader, read_pixels
from .dicom_part10 import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT
from .names import check_name, shown

_PLAIN = (IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN)
_RLE = "1.2.840.10008.1.2.5"
_JPEG = {f"1.2.840.10008.1.2.4.{end}" for end in (50, 51, 57, 70, 80, 81)}
_JPEG_2000 = {f"1.2.840.10008.1.2.4.{end}" for end in (90, 91)}
#: Most pixels of a compressed slice; the largest from CT scanners have a quarter of it.
_MOST_PIXELS = 2**24
#: Largest expansion of RLE: two bytes can encode 128.
_MOST_OUT_OF_ONE = 64
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


def check_pixels(name: str, header: DicomHeader) -> None:
    """Fails before memory is allocated if pixels cannot be decoded, or their number contradicts the header.

    Args:
        name: the scan's name for messages.
        header: the header of one of its files.

    Raises:
        ImageError: the pixels cannot be read.
    """
    syntax = header.transfer_syntax
    if syntax not in (*_PLAIN, _RLE, *_JPEG, *_JPEG_2000):
        raise ImageError(f"{name} {_stored_as(header)}, which is not supported; decompress it first")
    if not all(np.isfinite(frame.rescale).all() for frame in header.frames):
        raise ImageError(f"{name}: the rescale slope or intercept of a slice is not a number; export it again")
    rows, columns = header.numbers["rows"], header.numbers["columns"]
    wanted = rows * columns * len(header.frames) * max(1, (header.numbers["allocated"] + 7) // 8)
    stored = sum(length for _, length in header.pixels)
    if _is_plain(header):
        # Many programs append a few bytes; twice as many bytes mean voxels of another type.
        fits = wanted <= stored < max(2 * wanted, wanted + 2)
    elif syntax == _RLE:
        fits = wanted <= stored * _MOST_OUT_OF_ONE
    else:
        # The compressed size tells nothing: a constant slice may take a few bytes.
        fits = rows * columns <= _MOST_PIXELS
    if not fits:
        raise _other_size(name)


def stored_frames(name: str, header: DicomHeader) -> np.ndarray:
    """The stored values of a file that passed :func:`check_pixels`.

    Args:
        name: the scan's name for messages.
        header: the file's header.

    Returns:
        (frames, y, x) integers.

    Raises:
        ImageError: the pixels are damaged, or stored in an unsupported way.
    """
    if not header.complete:
        raise ImageError(f"{name}: a slice is damaged or truncated; copy or export it again")
    kind = _kind(name, header)
    try:
        pieces = read_pixels(header)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise _unusual(name, header) from error
    if _is_plain(header):
        return _plain(name, header, b"".join(pieces), *kind)
    return np.stack([_decoded(name, header, data) for data in _frames(name, header, pieces)])


def in_hu(values: np.ndarray, rescale: Tuple[float, float]) -> np.ndarray:
    """HU of stored values: integers if intercept and slope are integers, else float64.

    Args:
        values: stored values of any shape.
        rescale: intercept and slope.
    """
    intercept, slope = rescale
    if (intercept, slope) == (0.0, 1.0):
        return values
    limits = np.iinfo(values.dtype)
    largest = max(abs(limits.min), abs(limits.max)) * abs(slope) + abs(intercept)
    if slope == int(slope) and intercept == int(intercept) and largest < 2**31:
        whole = values.astype(np.int32)
        whole *= int(slope)
        whole += int(intercept)
        return whole
    with np.errstate(over="ignore", invalid="ignore"):  # NaN is reported by the caller
        return values * slope + intercept


def _is_plain(header: DicomHeader) -> bool:
    """Whether pixels are uncompressed: some programs decompress without updating the transfer syntax."""
    return header.transfer_syntax in _PLAIN or not header.encapsulated


def _kind(name: str, header: DicomHeader) -> Tuple[np.dtype, int]:
    """Type of the stored values and bits per value; fails if they are invalid.

    The lowest bits are used whatever the header's "high bit" is, as in other programs.
    """
    allocated = header.numbers["allocated"]
    # Byte-sized pixels in words of the other byte order would be swapped in pairs.
    swapped = allocated == 8 and header.transfer_syntax == BIG_ENDIAN
    if allocated not in (8, 16, 32) or swapped:
        raise _unusual(name, header)
    order = ">" if header.transfer_syntax == BIG_ENDIAN else "<"
    return np.dtype(f"{order}{'i' if header.numbers['signed'] else 'u'}{allocated // 8}"), _bits(header)


def _bits(header: DicomHeader) -> int:
    allocated = header.numbers["allocated"]
    return min(header.numbers["bits"] or allocated, allocated)


def _plain(name: str, header: DicomHeader, data: bytes, dtype: np.dtype, bits: int) -> np.ndarray:
    shape = (len(header.frames), header.numbers["rows"], header.numbers["columns"])
    count = int(np.prod(shape))
    if len(data) < count * dtype.itemsize:
        raise _unusual(name, header)  # the file was shortened meanwhile
    values = np.frombuffer(data, dtype, count).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
    above = dtype.itemsize * 8 - bits
    # Old programs store overlays in the bits above a value; shifting up and down removes them and extends the sign.
    return (values << above) >> above if above else values


# Compressed pixels ----------------------------------------------------------------------------------------------------


def _frames(name: str, header: DicomHeader, pieces: List[bytes]) -> List[bytes]:
    """The fragments, joined frame by frame."""
    count = len(header.frames)
    if count == 1:
        return [b"".join(pieces)]
    if len(pieces) == count:
        return pieces
    frames: List[bytes] = []
    for piece in pieces:
        if piece.startswith(BEGINS) or not frames:
            frames.append(piece)
        else:
            frames[-1] += piece
    if len(frames) != count:
        raise _unusual(name, header)
    return frames


def _decoded(name: str, header: DicomHeader, data: bytes) -> np.ndarray:
    """(y, x) stored values of one compressed frame."""
    rows, columns = header.numbers["rows"], header.numbers["columns"]
    _check_frame(name, header, data)
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    with _as_file(_dicom_file(header, data)) as path:
        reader.SetFileName(path)
        try:
            with itk.quiet(), itk.silent_codecs():
                values = sitk.GetArrayFromImage(reader.Execute())
        except RuntimeError as error:
            raise _unusual(name, header) from error
    values = values.reshape(values.shape[-2:])
    if values.shape != (rows, columns) or values.dtype.kind not in "iu":
        raise _other_size(name)
    return values


def _check_frame(name: str, header: DicomHeader, data: bytes) -> None:
    """Fails if a codec would allocate memory for missing data, or crash the process."""
    syntax, allocated = header.transfer_syntax, header.numbers["allocated"]
    try:
        if syntax == _RLE:
            check_rle(data, allocated // 8)
            return
        size = jpeg_size(data) if syntax in _JPEG else jpeg_2000_size(data)
    except ValueError as error:
        raise _unusual(name, header) from error
    # The codecs trust the number of bits, and write out of bounds if it is absurd.
    if not 2 <= size.bits <= min(16, allocated):
        raise _unusual(name, header)
    if size[:3] != (header.numbers["rows"], header.numbers["columns"], 1):
        raise _other_size(name)


def _dicom_file(header: DicomHeader, data: bytes) -> bytes:
    """A minimal DICOM file with one compressed frame for the decoder."""
    numbers = header.numbers
    storage = "1.2.840.10008.5.1.4.1.1.2"
    meta = (
        _element(0x0002, 0x0002, b"UI", storage) + _element(0x0002, 0x0003, b"UI", "2.25.1")
        + _element(0x0002, 0x0010, b"UI", header.transfer_syntax)
    )  # fmt: skip
    bits = _bits(header)
    fields = (
        (0x0002, b"US", 1), (0x0004, b"CS", "MONOCHROME2"), (0x0010, b"US", numbers["rows"]),
        (0x0011, b"US", numbers["columns"]), (0x0100, b"US", numbers["allocated"]), (0x0101, b"US", bits),
        (0x0102, b"US", bits - 1), (0x0103, b"US", int(numbers["signed"] > 0)),
    )  # fmt: skip
    data += b"\0" * (len(data) % 2)
    return b"".join((
        bytes(128), b"DICM", _element(0x0002, 0x0000, b"UL", len(meta)), meta,
        _element(0x0008, 0x0016, b"UI", storage), _element(0x0008, 0x0018, b"UI", "2.25.1"),
        *(_element(0x0028, element, form, value) for element, form, value in fields),
        struct.pack("<HH2s2xI", 0x7FE0, 0x0010, b"OB", 0xFFFFFFFF), struct.pack("<HHI", 0xFFFE, 0xE000, 0),
        struct.pack("<HHI", 0xFFFE, 0xE000, len(data)), data, struct.pack("<HHI", 0xFFFE, 0xE0DD, 0),
    ))  # fmt: skip


def _element(group: int, element: int, form: bytes, value: Any) -> bytes:
    if isinstance(value, str):
        packed = value.encode("ascii")
        packed += (b"\0" if form == b"UI" else b" ") * (len(packed) % 2)
    else:
        packed = struct.pack("<I" if form == b"UL" else "<H", value)
    return struct.pack("<HH2sH", group, element, form, len(packed)) + packed


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """The path of a file with this content, in memory if the system supports it."""
    handle = _memory_file()
    if handle is not None:
        with open(handle, "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{handle}"
        return
    with passing_folder(tempfile.gettempdir(), 0o700) as folder:
        path = folder / "slice.dcm"
        check_name(path)
        path.write_bytes(content)
        yield str(path)


def _memory_file() -> Optional[int]:
    if not hasattr(os, "memfd_create") or not os.path.isdir("/proc/self/fd"):
        return None
    try:
        return os.memfd_create("slice")
    except OSError:  # old kernels, and some restricted ones
        return None


def _other_size(name: str) -> ImageError:
    return ImageError(f"{name}: the size of a slice contradicts its header; export the series again")


def _unusual(name: str, header: DicomHeader) -> ImageError:
    return ImageError(f"{name}: a slice is damaged, or {_stored_as(header)} in an unsupported way; export it again")


def _stored_as(header: DicomHeader) -> str:
    syntax = shown(header.transfer_syntax)
    how = f"as {_SYNTAX_NAMES.get(syntax, 'an unknown compression')}"
    return f"is stored {'without compression' if syntax in _PLAIN else how} (transfer syntax {syntax})"
