"""Names of output files, and the scans found in a folder."""

from __future__ import annotations

import os

import pytest
from lvnet.errors import ImageError
from lvnet.image_io import find_scans, is_dicom_folder, output_name

DICOM = b"\0" * 128 + b"DICM" + b"\x02\0\0\0UL\x04\0\0\0\0\0"


@pytest.fixture
def folder(tmp_path):
    images = ("b.nii.gz", "a.nrrd", "c.mhd", "E.MHA")
    for name in (*images, "c.raw", "d.seg.nrrd", "._b.nii.gz", ".hidden.mha", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    for name in ("series/deep/er", "empty", "texts", ".cache", "index"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "series/deep/er/IM0001").write_bytes(DICOM)
    (tmp_path / "texts/readme.txt").write_bytes(b"hello")
    (tmp_path / ".cache/slice.dcm").write_bytes(DICOM)
    (tmp_path / "index/DICOMDIR").write_bytes(DICOM)
    return tmp_path


def test_the_scans_of_a_folder_are_its_images_and_its_subfolders_of_dicom(folder):
    assert [path.name for path in find_scans(folder)] == ["E.MHA", "a.nrrd", "b.nii.gz", "c.mhd", "series"]
    assert find_scans(str(folder)) == find_scans(folder)


def test_a_folder_without_scans_gives_none(folder):
    assert find_scans(folder / "empty") == []


@pytest.mark.parametrize("name", ["a.nrrd", "missing"])
def test_only_a_folder_can_be_searched(folder, name):
    with pytest.raises(ImageError, match="cannot be listed"):
        find_scans(folder / name)


def test_a_folder_of_dicom_is_known_by_what_its_files_hold(folder):
    assert is_dicom_folder(folder / "series")
    assert not is_dicom_folder(folder / "series", nested=False)
    assert is_dicom_folder(folder / "series/deep/er", nested=False)
    assert not any(is_dicom_folder(folder / name) for name in ("empty", "texts", "index", "missing", "a.nrrd"))


def test_links_that_go_round_in_circles_end(folder):
    os.symlink(folder, folder / "texts" / "up")
    os.symlink(folder / "series", folder / "empty" / "linked")
    assert is_dicom_folder(folder / "empty")
    assert is_dicom_folder(folder / "texts")
    os.symlink(folder / "index", folder / "index" / "round")
    assert not is_dicom_folder(folder / "index")


def test_a_link_to_nowhere_is_passed_by(folder):
    os.symlink(folder / "gone", folder / "texts" / "slice.dcm")
    assert not is_dicom_folder(folder / "texts")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("ct.nii.gz", "ct"),
        ("/data/ct.v2.NII", "ct.v2"),
        ("case.seg.nrrd", "case"),
        ("a.nhdr", "a"),
        ("x/IM0001.dcm", "IM0001"),
        ("x/IM0001", "IM0001"),
        ("patient 7/", "patient 7"),
        (".nii.gz", ".nii.gz"),
        ("/", "scan"),
    ],
)
def test_outputs_are_named_after_the_scan(path, name):
    assert output_name(path) == name


def test_a_folder_of_dicom_gives_its_own_name(tmp_path, monkeypatch):
    (tmp_path / "series.nii").mkdir()
    assert output_name(tmp_path / "series.nii") == "series.nii"
    monkeypatch.chdir(tmp_path / "series.nii")
    assert output_name(".") == "series.nii"
    assert output_name("..") == tmp_path.name
