"""The test files that come with pydicom: each is read, or refused with one line."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest
from lvnet.errors import LVNetError
from lvnet.image_io import read_image

FILES = sorted(path for path in (Path(pydicom.__file__).parent / "data" / "test_files").rglob("*") if path.is_file())
#: What the reading of each file, alone in a folder, comes to; in the order in which they are looked for in a refusal.
REASONS = (
    "other modalities", "files without an image", "localizers", "no image that can be read", "damaged DICOM file",
    "pipe or a device", "without a position", "colour images", "cannot be decoded", "damaged", "does not have the size",
    "is not a", "holds a",
)  # fmt: skip


def outcome(path: Path) -> str:
    try:
        volume = read_image(path)
    except LVNetError as error:
        text = str(error)
        assert "\n" not in text
        (reason, *_) = [reason for reason in REASONS if reason in text] or [text]
        return reason
    assert np.isfinite(volume.array).all()
    return "read"


@pytest.mark.slow
def test_every_file_of_pydicom_is_read_or_refused_with_one_line(tmp_path):
    told = Counter()
    for number, path in enumerate(FILES):
        folder = tmp_path / str(number)
        folder.mkdir()
        told[outcome(Path(shutil.copy(path, folder)))] += 1
    assert sum(told.values()) == len(FILES) > 100
    assert told["read"] >= 12
    assert set(told) <= {"read", *REASONS}, told


@pytest.mark.slow
def test_a_ct_of_pydicom_has_the_values_that_pydicom_gives(tmp_path):
    source = next(path for path in FILES if path.name == "CT_small.dcm")
    dataset = pydicom.dcmread(source)
    volume = read_image(shutil.copy(source, os.fspath(tmp_path)))
    hu = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    assert np.array_equal(volume.array[0], hu)
    assert volume.spacing[1:] == tuple(float(step) for step in dataset.PixelSpacing)
