"""Inputs from Python programs and shells: arrays, images, paths with ~, numbers of threads, and output paths."""

from __future__ import annotations

import gzip
import subprocess
import sys
from dataclasses import replace

import lvnet
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from corpus.headers import changes, field, nifti
from corpus.scans import scan
from lvnet.cli import main
from lvnet.image_io import read_image, read_labels, write_labels
from lvnet.recipe import LIVER


@pytest.fixture(scope="module")
def model(tiny_weights):
    return lvnet.load_model(tiny_weights, "cpu")


def test_an_image_of_simpleitk_and_an_array_with_its_spacing_are_scans(model):
    truth = replace(scan(), origin=(0.0, 0.0, 0.0))
    image = sitk.GetImageFromArray(truth.array)
    image.SetSpacing(truth.spacing[::-1])
    expected = lvnet.segment(truth, model=model).labels
    for given in (image, (truth.array, truth.spacing)):
        labels = lvnet.segment(given, model=model).labels
        assert np.array_equal(labels.array, expected.array) and labels.same_grid(truth)
    labels = sitk.GetImageFromArray(expected.array)
    labels.SetSpacing(truth.spacing[::-1])
    assert lvnet.evaluate(labels, (expected.array, truth.spacing))["dice"] == 1


@pytest.mark.parametrize(
    "given",
    [np.zeros((3, 4, 5)), 3, None, (np.zeros((3, 4)), (1, 1, 1)), (np.zeros((3, 4, 5)), 2), sitk.Image(3, 4, 1)],
)
def test_anything_else_is_one_sentence(given, model):
    with pytest.raises(lvnet.LVNetError) as caught:
        lvnet.segment(given, model=model)
    assert "\n" not in str(caught.value)


def test_an_array_alone_is_refused_with_what_is_needed(model):
    with pytest.raises(lvnet.LVNetError, match=r"give a path or an lvnet\.Volume"):
        lvnet.segment(np.zeros((3, 4, 5)), model=model)


def test_a_result_saves_itself(model, tmp_path):
    result = lvnet.segment(scan(), model=model)
    result.save(tmp_path / "liver.seg.nrrd")
    assert np.array_equal(lvnet.read_labels(tmp_path / "liver.seg.nrrd").array, result.labels.array)


def test_the_default_type_of_a_notebook_changes_nothing(tiny_weights):
    import torch

    expected = lvnet.segment(scan(), weights=tiny_weights, device="cpu").labels.array
    torch.set_default_dtype(torch.float64)
    try:
        assert np.array_equal(lvnet.segment(scan(), weights=tiny_weights, device="cpu").labels.array, expected)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_leading_tilde_is_the_users_home(tmp_path, monkeypatch, tiny_weights):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "ct.nii").write_bytes(nifti())
    options = ["--weights", tiny_weights, "--device", "cpu", "--quiet"]
    assert main(["segment", "~/ct.nii", "-o", "~/liver.nii.gz", *options]) == 0
    assert (tmp_path / "liver.nii.gz").exists()
    assert lvnet.evaluate("~/liver.nii.gz", tmp_path / "liver.nii.gz")["dice"] == 1


@pytest.mark.parametrize("threads", ["0", "-1", "20000", "100000"])
def test_impossible_numbers_of_threads_are_one_line(threads, tmp_path, capsys):
    assert main(["segment", "ct.nii", "-o", str(tmp_path / "a.nii"), "--threads", threads]) == 2
    assert capsys.readouterr().err == f"lvnet: --threads must be 1 to 1024, not {threads}\n"


@pytest.mark.parametrize(
    ("redirection", "words"), [(">/dev/full", "No space left"), (">&-", "standard output is closed")]
)
def test_what_cannot_be_printed_is_one_line_and_no_success(redirection, words):
    done = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -m lvnet info --json {redirection}'],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert words in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_mask_with_the_slope_of_a_ct_is_rounded(tmp_path):
    mask = np.zeros((4, 5, 6), np.int16)
    mask[1:3] = 4096
    slope = 0.99999999977 / 4096
    (tmp_path / "mask.nii").write_bytes(nifti(scan(mask), change=field(112, "2f", slope, 0.0)))
    labels = read_labels(tmp_path / "mask.nii")
    assert labels.array.dtype == np.uint8 and labels.array.sum() == 60
    half = field(112, "2f", 0.5 / 4096, 0.0)
    (tmp_path / "half.nii").write_bytes(nifti(scan(mask), change=half))
    with pytest.raises(lvnet.LVNetError, match="not integers"):
        read_labels(tmp_path / "half.nii")


def header_of(path):
    return gzip.decompress(path.read_bytes())[:348]


def test_a_result_carries_the_scans_own_affine_byte_for_byte(tmp_path):
    rows = np.float32([[-1.9999, 0.0123, 0, 40.1], [-0.0123, -1.9999, 0, 30.2], [0, 0, 3.0001, 12.3]])
    change = changes(field(252, "2h", 0, 2), field(280, "12f", *rows.ravel()))
    (tmp_path / "ct.nii.gz").write_bytes(gzip.compress(nifti(change=change)))
    volume = read_image(tmp_path / "ct.nii.gz")
    write_labels(volume.with_array(np.ones(volume.shape, np.uint8)), tmp_path / "liver.nii.gz", [LIVER])
    assert header_of(tmp_path / "liver.nii.gz")[252:328] == header_of(tmp_path / "ct.nii.gz")[252:328]
    moved = replace(volume, array=np.ones(volume.shape, np.uint8), origin=(1.0, 2.0, 3.0))
    write_labels(moved, tmp_path / "moved.nii.gz", [LIVER])
    assert read_labels(tmp_path / "moved.nii.gz").origin == (1.0, 2.0, 3.0)
