"""A small bounds-checked reader and writer of the safetensors file format.

The format: eight bytes with the length of the header (little-endian), the header as JSON, then one
raw buffer.  The header gives each tensor's type, shape and position in the buffer, and custom strings
under `__metadata__`.  Slicer does not include the safetensors library; tests compare this reader with
it.  Nothing in a file is ever executed.
"""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any, Dict, Mapping, Tuple, Union

import numpy as np

from .errors import CheckpointError
from .files import is_pipe_or_device

#: Size limits of header and file: far above any LV-Net, far below what would exhaust memory.
MAX_HEADER_BYTES = 4 * 2**20
MAX_FILE_BYTES = 2 * 2**30

_TYPES: Dict[str, np.dtype] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "U8": np.dtype("u1"),
}
_NAMES = {dtype: name for name, dtype in _TYPES.items()}


def read_safetensors(path: Union[str, Path]) -> Tuple[Dict[str, np.ndarray], Dict[str, str]]:
    """Reads tensors and metadata.

    Returns:
        Arrays by name (copies), and the metadata's strings by key.

    Raises:
        CheckpointError: the file is missing, truncated or not in this format.
    """
    if is_pipe_or_device(path):
        raise CheckpointError(f"the weights file {path} is a pipe or a device, not a file")
    try:
        size = os.path.getsize(path)
        if size > MAX_FILE_BYTES:
            raise CheckpointError(f"{path} is too large for a weights file ({size} bytes)")
        data = Path(path).read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read the weights file {path}: {error.strerror or error}") from error
    try:
        return parse_safetensors(data)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def parse_safetensors(data: bytes) -> Tuple[Dict[str, np.ndarray], Dict[str, str]]:
    """The same from bytes in memory; see :func:`read_safetensors`."""
    if len(data) < 8:
        raise CheckpointError("not a weights file: shorter than its own header")
    (length,) = struct.unpack_from("<Q", data)
    if not 2 <= length <= min(len(data) - 8, MAX_HEADER_BYTES):
        raise CheckpointError(
            "not a weights file, or a truncated one: its header does not fit; copy or download it again"
        )
    try:
        header = json.loads(data[8 : 8 + length].decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise CheckpointError("not a weights file: its header is not JSON") from error
    if not isinstance(header, dict):
        raise CheckpointError("not a weights file: its header is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointError("damaged weights file: its metadata is not a table of strings")
    buffer = memoryview(data)[8 + length :]
    places = {name: _place(name, entry, len(buffer)) for name, entry in header.items()}
    end = 0
    for name, (_, _, begin, stop) in sorted(places.items(), key=lambda item: item[1][2:]):
        if begin != end:
            raise CheckpointError(f"damaged weights file: tensor {name[:80]!r} overlaps another or leaves a gap")
        end = stop
    if end != len(buffer):
        raise CheckpointError(f"damaged weights file: {len(buffer) - end} bytes belong to no tensor")
    arrays = {
        name: np.frombuffer(buffer[begin:stop], dtype).reshape(shape).copy()
        for name, (dtype, shape, begin, stop) in places.items()
    }
    return arrays, metadata


def _without_duplicates(pairs: Any) -> Dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key occurs twice")
    return result


def _place(name: str, entry: Any, available: int) -> Tuple[np.dtype, Tuple[int, ...], int, int]:
    """Type, shape, start and end of one tensor, all checked against the buffer."""
    problem = CheckpointError(f"damaged weights file: the entry of tensor {name[:80]!r} is invalid")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise problem
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in _TYPES:
        raise CheckpointError(f"tensor {name[:80]!r} has a number type that this version does not support")
    numbers_ok = all(
        isinstance(numbers, list) and all(type(n) is int and 0 <= n <= MAX_FILE_BYTES for n in numbers)
        for numbers in (shape, offsets)
    )
    if not numbers_ok or len(offsets) != 2 or len(shape) > 8:
        raise problem
    dtype = _TYPES[entry["dtype"]]
    count = 1
    for side in shape:
        count *= side
    begin, stop = offsets
    if not begin <= stop or stop - begin != count * dtype.itemsize:
        raise problem
    if stop > available:
        raise CheckpointError("truncated weights file: it ends before its last tensor; copy or download it again")
    return dtype, tuple(shape), begin, stop


def encode_safetensors(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a file with the arrays, sorted by name, and the metadata."""
    header: Dict[str, Any] = {"__metadata__": dict(metadata)}
    pieces, position = [], 0
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        dtype = array.dtype.newbyteorder("<")
        piece = array.astype(dtype, copy=False).tobytes()
        header[name] = {
            "dtype": _NAMES[np.dtype(dtype)],
            "shape": list(array.shape),
            "data_offsets": [position, position + len(piece)],
        }
        pieces.append(piece)
        position += len(piece)
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(pieces)
