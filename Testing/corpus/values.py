"""Voxels of every type, and values that are not HU."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Callable

import numpy as np

from .case import Handled, Kind, Made, Node, Refused
from .headers import changes, field, metaimage, nifti, nrrd, write
from .scans import SHAPE, scan, waves

CASES = Kind("values")
_AIR = -1024


def _typed(name: str, title: str, file: str, make: Callable[..., bytes], stored: np.ndarray) -> None:
    def maker(folder: Path) -> Made:
        # Values that are exact in int16 become int16, all others float32.
        values = stored.astype(stored.dtype.newbyteorder("="))
        truth = scan(values.astype(np.int16) if stored.dtype.kind != "f" else values.astype(np.float32))
        return Made(write(folder / file, make(scan(stored))), truth)

    CASES.case(title, Handled(), name=name, in_slicer="same")(maker)


for _type in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64", "int64", "uint64"):
    _values = waves()
    if _type == "int8":
        _values = _values // 2
    if _type.startswith("u"):
        _values = np.maximum(_values, 0)
    if _type.startswith("f"):
        _values = _values + 0.25
    _stored = _values.astype(_type)
    _maker, _file = (nrrd, "ct.nrrd") if _type.endswith("64") else (nifti, "ct.nii")
    _typed(f"{_type}_voxels", f"{_type} voxels", _file, _maker, _stored)
    if _stored.dtype.itemsize > 1:
        _typed(f"{_type}_big_endian", f"{_type} voxels, big-endian", "ct.mha", metaimage,
               _stored.astype(_stored.dtype.newbyteorder(">")))  # fmt: skip
_typed("nifti_big_endian", "big-endian NIfTI", "ct.nii", nifti, waves().astype(">i2"))


def _with(values: np.ndarray, *bad: float) -> np.ndarray:
    result = values.astype(np.float32)
    result.flat[100 : 100 + len(bad)] = bad
    return result


_SOME = (np.nan, np.inf, -np.inf)


@CASES.case(
    "NaN and infinite values in some voxels",
    Handled(("3 voxels without a finite value (NaN or infinite) set to -1024 HU",)),
    in_slicer=Handled(("3 voxels without a finite value",)),
)
def some_voxels_are_no_number(folder: Path) -> Made:
    truth = _with(waves(), *(_AIR,) * 3)
    return Made(write(folder / "ct.nrrd", nrrd(scan(_with(waves(), *_SOME)))), scan(truth))


@CASES.case("the same in NIfTI, where ITK (and so Slicer) would replace them by zeros", Handled(("3 voxels without",)))
def some_voxels_of_a_nifti_are_no_number(folder: Path) -> Made:
    truth = _with(waves(), *(_AIR,) * 3)
    return Made(write(folder / "ct.nii", nifti(scan(_with(waves(), *_SOME)))), scan(truth))


@CASES.case(
    "no finite value at all",
    Refused("contains no voxel with a finite value"),
    node=lambda: Node(np.full(SHAPE, np.nan, np.float32)),
    in_slicer="same",
)
def no_voxel_is_a_number(folder: Path) -> Made:
    return Made(write(folder / "ct.nii", nifti(scan(np.full(SHAPE, np.nan, np.float32)))))


@CASES.case("values outside the range of float32", Handled(("1 voxel without a finite value",)))
def beyond_float32(folder: Path) -> Made:
    values = waves().astype(np.float64)
    values.flat[100] = 1e300
    truth = values.copy()
    truth.flat[100] = _AIR
    return Made(write(folder / "ct.nrrd", nrrd(scan(values))), scan(truth.astype(np.int16)))


@CASES.case("NIfTI with a slope and an intercept", Handled(), in_slicer="same")
def nifti_rescale(folder: Path) -> Made:
    truth = waves().astype(np.float32) * np.float32(0.5) - 20
    return Made(write(folder / "ct.nii", nifti(change=field(112, "2f", 0.5, -20.0))), scan(truth))


@CASES.case(
    "NIfTI with a slope of zero, which the format defines as no rescale (ITK would add the intercept)", Handled()
)
def nifti_slope_zero(folder: Path) -> Made:
    return Made(write(folder / "ct.nii", nifti(change=field(112, "2f", 0.0, -20.0))), scan())


@CASES.case("NIfTI whose slope is not a number", Handled())
def nifti_slope_nan(folder: Path) -> Made:
    return Made(write(folder / "ct.nii", nifti(change=field(112, "2f", np.nan, 0.0))), scan())


@CASES.case(
    "NIfTI with a rescale that gives integer HU beyond int16", Handled(warnings=("far outside the range of HU",))
)
def nifti_rescale_far(folder: Path) -> Made:
    truth = waves().astype(np.float32) * 1000
    data = gzip.compress(nifti(change=changes(field(112, "2f", 1000.0, 0.0))), mtime=0)
    return Made(write(folder / "ct.nii.gz", data), scan(truth))


for _outside in (-2000, -3024):

    def _round(folder: Path, value: int = _outside) -> Made:
        truth, stored = waves(), waves()
        truth[:, :8, :8], stored[:, :8, :8] = -1024, value
        return Made(write(folder / "ct.nii", nifti(scan(stored))), scan(truth))

    CASES.case(
        f"NIfTI with {_outside} outside the scanner's field of view",
        Handled(("outside the scanner's field of view",)),
        name=f"nifti_outside_of_{-_outside}",
    )(_round)
