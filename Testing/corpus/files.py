"""Files that are damaged, have false headers, or are of another kind."""

from __future__ import annotations

import gzip
import os
import struct
import zipfile
from pathlib import Path

import numpy as np

from .case import Handled, Kind, Made, Node, Refused
from .headers import changes, field, metaimage, nifti, nrrd, write
from .scans import SHAPE, scan, waves

CASES = Kind("files")
DAMAGED = Refused("is damaged or incomplete; copy or export it again")
#: 54 TB and 18 GB of voxels.  18 GB fit into the memory of many computers, so that only the length of the file shows
#: that the voxels are missing.
_HUGE, _LARGE = (30000, 30000, 30000), (3000, 3000, 1000)


def _flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]


@CASES.case("truncated uncompressed NIfTI", DAMAGED)
def nifti_cut(folder: Path) -> Made:
    return Made(write(folder / "ct.nii", nifti()[:-100]))


@CASES.case("truncated compressed NIfTI", DAMAGED)
def nifti_gz_cut(folder: Path) -> Made:
    data = gzip.compress(nifti(), mtime=0)
    return Made(write(folder / "ct.nii.gz", data[: len(data) // 2]))


@CASES.case("compressed NIfTI without its last eight bytes", DAMAGED)
def nifti_gz_without_its_checksum(folder: Path) -> Made:
    return Made(write(folder / "ct.nii.gz", gzip.compress(nifti(), mtime=0)[:-8]))


@CASES.case("compressed NIfTI with a flipped bit", DAMAGED)
def nifti_gz_flipped(folder: Path) -> Made:
    data = gzip.compress(nifti(), mtime=0)
    return Made(write(folder / "ct.nii.gz", _flipped(data, len(data) // 2)))


@CASES.case("NIfTI with a random header", Refused("is not a NIfTI file"))
def nifti_noise(folder: Path) -> Made:
    return Made(write(folder / "ct.nii", np.random.default_rng(1).bytes(5000)))


@CASES.case("an empty file", DAMAGED)
def empty_file(folder: Path) -> Made:
    return Made(write(folder / "ct.nii.gz", b""))


@CASES.case("uncompressed NIfTI named .nii.gz", Handled(), in_slicer="same")
def plain_called_gz(folder: Path) -> Made:
    return Made(write(folder / "ct.nii.gz", nifti()), scan())


@CASES.case("compressed NIfTI named .nii", Refused("rename it to end with .nii.gz"))
def gz_called_plain(folder: Path) -> Made:
    return Made(write(folder / "ct.nii", gzip.compress(nifti(), mtime=0)))


@CASES.case("NIfTI compressed twice", Refused("is not a NIfTI file"))
def gz_twice(folder: Path) -> Made:
    return Made(write(folder / "ct.nii.gz", gzip.compress(gzip.compress(nifti() * 2, mtime=0), mtime=0)))


@CASES.case("zip archive named .nii.gz", Refused("is not a NIfTI file"))
def zip_called_gz(folder: Path) -> Made:
    with zipfile.ZipFile(folder / "archive", "w") as archive:
        archive.writestr("ct.nii", nifti())
    os.rename(folder / "archive", folder / "ct.nii.gz")
    return Made(folder / "ct.nii.gz")


@CASES.case("a picture named .nrrd", Refused("is not an NRRD file, despite its name"))
def picture_called_nrrd(folder: Path) -> Made:
    return Made(write(folder / "ct.nrrd", b"\x89PNG\r\n\x1a\n" + bytes(500)))


@CASES.case("compressed NIfTI with garbage after its end", DAMAGED)
def gz_with_garbage(folder: Path) -> Made:
    return Made(write(folder / "ct.nii.gz", gzip.compress(nifti(), mtime=0) + b"garbage"))


@CASES.case("NIfTI with more slices than its header says", Handled(("only 12 slices were read",)), in_slicer=Handled())
def nifti_with_more_slices(folder: Path) -> Made:
    return Made(write(folder / "ct.nii.gz", gzip.compress(nifti() + bytes(40_000), mtime=0)), scan())


@CASES.case("truncated uncompressed NRRD", DAMAGED)
def nrrd_cut(folder: Path) -> Made:
    return Made(write(folder / "ct.nrrd", nrrd(encoding="raw")[:-100]))


@CASES.case("truncated compressed NRRD", DAMAGED)
def nrrd_gz_cut(folder: Path) -> Made:
    return Made(write(folder / "ct.nrrd", nrrd()[:-5000]))


@CASES.case("compressed NRRD with a flipped bit", DAMAGED)
def nrrd_flipped(folder: Path) -> Made:
    data = nrrd()
    return Made(write(folder / "ct.nrrd", _flipped(data, len(data) - 4000)))


@CASES.case("NRRD header without its voxel file", DAMAGED)
def nrrd_header_alone(folder: Path) -> Made:
    header = nrrd(encoding="raw", more="data file: ct.raw").split(b"\n\n")[0] + b"\n\n"
    return Made(write(folder / "ct.nhdr", header))


@CASES.case("NRRD with a field of 3000 characters, which would crash Teem and the process (found by fuzzing)", DAMAGED)
def nrrd_long_field(folder: Path) -> Made:
    return Made(write(folder / "ct.nrrd", nrrd(more="labels: " + "b" * 3000)))


@CASES.case("NRRD with long comments, keys and contents", Handled())
def nrrd_long_comment(folder: Path) -> Made:
    long = "b3: " * 30_000
    return Made(write(folder / "ct.nrrd", nrrd(more=f"# {long}\nnote:={long}\ncontent: {long}")), scan())


@CASES.case("MHA with a name of 4000 characters, which would crash ITK and the process", Handled())
def mha_long_name(folder: Path) -> Made:
    return Made(write(folder / "ct.mha", metaimage(Name="b" * 4000)), scan())


@CASES.case("truncated uncompressed MHA", DAMAGED)
def mha_cut(folder: Path) -> Made:
    return Made(write(folder / "ct.mha", metaimage(compressed=False)[:-100]))


@CASES.case("truncated compressed MHA", DAMAGED)
def mha_gz_cut(folder: Path) -> Made:
    return Made(write(folder / "ct.mha", metaimage()[:-5000]))


@CASES.case("compressed MHA with a flipped bit", DAMAGED)
def mha_flipped(folder: Path) -> Made:
    data = metaimage()
    return Made(write(folder / "ct.mha", _flipped(data, len(data) - 4000)))


@CASES.case("MHD header without its voxel file", Refused("named in its header is not in the same folder"))
def mhd_header_alone(folder: Path) -> Made:
    return Made(write(folder / "ct.mhd", metaimage(compressed=False, data=b"", ElementDataFile="ct.raw")))


@CASES.case("MHD header that names a file outside its folder", Refused("is not in the same folder; copy it there"))
def mhd_that_points_out(folder: Path) -> Made:
    return Made(
        write(folder / "ct.mhd", metaimage(compressed=False, data=b"", ElementDataFile="../../../../etc/passwd"))
    )


def _huge(name: str, title: str, file: str, data: bytes) -> None:
    CASES.case(f"{title} with almost no data", DAMAGED, name=name)(lambda folder: Made(write(folder / file, data)))


def _dim(shape: tuple) -> bytes:
    return nifti(scan(waves((1, 5, 10))), field(42, "3h", *shape[::-1]))


for _label, _size in (("54 TB", _HUGE), ("18 GB", _LARGE)):
    _tag = _label.replace(" ", "_")
    _huge(f"nifti_of_{_tag}", f"NIfTI of {_label}", "ct.nii", _dim(_size))
    _huge(f"nifti_gz_of_{_tag}", f"compressed NIfTI of {_label}", "ct.nii.gz", gzip.compress(_dim(_size), mtime=0))
    for _encoding in ("raw", "gzip"):
        _huge(f"nrrd_{_encoding}_of_{_tag}", f"NRRD ({_encoding}) of {_label}", "ct.nrrd",
              nrrd(encoding=_encoding, sizes=_size[::-1], data=bytes(100)))  # fmt: skip
    for _compressed in (False, True):
        _huge(f"mha_{'zlib' if _compressed else 'raw'}_of_{_tag}",
              f"MHA ({'compressed' if _compressed else 'raw'}) of {_label}", "ct.mha",
              metaimage(compressed=_compressed, data=bytes(100), DimSize=" ".join(map(str, _size[::-1]))))  # fmt: skip


@CASES.case("MHA with more voxels than an integer can count", DAMAGED)
def mha_of_more_than_can_be_counted(folder: Path) -> Made:
    return Made(write(folder / "ct.mha", metaimage(data=bytes(100), DimSize="3000000 3000000 3000000")))


@CASES.case("NIfTI of 2 TB whose (sparse) file has the stated length", Refused("of memory where"))
def nifti_that_is_honestly_huge(folder: Path) -> Made:
    path = write(folder / "ct.nii", nifti(scan(waves((1, 5, 10))), field(42, "3h", 10000, 10000, 10000)))
    os.truncate(path, 352 + 2 * 10**12)
    return Made(path)


@CASES.case("NIfTI of size zero", Refused("is empty: its size is 48 x 40 x 0"))
def nifti_of_no_slice(folder: Path) -> Made:
    return Made(write(folder / "ct.nii", nifti(change=field(46, "h", 0))))


@CASES.case("NRRD of a negative size", Refused("is empty: its size is 48 x 40 x -12"))
def nrrd_of_negative_size(folder: Path) -> Made:
    return Made(write(folder / "ct.nrrd", nrrd(sizes=(48, 40, -12))))


@CASES.case("NIfTI-2", Refused("is a NIfTI-2 file"))
def nifti_2(folder: Path) -> Made:
    return Made(write(folder / "ct.nii", struct.pack("<i", 540) + bytes(600)))


@CASES.case("header and voxels in two files (.hdr, .img)", Refused("contains a NIfTI header without voxels"))
def nifti_pair(folder: Path) -> Made:
    spoilt = nifti(change=lambda header, order: header.__setitem__(slice(344, 348), b"ni1\0"))
    return Made(write(folder / "ct.nii", spoilt))


@CASES.case(
    "4D: a series of volumes",
    Refused("is a 4D image (48 x 40 x 6 x 2)"),
    node=lambda: Node(np.zeros((*SHAPE, 2), np.int16)),
    in_slicer=Refused("colour or vector image"),
)
def four_dimensions(folder: Path) -> Made:
    return Made(write(folder / "ct.nii", nifti(change=field(40, "5h", 4, 48, 40, 6, 2))))


@CASES.case("2D", Refused("is a 2D image (48 x 480)"))
def two_dimensions(folder: Path) -> Made:
    return Made(write(folder / "ct.nii", nifti(change=field(40, "3h", 2, 48, 480))))


@CASES.case(
    "RGB",
    Refused("is a colour or vector image (3 values per voxel)"),
    node=lambda: Node(np.zeros((*SHAPE, 3), np.uint8)),
    in_slicer=Refused("colour or vector image"),
)
def colours(folder: Path) -> Made:
    return Made(write(folder / "ct.nii", nifti(change=changes(field(70, "2h", 128, 24)))))


@CASES.case("complex numbers", Refused("of NIfTI type 32"))
def complex_numbers(folder: Path) -> Made:
    return Made(write(folder / "ct.nii", nifti(change=field(70, "2h", 32, 64))))


@CASES.case(
    "a node without voxels (as a file: one that does not exist)",
    Refused("does not exist; check the path"),
    worker=Refused("contains neither DICOM nor scans"),
    node=lambda: Node(None),
    in_slicer=Refused("holds no voxels"),
)
def nothing_there(folder: Path) -> Made:
    return Made(folder / "absent.nii.gz")


@CASES.case(
    "a file of another kind (.txt)",
    Refused("is not a supported image: give .nii.gz"),
    worker=Refused("contains neither DICOM nor scans"),
)
def text_file(folder: Path) -> Made:
    return Made(write(folder / "ct.txt", b"hello"))


@CASES.case(
    "an empty folder",
    Refused("contains neither DICOM nor scans"),
)
def empty_folder(folder: Path) -> Made:
    (folder / "scan").mkdir()
    return Made(folder / "scan")


@CASES.case("a folder named ct.nii.gz", Refused("contains neither DICOM nor scans"))
def folder_called_like_a_file(folder: Path) -> Made:
    (folder / "ct.nii.gz").mkdir()
    return Made(folder / "ct.nii.gz")


@CASES.case("a named pipe called ct.nii.gz that never gets data", Refused("is a pipe or a device"))
def pipe(folder: Path) -> Made:
    os.mkfifo(folder / "ct.nii.gz")
    return Made(folder / "ct.nii.gz")


@CASES.case("a link to an endless device", Refused("is a pipe or a device"))
def endless_device(folder: Path) -> Made:
    os.symlink("/dev/zero", folder / "ct.nii")
    return Made(folder / "ct.nii")
