"""File names that cause trouble."""

from __future__ import annotations

import os
from pathlib import Path

from .case import Answer, Handled, Kind, Made, Refused
from .dicom_files import series
from .headers import nifti, nrrd, write
from .scans import scan, waves

CASES = Kind("names and folders")


def _named(name: str, title: str, file: str, answer: Answer = Handled(), **more: object) -> None:  # noqa: B008
    def make(folder: Path) -> Made:
        data = nrrd() if file.endswith(".nrrd") else nifti()
        return Made(write(folder / file, data), scan(), into_folder=True)

    CASES.case(title, answer, name=name, **more)(make)  # type: ignore[arg-type]


_named("spaces", "spaces, also at the beginning and end", " my  ct .nii")
_named("quotes", "quotes", 'it\'s "the" `ct`.nii')
_named("newline", "a line break", "first\nsecond.nii")
_named("newline_nrrd", "a line break in the name of an NRRD", "first\nsecond.nrrd")
_named("emoji", "emoji", "🫀🩻.nii")
_named("scripts", "Chinese, Arabic and accents", "肝臓 كبد foie gras é.nii")
_named("accent_apart", "an accent as a separate character", "e\u0301te\u0301.nrrd")
_named("escape_codes", "escape codes that would colour or clear a terminal", "\x1b[31mred\x07\x1b[2J.nii")
_named("shell", "text that a shell would execute", "$(touch x); rm -rf * & `ls` | %PATH%.nii")
_named("formats", "text that a format string would replace", "%s %n {0} {path}.nii")
_named("dash", "a leading dash", "-o.nii")
_named("backslash", "backslashes", "C:\\scans\\ct.nii")
_named("capital_suffix", "a suffix in capital letters", "CT.NII")
_named("two_suffixes", "two suffixes", "ct.nii.nii")
_named("250_bytes", "a name of 250 bytes", "é" * 123 + ".nii")


@CASES.case("a name that is not UTF-8 (it would crash ITK and the process)", Refused("its name is not valid UTF-8"))
def not_utf8(folder: Path) -> Made:
    return Made(write(folder / os.fsdecode(b"Bauch\xe4.nii"), nifti()))


@CASES.case("the same for DICOM slices, which ITK does not open", Handled())
def not_utf8_dicom(folder: Path) -> Made:
    return Made(series(folder / os.fsdecode(b"Bauch\xe4"), (waves() + 1024).astype("u2")), scan())


@CASES.case("a DICOM folder whose name has a line break, quotes and emoji", Handled())
def odd_dicom_folder(folder: Path) -> Made:
    return Made(series(folder / "séries '1'\n🫀", (waves() + 1024).astype("u2")), scan(), into_folder=True)


def _deep(folder: Path, length: int) -> Path:
    """A folder whose path has at least this many characters."""
    while len(str(folder)) < length:
        folder = folder / ("deep " * 20)
    folder.mkdir(parents=True)
    return folder


@CASES.case("a path of more than 260 characters", Handled())
def path_of_260(folder: Path) -> Made:
    return Made(write(_deep(folder, 300) / "ct.nii", nifti()), scan())


@CASES.case("a path of more than 2000 characters, DICOM", Handled())
def path_of_2000(folder: Path) -> Made:
    return Made(series(_deep(folder, 2000) / "ct", (waves() + 1024).astype("u2")), scan())


@CASES.case("a path longer than the system allows", Refused("cannot be read: File name too long"), worker=None)
def path_too_long(folder: Path) -> Made:
    return Made(folder / ("x" * 200 + "/") / ("y" * 5000) / "ct.nii")


@CASES.case("a name with a null character", Refused("does not exist; check the path"), worker=None)
def null_character(folder: Path) -> Made:
    return Made(folder / "ct\0.nii")


@CASES.case("an output name that is too long", Refused("is too long for a file name"), worker=None)
def output_too_long(folder: Path) -> Made:
    return Made(write(folder / "ct.nii", nifti()), output=folder / ("x" * 300 + ".nii.gz"))


@CASES.case(
    "an output name with a null character", Refused("contains a null character; choose another name"), worker=None
)
def output_null(folder: Path) -> Made:
    return Made(write(folder / "ct.nii", nifti()), output=folder / "liver\0.nii.gz")


@CASES.case("a link to itself", Refused("does not exist; check the path"))
def link_to_itself(folder: Path) -> Made:
    os.symlink(folder / "ct.nii", folder / "ct.nii")
    return Made(folder / "ct.nii")


@CASES.case("a DICOM folder with circular links", Handled(("left out: 1 x files that cannot be opened",)))
def links_in_circles(folder: Path) -> Made:
    made = series(folder / "ct" / "A", (waves() + 1024).astype("u2"))
    os.symlink(folder / "ct", made / "up")
    os.symlink(made, folder / "ct" / "again")
    os.symlink(made / "here", made / "here")
    return Made(folder / "ct", scan())


@CASES.case("a broken link among the slices", Handled(("left out: 1 x files that cannot be opened",)))
def link_to_nothing(folder: Path) -> Made:
    made = series(folder / "ct", (waves() + 1024).astype("u2"))
    os.remove(made / "IM0011.dcm")
    os.symlink("/nowhere/IM0011.dcm", made / "IM0011.dcm")
    return Made(made, scan(waves()[:-1]))


@CASES.case("a link to a scan", Handled())
def link_to_a_scan(folder: Path) -> Made:
    (folder / "elsewhere").mkdir()
    write(folder / "elsewhere" / "data.nii", nifti())
    os.symlink(folder / "elsewhere" / "data.nii", folder / "ct.nii")
    return Made(folder / "ct.nii", scan())
