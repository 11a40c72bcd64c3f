"""Checks shared by the tests of the command line, the worker and the Logic."""

from __future__ import annotations

import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import SimpleITK as sitk  # noqa: N813
from lvnet.inference import Model, load_model
from lvnet.pipeline.python import segment
from lvnet.volume import Volume

from .case import BUNDLED, Case, Handled, Made, Refused
from .dicom_files import PATIENT


def make_place(*, large: bool = False) -> Path:
    """An empty folder for a case, with a short path; the caller removes it.

    It is in memory if possible: every result is flushed to disk, which takes seconds on a busy one.

    Args:
        large: for files too large for memory.
    """
    memory = "/dev/shm"
    place = memory if not large and os.access(memory, os.W_OK) else None
    return Path(os.path.realpath(tempfile.mkdtemp(prefix="lvnet-corpus-", dir=place)))


def open_up(folder: Path) -> None:
    """Makes everything below a folder removable again."""
    for root, folders, _ in os.walk(folder):
        for name in folders:
            path = os.path.join(root, name)
            if not os.path.islink(path):
                os.chmod(path, 0o755)


def snapshot(folder: Path) -> Dict[str, Tuple[int, int, int]]:
    """Every entry below a folder with mode, size and modification time: a run must not change them."""
    found = {}
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            facts = os.lstat(os.path.join(root, name))
            # A folder's own modification time changes when temporary files are created in it.
            found[os.path.join(root, name)] = (
                (facts.st_mode, 0, 0) if name in folders else (facts.st_mode, facts.st_size, facts.st_mtime_ns)
            )
    return found


@lru_cache(maxsize=2)
def _model(weights: Optional[str]) -> Model:
    return load_model(weights, "cpu")


_labels: Dict[Tuple[Any, ...], np.ndarray] = {}


def expected_labels(case: Case, truth: Volume, tiny: str) -> np.ndarray:
    """The network's result for the correct scan, passed in memory; cached for equal scans."""
    weights = None if case.weights == BUNDLED else tiny
    key = (truth.array.tobytes(), truth.array.dtype, truth.shape, truth.spacing, truth.direction, weights)
    if key not in _labels:
        _labels[key] = segment(truth, model=_model(weights)).labels.array
    return _labels[key]


def check_result_file(case: Case, made: Made, path: Path, tiny: str) -> float:
    """Checks that a file contains the network's result for the correct scan, on its grid; reads it with ITK only.

    Returns:
        Volume of the result in ml.
    """
    truth = made.truth
    assert truth is not None
    # ITK does not accept every file name.
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / f"result{made.suffix}"
        plain.write_bytes(path.read_bytes())
        image = sitk.ReadImage(str(plain))
    assert image.GetPixelID() == sitk.sitkUInt8
    assert image.GetSize() == truth.shape[::-1]
    assert np.allclose(image.GetSpacing(), truth.spacing[::-1], rtol=1e-5, atol=0)
    assert np.allclose(image.GetOrigin(), truth.origin, rtol=1e-5, atol=1e-4)
    assert np.allclose(image.GetDirection(), truth.direction, rtol=0, atol=1e-5)
    labels = sitk.GetArrayFromImage(image)
    check_labels(case, labels, truth, tiny)
    return float(np.count_nonzero(labels)) * truth.voxel_volume_ml


def check_labels(case: Case, labels: np.ndarray, truth: Volume, tiny: str) -> None:
    """Checks that (z, y, x) labels are those of the correct scan."""
    assert np.array_equal(labels, expected_labels(case, truth, tiny))
    if isinstance(case.answer, Handled) and case.answer.empty is not None:
        assert labels.any() != case.answer.empty


def check_words(words: Sequence[str], said: Sequence[str], *, nothing_else: bool) -> None:
    """Every text must occur in a message; with `nothing_else`, every message must contain one of the texts."""
    for text in words:
        assert any(text in one for one in said), (text, said)
    if nothing_else:
        assert [one for one in said if not any(text in one for text in words)] == []


def check_flagged(case: Case, findings: Sequence[Mapping[str, Any]], checks: Sequence[Mapping[str, Any]]) -> None:
    """A scan that is not an abdominal CT must give a warning or fail a check, whatever the network's result is."""
    if isinstance(case.answer, Handled) and case.answer.flagged:
        graver = [found for found in findings if found["severity"] in ("error", "warning")]
        assert graver or any(check["verdict"] == "wrong" for check in checks), (findings, checks)


def check_said(text: str) -> List[str]:
    """Checks messages for the user: no output of libraries, no traceback, no patient data, no control characters."""
    lines = text.split("\n")
    assert lines.pop() == ""
    for line in lines:
        assert line.startswith("lvnet: "), line
        assert line.isprintable(), line
    assert PATIENT not in text and "1.2.3.4" not in text
    return lines


def check_refusal(answer: Refused, line: str) -> None:
    """Checks for a one-line error with the expected words."""
    assert answer.words in line, line
    assert "\n" not in line and PATIENT not in line and "Traceback" not in line
    # Even if the line contains a very long path.
    assert len(line) < 6000


def results_in(folder: Path) -> List[str]:
    """Names of all entries of a folder, including hidden ones."""
    return sorted(os.listdir(folder))


def entry_of(made: Made, scans: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The entry of a batch's answer that belongs to the case."""
    found = [entry for entry in scans if entry["input"] == os.fspath(made.path)]
    assert len(found) == 1, scans
    return found[0]


def removed_afterwards(folder: Path) -> Iterator[Path]:
    """For fixtures: yields the folder, then removes it whatever its permissions are by then."""
    import shutil

    try:
        yield folder
    finally:
        open_up(folder)
        shutil.rmtree(folder)
