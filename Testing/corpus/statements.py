"""Headers that give one quantity twice or not at all, in single files."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, Callable, Optional

from lvnet.volume import Volume

from .case import Handled, Kind, Made, Refused
from .headers import changes, field, metaimage, nifti, nrrd, write
from .scans import scan

CASES = Kind("repeated or contradictory geometry in a header")
_NAN = float("nan")
_QFORM_ALONE, _SFORM_ALONE = field(252, "2h", 1, 0), field(252, "2h", 0, 1)


def _file(name: str, title: str, data: Callable[[], bytes], answer: Any, truth: Optional[Volume] = None) -> None:
    suffix = name.split("_")[0]

    def make(folder: Path) -> Made:
        path = write(folder / f"ct.{'nii' if suffix == 'nifti' else suffix}", data())
        return Made(path, None if isinstance(answer, Refused) else truth or scan())

    CASES.case(title, answer, name=name)(make)


def _nifti(name: str, title: str, change: Callable[[bytearray, str], Any], answer: Any, **truth: Any) -> None:
    _file(f"nifti_{name}", f"NIfTI {title}", lambda: nifti(change=change), answer, scan(**truth) if truth else None)


_nifti("qform_alone", "with only a qform, and numbers in the fields of an unused sform",
       changes(_QFORM_ALONE, field(280, "12f", -9, 0, 0, 1, 0, -9, 0, 1, 0, 0, 9, 1)), Handled())  # fmt: skip
_nifti("sform_alone", "with only an sform, and numbers in the fields of an unused qform",
       changes(_SFORM_ALONE, field(256, "6f", 0.5, 0.5, 0.5, 7, 7, 7)), Handled())  # fmt: skip
_nifti("left_handed_qform", "with only a left-handed qform", changes(_QFORM_ALONE, field(76, "f", -1.0)), Handled(),
       direction=(1, 0, 0, 0, 1, 0, 0, 0, -1))  # fmt: skip
_nifti("qform_no_rotation", "with only a qform whose quaternion is longer than one",
       changes(_QFORM_ALONE, field(256, "3f", 0.8, 0.8, 0.8)), Refused("its qform is not a rotation"))  # fmt: skip
_nifti("qform_rounded", "with only a qform whose quaternion is longer than one by rounding",
       changes(_QFORM_ALONE, field(256, "3f", 0.0, 0.0, 1.0001)), Handled())  # fmt: skip
for _name, _value in (("nan", _NAN), ("zero", 0.0)):
    _nifti(f"sform_and_pixdim_{_name}", f"with only an sform, and a pixdim of {_name}",
           changes(_SFORM_ALONE, field(80, "3f", *[_value] * 3)),
           Handled(("the voxel spacing in pixdim is not positive",)))  # fmt: skip
_nifti("sform_of_zeros", "with only an sform of zeros", changes(_SFORM_ALONE, field(280, "12f", *[0.0] * 12)),
       Refused("are linearly dependent"))  # fmt: skip
_nifti("sform_of_zeros_and_qform", "with an sform of zeros beside a valid qform", field(280, "12f", *[0.0] * 12),
       Handled())  # fmt: skip


def _micrometres(header: bytearray, order: str) -> None:
    struct.pack_into(order + "3f", header, 80, 2000, 2000, 3000)
    header[123] = 3
    struct.pack_into(order + "2h", header, 252, 1, 0)
    struct.pack_into(order + "3f", header, 268, 40000, 30000, 12000)


_nifti("in_micrometres", "in micrometres, placed by a qform", _micrometres, Handled())

_TWICE = Refused("gives both space directions and spacings")
_file("nrrd_directions_and_spacings", "NRRD with directions and different spacings",
      lambda: nrrd(more="spacings: 1 1 1"), _TWICE)  # fmt: skip
_file("nrrd_spacings_again", "NRRD with directions and the same spacings", lambda: nrrd(more="spacings: 2 2 3"),
      _TWICE)  # fmt: skip
_file("nrrd_spacings_nan", "NRRD with directions, and spacings declared as unknown",
      lambda: nrrd(more="spacings: nan nan nan"), Handled())  # fmt: skip
_file("nrrd_in_centimetres", "NRRD in centimetres", lambda: nrrd(more='space units: "cm" "cm" "cm"'),
      Refused("its header gives lengths in 'cm'"))  # fmt: skip
_file("nrrd_in_millimetres", "NRRD that declares millimetres",
      lambda: nrrd(more='space units: "mm" "mm" "mm"'), Handled())  # fmt: skip
_file("nrrd_thickness", "NRRD whose slices are thicker than their spacing",
      lambda: nrrd(more="thicknesses: nan nan 5"), Handled())  # fmt: skip
_file("mha_one_spacing_twice", "MHA with two equal spacings", lambda: metaimage(ElementSize="2 2 3"), Handled())
_file("mha_two_origins", "MHA with two origins", lambda: metaimage(Position="1 2 3"),
      Handled(("the header's offset and position differ",)))  # fmt: skip
_file("mha_two_directions", "MHA with two directions", lambda: metaimage(Orientation="0 1 0 1 0 0 0 0 1"),
      Handled(("the header's transformmatrix and orientation differ",)))  # fmt: skip
_file("mha_slope", "MHA with an intensity slope, which no program applies",
      lambda: metaimage(ElementToIntensityFunctionSlope="2"), Handled(("a slope or offset",)))  # fmt: skip
