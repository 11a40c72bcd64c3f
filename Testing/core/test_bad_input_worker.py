"""Runs every case of Testing/corpus as a batch in one running worker: a bad scan affects only its own result."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile

import pytest
from corpus import all_cases
from corpus.case import BUNDLED, Handled
from corpus.checking import (
    check_flagged,
    check_refusal,
    check_result_file,
    check_words,
    entry_of,
    results_in,
    snapshot,
)
from corpus.dicom_files import PATIENT
from corpus.rights import give_up_rights, without_rights
from lvnet.worker.client.process import WORKER_FILE
from lvnet.worker.messages import decode, encode

CASES = [case for case in all_cases() if case.worker is not None]


class Warm:
    """A running worker that handles one request after another.

    Args:
        prepare: called in its process before it starts.
    """

    def __init__(self, prepare):
        self.asked = 0
        # A file, since nothing would read a pipe; its contents are ignored.
        self.noise = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER_FILE)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.noise, preexec_fn=prepare,
        )  # fmt: skip

    def ask(self, **message):
        """The answer, and all progress messages."""
        self.asked += 1
        self.process.stdin.write(encode({"id": self.asked, "device": "cpu", "threads": 1, **message}))
        self.process.stdin.flush()
        said = []
        for line in self.process.stdout:
            answer = decode(line)
            if answer["type"] in ("result", "error"):
                assert answer["id"] == self.asked
                return answer, said
            said.append(str(answer.get("stage", "")))
        raise AssertionError(f"the worker ended: {self.said_on_stderr()}")

    def said_on_stderr(self):
        self.noise.seek(0)
        return self.noise.read().decode("utf-8", "replace")

    def end(self):
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.noise):
            stream.close()


@pytest.fixture(scope="module")
def warm():
    """A worker without root's capabilities, which matters only for the cases about permissions."""
    worker = Warm(give_up_rights)
    yield worker
    noise = worker.said_on_stderr()
    worker.end()
    assert noise == ""


def check(case, made, results, answer, tiny):
    expected = case.worker
    if isinstance(expected, Handled):
        assert answer["type"] == "result", answer
        entry = entry_of(made, answer["scans"])
        assert entry["error"] is None
        (name,) = results_in(results)
        assert entry["output"] == os.fspath(results / name)
        volume = check_result_file(case, made, results / name, tiny)
        assert entry["volumes_ml"]["liver"] == pytest.approx(volume, abs=0.01)
        empty = () if volume else ("nothing was found",)
        check_words((*expected.notes, *empty), entry["notes"], nothing_else=True)
        check_words(expected.notes, entry["scan_notes"], nothing_else=True)
        check_words(expected.warnings, [found["sentence"] for found in entry["input_checks"]], nothing_else=False)
        check_flagged(case, entry["input_checks"], entry["checks"])
        return
    if answer["type"] == "error":
        # No scan of the folder could be started.
        assert answer["kind"] == "user"
        check_refusal(expected, answer["message"])
    else:
        entry = entry_of(made, answer["scans"])
        assert entry["output"] is None
        check_refusal(expected, entry["error"])
    assert results_in(results) == []


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.slow else []) for case in CASES]
)
def test_a_bad_scan_gets_its_answer(case, folder, results, tiny_weights, warm):
    made = case.make(folder)
    before = snapshot(folder)
    worker = warm if made.largest_file is None else limited(made.largest_file)
    try:
        answer, said = worker.ask(
            do="folder",
            input=os.fspath(made.path.parent),
            output=os.fspath(made.batch_output or results),
            suffix=made.suffix,
            weights=None if case.weights == BUNDLED else tiny_weights,
        )
    finally:
        if worker is not warm:
            worker.end()
    check(case, made, results, answer, tiny_weights)
    assert snapshot(folder) == before
    assert not any(made.path.name in stage or PATIENT in stage for stage in said)


def limited(largest_file):
    def prepare():
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    return Warm(prepare)


def test_permissions_count_for_the_worker_even_for_root(folder, results, tiny_weights, warm):
    """Otherwise the cases about permissions would not test anything."""
    (folder / "ct.nii").write_bytes(b"x")
    (folder / "ct.nii").chmod(0)
    answer, _ = warm.ask(do="folder", input=str(folder), output=str(results), suffix=".nii.gz", weights=tiny_weights)
    assert "Permission denied" in answer["scans"][0]["error"]
    with without_rights(), pytest.raises(PermissionError):
        (folder / "ct.nii").read_bytes()


def test_one_folder_with_every_bad_scan_costs_no_good_one_its_result(folder, results, tiny_weights, warm):
    """All cases that consist of one file or folder, in one batch, with refused and handled ones alternating."""
    made = {}
    for case in CASES:
        place = folder / case.name
        if (
            case.slow
            or case.weights == BUNDLED
            or case.kind in ("permissions, output and disk space", "names and folders")
        ):
            continue
        if isinstance(case.worker, Handled) and case.kind in ("values", "geometry"):
            continue
        place.mkdir()
        one = case.make(place)
        if one.path.parent == place and os.path.lexists(one.path):
            suffix = "".join(one.path.suffixes) if not one.path.is_dir() or one.path.suffixes else ""
            made[f"{case.name}{suffix}"] = (case, one)
    together = folder / "together"
    together.mkdir()
    expected = {}
    for name, (case, one) in made.items():
        # Some headers contain the name of the file with their voxels.
        os.rename(one.path, together / name)
        expected[os.fspath(together / name)] = case.worker
    answer, _ = warm.ask(do="folder", input=str(together), output=str(results), suffix=".nrrd", weights=tiny_weights)
    assert answer["type"] == "result", answer
    found = {entry["input"]: entry for entry in answer["scans"]}
    listed = {path for path in expected if path in found}
    assert len(listed) > 80
    for path in listed:
        assert (found[path]["error"] is None) == isinstance(expected[path], Handled), found[path]
    good = [entry for entry in answer["scans"] if entry["error"] is None]
    assert len(results_in(results)) == len(good) > 25
    assert warm.process.poll() is None
