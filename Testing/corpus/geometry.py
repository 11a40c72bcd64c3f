"""Invalid grids, and valid grids that look invalid."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Callable, Tuple

import numpy as np

from .case import Handled, Kind, Made, Node, Refused
from .headers import changes, field, metaimage, nifti, nrrd, write
from .scans import ORIGIN, SPACING, scan, waves

CASES = Kind("geometry")
_NOT_POSITIVE = Refused("is not positive; correct the file's header")
_NO_VOLUME = Refused("are linearly dependent; correct the file's header")
_NAN = float("nan")


def _matrix(*diagonal: float) -> Callable[[], Node]:
    return lambda: Node(waves(), np.diag([*diagonal, 1.0]))


@CASES.case("NIfTI with a spacing of zero", _NOT_POSITIVE, node=_matrix(-2, -2, 0), in_slicer=_NOT_POSITIVE)
def nifti_spacing_zero(folder: Path) -> Made:
    return Made(write(folder / "ct.nii", nifti(change=field(88, "f", 0.0))))


@CASES.case("NIfTI with a negative spacing", _NOT_POSITIVE)
def nifti_spacing_negative(folder: Path) -> Made:
    return Made(write(folder / "ct.nii", nifti(change=field(88, "f", -3.0))))


@CASES.case("NIfTI whose spacing is not a number", _NOT_POSITIVE)
def nifti_spacing_nan(folder: Path) -> Made:
    return Made(write(folder / "ct.nii", nifti(change=field(80, "f", _NAN))))


@CASES.case("NRRD with a spacing of zero", _NOT_POSITIVE)
def nrrd_spacing_zero(folder: Path) -> Made:
    return Made(write(folder / "ct.nrrd", nrrd(directions="(2,0,0) (0,2,0) (0,0,0)")))


@CASES.case("NRRD without the direction of one axis", Refused("lacks the voxel spacing of an axis"))
def nrrd_without_a_direction(folder: Path) -> Made:
    return Made(write(folder / "ct.nrrd", nrrd(directions="(2,0,0) (0,2,0) none")))


@CASES.case("MHA with a spacing of zero", _NOT_POSITIVE)
def mha_spacing_zero(folder: Path) -> Made:
    return Made(write(folder / "ct.mha", metaimage(ElementSpacing="2 2 0")))


@CASES.case("MHA with a negative spacing, which the format defines as a flipped axis", Handled(), in_slicer="same")
def mha_spacing_negative(folder: Path) -> Made:
    truth = scan(direction=(1, 0, 0, 0, 1, 0, 0, 0, -1))
    return Made(write(folder / "ct.mha", metaimage(ElementSpacing="2 2 -3")), truth)


@CASES.case("MHA without a spacing", Handled(("1 mm is assumed",)), in_slicer=Handled())
def mha_without_spacing(folder: Path) -> Made:
    return Made(write(folder / "ct.mha", metaimage(ElementSpacing=None)), scan(spacing=(1.0, 1.0, 1.0)))


@CASES.case("MHA with two numbers instead of three for the position", Refused("is damaged or incomplete"))
def mha_half_an_origin(folder: Path) -> Made:
    return Made(write(folder / "ct.mha", metaimage(Offset="-40 -30")))


@CASES.case("MHA with the field names of older programs", Handled())
def mha_old_names(folder: Path) -> Made:
    old = metaimage(Offset=None, TransformMatrix=None, ElementSpacing=None, Position="-40 -30 12",
                    Orientation="1 0 0 0 1 0 0 0 1", ElementSize="2 2 3")  # fmt: skip
    return Made(write(folder / "ct.mha", old), scan())


@CASES.case(
    "MHA with a singular direction matrix (two axes coincide)",
    _NO_VOLUME,
    node=lambda: Node(waves(), np.array([[2, 2, 0, 0], [0, 0, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1.0]])),
    in_slicer=_NO_VOLUME,
)
def mha_singular(folder: Path) -> Made:
    return Made(write(folder / "ct.mha", metaimage(TransformMatrix="1 0 0 1 0 0 0 0 1")))


@CASES.case("NRRD with a singular direction matrix", _NO_VOLUME)
def nrrd_singular(folder: Path) -> Made:
    return Made(write(folder / "ct.nrrd", nrrd(directions="(2,0,0) (2,0,0) (0,0,3)")))


@CASES.case("MHA whose directions are all zero", _NO_VOLUME)
def mha_directions_zero(folder: Path) -> Made:
    return Made(write(folder / "ct.mha", metaimage(TransformMatrix="0 0 0 0 0 0 0 0 0")))


@CASES.case(
    "an origin that is not a number",
    Refused("its position in the patient is not a number"),
    node=lambda: Node(waves(), np.array([[-2, 0, 0, _NAN], [0, -2, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1.0]])),
    in_slicer="same",
)
def origin_nan(folder: Path) -> Made:
    return Made(write(folder / "ct.mha", metaimage(Offset="nan 0 0")))


@CASES.case("left-handed axes", Handled(), in_slicer="same")
def left_handed(folder: Path) -> Made:
    truth = scan(direction=(-1, 0, 0, 0, 1, 0, 0, 0, 1))
    return Made(write(folder / "ct.nrrd", nrrd(truth)), truth)


@CASES.case("axes in a different order, two of them flipped (coronal)", Handled(), in_slicer="same")
def coronal(folder: Path) -> Made:
    truth = scan(direction=(-1, 0, 0, 0, 0, 1, 0, -1, 0))
    return Made(write(folder / "ct.mha", metaimage(truth)), truth)


def _turned(degrees: float) -> Tuple[float, ...]:
    turn, tip = np.radians(degrees), np.radians(degrees / 2)
    around_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    around_x = np.array([[1, 0, 0], [0, np.cos(tip), -np.sin(tip)], [0, np.sin(tip), np.cos(tip)]])
    return tuple(float(part) for part in (around_z @ around_x).ravel())


@CASES.case("oblique axes", Handled(), in_slicer="same")
def oblique(folder: Path) -> Made:
    truth = scan(direction=_turned(25.0))
    return Made(write(folder / "ct.mha", metaimage(truth)), truth)


# RAS, as in NIfTI: y runs to the left in the sform, and to the back in the qform.
_OTHER_SFORM = field(280, "12f", 0, -2, 0, 40, -2, 0, 0, 30, 0, 0, 3, 12)


@CASES.case("sform and qform that disagree: the sform is used", Handled(("the sform was used",)), in_slicer=Handled())
def sform_taken(folder: Path) -> Made:
    truth = scan(direction=(0, 1, 0, 1, 0, 0, 0, 0, 1))
    return Made(write(folder / "ct.nii", nifti(change=_OTHER_SFORM)), truth)


@CASES.case(
    "sform and qform that disagree: the sform has the lower code, the qform is used",
    Handled(("the qform was used",)),
    in_slicer=Handled(),
)
def qform_taken(folder: Path) -> Made:
    return Made(write(folder / "ct.nii", nifti(change=changes(_OTHER_SFORM, field(252, "2h", 1, 2)))), scan())


@CASES.case(
    "sform that places the body 1.2 mm from where the qform does",
    Handled(("differ by up to 1.2 mm",)),
    in_slicer=Handled(),
)
def sform_shifted(folder: Path) -> Made:
    x, y, z = ORIGIN[0] + 1.2, ORIGIN[1], ORIGIN[2]
    change = field(280, "12f", -2, 0, 0, -x, 0, -2, 0, -y, 0, 0, 3, z)
    return Made(write(folder / "ct.nii", nifti(change=change)), scan(origin=(x, y, z)))


@CASES.case("sform and qform that differ by rounding only", Handled(), in_slicer="same")
def sform_rounded(folder: Path) -> Made:
    x, y, z = ORIGIN[0] + 1e-4, ORIGIN[1], ORIGIN[2]
    change = field(280, "12f", -2, 0, 0, -x, 0, -2, 0, -y, 0, 0, 3, z)
    return Made(write(folder / "ct.nii", nifti(change=change)), scan(origin=(x, y, z)))


@CASES.case(
    "an sform alone whose spacing is not pixdim's: the sform's is used",
    Handled(("gives two voxel spacings: 2 x 2 x 3 mm in its sform, which was used",)),
)
def sform_spacing_not_pixdim(folder: Path) -> Made:
    change = changes(field(252, "2h", 0, 2), field(80, "3f", 1.0, 1.0, 1.0))
    return Made(write(folder / "ct.nii", nifti(change=change)), scan())


@CASES.case(
    "an sform with a spacing other than that of pixdim and qform",
    Handled(("gives two voxel spacings: 2 x 2 x 3 mm in its sform",)),
)
def sform_spacing_not_the_qforms(folder: Path) -> Made:
    return Made(write(folder / "ct.nii", nifti(change=field(80, "3f", 2.5, 2.5, 5.0))), scan())


@CASES.case("an sform whose axes are 2e-4 from perpendicular, and no qform", Handled(("not exactly perpendicular",)))
def sform_nearly_perpendicular(folder: Path) -> Made:
    change = changes(field(252, "2h", 0, 1), field(280, "12f", -2, 4e-4, 0, 40, 0, -2, 0, 30, 0, 0, 3, 12))
    return Made(write(folder / "ct.nii", nifti(change=change)), scan(direction=(1, -1e-4, 0, 1e-4, 1, 0, 0, 0, 1)))


@CASES.case("MHA with two different spacings", Handled(("elementspacing and elementsize differ",)))
def mha_two_spacings(folder: Path) -> Made:
    return Made(write(folder / "ct.mha", metaimage(ElementSize="4 4 3")), scan())


@CASES.case("an sform with shear, and no qform", Refused("the axes of its sform are not perpendicular"))
def sform_sheared(folder: Path) -> Made:
    change = changes(field(252, "2h", 0, 1), field(280, "12f", -2, 0.8, 0, 40, 0, -2, 0, 30, 0, 0, 3, 12))
    return Made(write(folder / "ct.nii", nifti(change=change)))


@CASES.case("an sform that is not a number", Refused("contains a value that is not a number"))
def sform_nan(folder: Path) -> Made:
    return Made(write(folder / "ct.nii", nifti(change=field(280, "f", _NAN))))


@CASES.case("NIfTI without any orientation", Handled(("contains no orientation",)))
def no_orientation(folder: Path) -> Made:
    return Made(write(folder / "ct.nii", nifti(change=field(252, "2h", 0, 0))), scan(origin=(0.0, 0.0, 0.0)))


@CASES.case("NIfTI in metres", Handled(), in_slicer=None)
def metres(folder: Path) -> Made:
    def change(header: bytearray, order: str) -> None:
        struct.pack_into(order + "3f", header, 80, 0.002, 0.002, 0.003)
        struct.pack_into(order + "2h", header, 252, 1, 0)
        struct.pack_into(order + "3f", header, 268, 0.0, 0.0, 0.0)
        header[123] = 1

    return Made(write(folder / "ct.nii", nifti(change=change)), scan(origin=(0.0, 0.0, 0.0)))


@CASES.case(
    "voxels of a kilometre, for which the network's grid would exceed the memory",
    Refused("m large; correct the voxel spacing"),
    node=_matrix(-1e6, -1e6, 1e6),
    in_slicer="same",
)
def voxels_of_a_kilometre(folder: Path) -> Made:
    return Made(write(folder / "ct.mha", metaimage(ElementSpacing="1e6 1e6 1e6")))


@CASES.case(
    "voxels of a nanometre",
    Refused("correct the voxel spacing in its header"),
    node=_matrix(-1e-6, -1e-6, 1e-6),
    in_slicer="same",
)
def voxels_of_a_nanometre(folder: Path) -> Made:
    return Made(write(folder / "ct.mha", metaimage(ElementSpacing="1e-6 1e-6 1e-6")))


def _sized(
    name: str,
    title: str,
    shape: Tuple[int, int, int],
    spacing: Tuple[float, ...],
    *,
    slow: bool = False,
    **more: object,
) -> None:
    notes = ("the scan is a single slice",) if shape[0] == 1 else ()

    def make(folder: Path) -> Made:
        truth = scan(waves(shape), spacing=spacing)
        return Made(write(folder / "ct.nrrd", nrrd(truth, encoding="raw")), truth)

    answer = Handled(notes, **more)  # type: ignore[arg-type]
    CASES.case(title, answer, name=name, slow=slow, in_slicer=Handled((), **more))(make)  # type: ignore[arg-type]


_sized("one_slice", "1 slice", (1, 40, 48), SPACING, warnings=("the scan is only 3 mm high",))
_sized("two_slices", "2 slices", (2, 40, 48), SPACING, warnings=("the scan is only 6 mm high",))
_sized("three_slices", "3 slices", (3, 40, 48), SPACING)
_sized("many_slices", "1500 slices (16 x 16)", (1500, 16, 16), (0.7, 2.0, 2.0))
_sized("many_slices_of_256", "1500 slices of 256 x 256", (1500, 256, 256), (0.7, 1.4, 1.4), slow=True)
_sized("in_plane_64", "64 x 64 pixels", (6, 64, 64), (5.0, 6.0, 6.0))
_sized("in_plane_1024", "1024 x 1024 pixels (3 slices)", (3, 1024, 1024), (5.0, 0.35, 0.35))
_sized("in_plane_1024_and_60_slices", "1024 x 1024 pixels, 60 slices", (60, 1024, 1024), (3.0, 0.35, 0.35), slow=True)
_sized("not_square", "512 x 90 pixels", (6, 90, 512), (5.0, 0.9, 0.7))
_sized("one_pixel_wide", "1 pixel wide", (12, 40, 1), SPACING)
_sized("a_single_voxel", "a single voxel", (1, 1, 1), SPACING, warnings=("every voxel has the value 0",))
_sized("thick_slices", "slices 25 mm apart", (4, 40, 48), (25.0, 2.0, 2.0), warnings=("the result will be rough",))
