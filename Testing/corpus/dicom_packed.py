"""DICOM slices in every transfer syntax, and compressed pixels that are damaged."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pydicom
from pydicom.uid import RLELossless

from .case import Handled, Kind, Made, Refused
from .dicom_files import enhanced, series, stored
from .headers import behind
from .scans import scan, waves

CASES = Kind("DICOM")
_BASE = "1.2.840.10008.1.2"
_JPEG_2000 = f"{_BASE}.4.90"
_TOO_EARLY = "a slice is damaged or truncated"
_SIZE = "the size of a slice contradicts its header"


def _syntax(name: str, title: str, uid: str, **options: Any) -> None:
    CASES.case(f"transfer syntax {title}", Handled(), name=name)(
        lambda folder: Made(series(folder / "ct", stored(), syntax=uid, **options), scan(waves()))
    )


_syntax("implicit", "implicit little endian", _BASE)
_syntax("big_endian", "explicit big endian", f"{_BASE}.2")
_syntax("deflated", "deflated", f"{_BASE}.1.99")
_syntax("rle", "RLE", f"{_BASE}.5")
_syntax("jpeg_ls", "JPEG-LS", f"{_BASE}.4.80")
_syntax("jpeg_lossless", "lossless JPEG", f"{_BASE}.4.70")
_syntax("jpeg_2000", "JPEG 2000", _JPEG_2000)


def _undecodable(name: str, title: str, uid: str, words: str) -> None:
    CASES.case(f"transfer syntax {title}", Refused(words), name=name)(
        lambda folder: Made(series(folder / "ct", stored(), claimed_syntax=uid))
    )


_undecodable("htj2k", "High-Throughput JPEG 2000", f"{_BASE}.4.201", "High-Throughput JPEG 2000 (transfer syntax")
_undecodable("jpeg_xl", "JPEG XL", f"{_BASE}.4.110", "stored as JPEG XL (transfer syntax")
_undecodable("video", "MPEG-4", f"{_BASE}.4.102", "stored as MPEG-4 (transfer syntax")
_undecodable("unknown_syntax", "that is unknown", f"{_BASE}.4.999", "stored as an unknown compression")


@CASES.case("compressed pixels that are damaged", Refused("a slice is damaged, or is stored as JPEG 2000"))
def damaged_jpeg_2000(folder: Path) -> Made:
    return Made(series(folder / "ct", stored(), claimed_syntax=_JPEG_2000))


@CASES.case("overlays in the four bits above 12-bit values", Handled())
def bits_beside_the_value(folder: Path) -> Made:
    graphics = np.random.default_rng(0).integers(0, 16, waves().shape).astype(np.uint16) << 12
    return Made(series(folder / "ct", stored() | graphics, BitsStored=12, HighBit=11), scan(waves()))


@CASES.case("enhanced CT, its frames compressed (RLE)", Handled())
def enhanced_rle(folder: Path) -> Made:
    path = enhanced(folder / "ct" / "e.dcm", stored(), [3.0 * index for index in range(12)])
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.save_as(path)
    return Made(folder / "ct", scan(waves()))


def _changed(name: str, title: str, answer: Any, syntax: str, change: Callable[[bytes], bytes]) -> None:
    def make(folder: Path) -> Made:
        made = series(folder / "ct", stored(), syntax=syntax)
        for path in made.iterdir():
            path.write_bytes(change(path.read_bytes()))
        return Made(made, scan(waves()) if isinstance(answer, Handled) else None)

    CASES.case(title, answer, name=name)(make)


def _codestream(marker: bytes, offset: int, form: str, *values: int) -> Callable[[bytes], bytes]:
    """A change of fields after a marker of a JPEG 2000 codestream."""
    return lambda data: behind(data, marker, offset, form, *values, start=b"\xff\x4f\xff\x51")


_GARBAGE = bytes(4) + struct.pack("<I", 0xE0DDFFFE)
_changed("garbage_behind_jpeg_2000", "garbage after JPEG 2000 that claims 3.6 GB (found by fuzzing)", Handled(),
         _JPEG_2000, lambda data: data + _GARBAGE)  # fmt: skip
_changed("garbage_behind_pixels", "garbage after the pixels that claims 3.6 GB", Handled(),
         f"{_BASE}.1", lambda data: data + _GARBAGE)  # fmt: skip
_changed("garbage_between_fragments", "garbage instead of a fragment (found by fuzzing)", Refused(_TOO_EARLY),
         f"{_BASE}.5", lambda data: data[:-200] + b"\xe0" * 40 + data[-200:])  # fmt: skip
_changed("jpeg_2000_of_another_size", "JPEG 2000 of 60000 x 60000 pixels in a slice of 40 x 48", Refused(_SIZE),
         _JPEG_2000, _codestream(b"\xff\x51", 4, ">8I", 60_000, 60_000, 0, 0, 60_000, 60_000, 0, 0))  # fmt: skip
_changed("jpeg_2000_of_many_layers", "JPEG 2000 of 65535 layers, truncated", Refused("a slice is damaged"),
         _JPEG_2000, lambda data: _codestream(b"\xff\x52", 4, ">H", 65_535)(data)[:-300])  # fmt: skip
_changed("jpeg_2000_cut_off", "JPEG 2000 whose tile is longer than the file", Refused("stored as JPEG 2000"),
         _JPEG_2000, _codestream(b"\xff\x90", 4, ">I", 1 << 20))  # fmt: skip
