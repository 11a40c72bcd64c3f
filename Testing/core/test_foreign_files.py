"""The test files of pydicom and nibabel: each is read as by these libraries, or refused with a one-line error."""

from __future__ import annotations

import json
import os

import pytest
from corpus import peers


def test_the_table_in_the_docs_is_that_of_the_verdicts():
    page = (peers.VERDICTS.parents[2] / "docs" / "dicom.md").read_text(encoding="utf-8")
    assert peers.table(json.loads(peers.VERDICTS.read_text(encoding="utf-8"))) in page


def test_no_verdict_is_a_fault():
    verdicts = json.loads(peers.VERDICTS.read_text(encoding="utf-8"))
    assert len(verdicts) > 290
    for name, verdict in verdicts.items():
        assert verdict.startswith(("refused: ", "read, as ")), (name, verdict)
        assert "\n" not in verdict


@pytest.mark.parametrize(
    ("failure", "said"), [(ValueError("x"), "traceback: ValueError('x')"), (None, "crashes"), (60, "hangs")]
)
def test_crashes_and_hangs_are_reported(monkeypatch, tmp_path, failure, said):
    """A traceback, a crash and a run that does not end are recognised."""
    import time

    def read(path):
        if failure is None:
            os._exit(1)
        if isinstance(failure, int):
            time.sleep(failure)
        raise failure

    monkeypatch.setattr("lvnet.image_io.read_image", read)
    monkeypatch.setattr(peers, "SECONDS", 1)
    (tmp_path / "a.nii").write_bytes(b"x")
    assert peers.verdict(peers.Given("a.nii", tmp_path / "a.nii")) == said


@pytest.mark.slow
def test_every_file_of_pydicom_and_nibabel_gets_its_verdict(tmp_path_factory):
    """Fails on a traceback, a crash, a hang, and any verdict that differs from the recorded one."""
    try:
        given = list(peers.files(tmp_path_factory.mktemp("nibabel")))
    except peers.PeersMissingError as error:
        pytest.skip(str(error))
    assert {one.name: peers.verdict(one) for one in given} == json.loads(peers.VERDICTS.read_text(encoding="utf-8"))
