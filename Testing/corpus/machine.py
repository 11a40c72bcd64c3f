"""Permissions, full disks, and unusable output paths."""

from __future__ import annotations

import os
from pathlib import Path

from .case import Handled, Kind, Made, Refused
from .dicom_files import series
from .headers import nifti, write
from .rights import without_rights
from .scans import scan, waves

CASES = Kind("permissions, output and disk space")
_LOST = Refused("is the scan itself, which would be overwritten; choose another output")


@CASES.case("a scan without read permission", Refused("cannot be read: Permission denied"))
def no_permission(folder: Path) -> Made:
    path = write(folder / "ct.nii", nifti())
    path.chmod(0)
    return Made(path, surroundings=without_rights)


@CASES.case(
    "a scan in a folder without permission to enter",
    Refused("cannot be read: Permission denied"),
    worker=Refused("cannot be listed as a folder: Permission denied"),
)
def no_permission_for_the_folder(folder: Path) -> Made:
    (folder / "closed").mkdir()
    path = write(folder / "closed" / "ct.nii", nifti())
    path.parent.chmod(0)
    return Made(path, surroundings=without_rights)


@CASES.case("a slice without read permission", Handled(("left out: 1 x files that may not be read",)))
def no_permission_for_a_slice(folder: Path) -> Made:
    made = series(folder / "ct", (waves() + 1024).astype("u2"))
    (made / "IM0011.dcm").chmod(0)
    return Made(made, scan(waves()[:-1]), surroundings=without_rights)


@CASES.case(
    "a folder without access permission among the slices", Handled(("left out: 1 x folders that may not be opened",))
)
def no_permission_for_a_subfolder(folder: Path) -> Made:
    made = series(folder / "ct" / "A", (waves() + 1024).astype("u2"))
    (made.parent / "B").mkdir(mode=0)
    return Made(made.parent, scan(), surroundings=without_rights)


@CASES.case("a read-only output folder", Refused("is not writable: Permission denied"))
def read_only_output(folder: Path) -> Made:
    place = folder / "results"
    place.mkdir(mode=0o555)
    path = write(folder / "ct.nii", nifti())
    return Made(path, output=place / "liver.nii.gz", batch_output=place, surroundings=without_rights)


@CASES.case("an earlier result that is write-protected", Refused("is write-protected"))
def protected_output(folder: Path) -> Made:
    place = folder / "results"
    place.mkdir()
    protected = write(place / "ct.nii.gz", b"keep me")
    protected.chmod(0o444)
    path = write(folder / "ct.nii", nifti())
    return Made(path, output=protected, batch_output=place, surroundings=without_rights)


@CASES.case("an output folder that does not exist", Refused("its folder does not exist"), worker=None)
def output_folder_absent(folder: Path) -> Made:
    return Made(write(folder / "ct.nii", nifti()), output=folder / "absent" / "liver.nii.gz")


@CASES.case("a file where the output folder should be", Refused("cannot make the output folder"))
def output_folder_is_a_file(folder: Path) -> Made:
    place = write(folder / "results", b"keep me")
    return Made(write(folder / "ct.nii", nifti()), output=place, batch_output=place)


@CASES.case("an output name with an unknown suffix", Refused("the output's file name must end with"), worker=None)
def output_suffix(folder: Path) -> Made:
    return Made(write(folder / "ct.nii", nifti()), output=folder / "liver.png")


@CASES.case("the scan itself as output", _LOST)
def output_is_the_scan(folder: Path) -> Made:
    path = write(folder / "ct.nii.gz", nifti())
    return Made(path, output=path, batch_output=folder)


def _linked(name: str, title: str, link: str) -> None:
    def make(folder: Path) -> Made:
        path = write(folder / "ct.nii", nifti())
        (folder / "results").mkdir()
        getattr(os, link)(path, folder / "results" / "ct.nii.gz")
        return Made(path, output=folder / "results" / "ct.nii.gz", batch_output=folder / "results")

    CASES.case(title, _LOST, name=name)(make)


_linked("output_links_to_the_scan", "a link to the scan as output", "symlink")
_linked("output_is_a_hard_link_of_the_scan", "a hard link to the scan as output", "link")


@CASES.case("a disk without space for the result (RLIMIT_FSIZE)", Refused("the file exceeds the size limit there"))
def full_disk(folder: Path) -> Made:
    return Made(write(folder / "ct.nii", nifti()), suffix=".nii", largest_file=8192)


@CASES.case("a DICOM SEG that would overwrite a slice of the scan", _LOST, worker=None)
def output_is_a_slice(folder: Path) -> Made:
    made = series(folder / "ct", (waves() + 1024).astype("u2"), FrameOfReferenceUID="1.2.3.4.9")
    return Made(made, output=made / "IM0003.dcm")
