"""Runs every case of Testing/corpus with `lvnet segment`: the result is correct, or one line names the error."""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from corpus import all_cases
from corpus.case import BUNDLED, Handled
from corpus.checking import (
    check_flagged,
    check_refusal,
    check_result_file,
    check_said,
    check_words,
    results_in,
    snapshot,
)
from corpus.dicom_files import series
from lvnet.cli import main
from lvnet.image_io import read_image, read_labels, write_labels
from lvnet.recipe import LIVER
from worker_tools import MODULE

#: Also run in a real process: one case of each kind of answer, and those that might crash a process.
AS_PROCESS = ("newline", "not-utf8")


def cases(chosen=lambda case: True):
    return [
        pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.slow else [])
        for case in all_cases()
        if chosen(case)
    ]


def arguments_of(case, made, results, tiny):
    output = made.output or (results if made.into_folder else results / f"liver{made.suffix}")
    arguments = ["segment", os.fspath(made.path), "-o", os.fspath(output), "--device", "cpu", "--json"]
    return arguments + ([] if case.weights == BUNDLED else ["--weights", tiny])


def check(case, made, results, before, code, out, err, tiny):
    lines = check_said(err)
    result_names = results_in(results)
    if isinstance(case.answer, Handled):
        assert code == 0, err
        (name,) = result_names
        answer = json.loads(out)
        assert answer["output"] == os.fspath(results / name)
        volume = check_result_file(case, made, results / name, tiny)
        assert answer["volumes_ml"]["liver"] == pytest.approx(volume, abs=0.01)
        found = [finding["sentence"] for finding in answer["input_checks"]]
        check_words(case.answer.warnings, found, nothing_else=False)
        check_flagged(case, answer["input_checks"], answer["checks"])
        empty = () if volume else ("nothing was found",)
        check_words((*case.answer.notes, *empty), answer["notes"], nothing_else=True)
    else:
        assert code == 2, (code, err)
        assert out == ""
        # Warnings are printed before the network runs; the full disk is noticed afterwards.
        (line,) = [line for line in lines if "computing on" not in line and "warning:" not in line]
        check_refusal(case.answer, line)
        assert result_names == []
    # Neither the scan nor the files beside it have changed.
    assert snapshot(before[0]) == before[1]


@pytest.mark.parametrize("case", cases())
def test_a_bad_scan_gets_its_answer(case, folder, results, tiny_weights, capfd):
    made = case.make(folder)
    before = (folder, snapshot(folder))
    arguments = arguments_of(case, made, results, tiny_weights)
    if made.largest_file is not None:
        code, out, err = in_a_process(arguments, made)
    else:
        with made.surroundings():
            code = main(arguments)
        out, err = capfd.readouterr()
    check(case, made, results, before, code, out, err, tiny_weights)


@pytest.mark.parametrize("case", cases(lambda case: case.name in AS_PROCESS))
def test_a_bad_scan_gets_its_answer_from_a_process_too(case, folder, results, tiny_weights):
    made = case.make(folder)
    before = (folder, snapshot(folder))
    code, out, err = in_a_process(arguments_of(case, made, results, tiny_weights), made)
    check(case, made, results, before, code, out, err, tiny_weights)


def in_a_process(arguments, made):
    from corpus.rights import give_up_rights, without_rights

    def prepare():
        if made.surroundings is without_rights:
            give_up_rights()
        if made.largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (made.largest_file, made.largest_file))

    done = subprocess.run(
        [sys.executable, "-m", "lvnet", *arguments],
        env={**os.environ, "PYTHONPATH": str(MODULE)}, preexec_fn=prepare, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_the_permissions_that_the_cases_rely_on_count_here_even_for_root(folder):
    from corpus.rights import without_rights

    (folder / "closed").write_bytes(b"x")
    (folder / "open").write_bytes(b"x")
    (folder / "closed").chmod(0)
    with without_rights():
        assert (folder / "open").read_bytes() == b"x"
        with pytest.raises(PermissionError):
            (folder / "closed").read_bytes()
    assert os.geteuid() != 0 or (folder / "closed").read_bytes() == b"x"


def test_probabilities_never_take_the_place_of_the_scan_or_of_the_labels(folder, results, tiny_weights, capsys):
    path = Path(folder) / "ct.nii.gz"
    path.write_bytes(b"a scan")
    for soft, words in ((path, "is the scan itself"), (results / "a.nii.gz", "two results would both be written")):
        code = main(
            [
                "segment",
                str(path),
                "-o",
                str(results / "a.nii.gz"),
                "--weights",
                tiny_weights,
                "--probabilities",
                str(soft),
            ]
        )
        assert code == 2 and words in capsys.readouterr().err
    assert path.read_bytes() == b"a scan" and results_in(results) == []


READ = """
import resource, sys
from lvnet.errors import ImageError
from lvnet.image_io import read_image
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
for path in sys.argv[1:]:
    try:
        read_image(path)
    except ImageError as error:
        print(error)
print(peak() - before)
"""


def test_no_memory_is_taken_for_voxels_that_a_file_does_not_hold(folder):
    """ITK's NRRD reader would allocate 17 GB and take a minute before it finds that the file is too short."""
    paths = []
    for case in all_cases():
        if case.name.endswith(("of-18-GB", "of-54-TB", "counted")) or case.name == "huge-slices":
            (folder / case.name).mkdir()
            paths.append(os.fspath(case.make(folder / case.name).path))
    assert len(paths) > 12
    done = subprocess.run(
        [sys.executable, "-c", READ, *paths],
        env={**os.environ, "PYTHONPATH": str(MODULE)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    *lines, kilobytes = done.stdout.splitlines()
    assert int(kilobytes) < 50_000
    assert [any(words in line for words in ("is damaged", "contradicts its header")) for line in lines] == [True] * len(
        paths
    )
    assert done.stderr == ""


def test_everything_after_it_takes_an_empty_result(folder, results, capsys):
    """A scan of air gives an empty result, which works in every format, with probabilities and in evaluation."""
    air = next(case for case in all_cases() if case.name == "air").make(folder)
    common = ["--device", "cpu", "--quiet"]
    for suffix in (".nii.gz", ".nrrd", ".mha", ".seg.nrrd"):
        target = results / f"empty{suffix}"
        soft = ["--probabilities", str(results / "soft.nrrd")] if suffix == ".nrrd" else []
        assert main(["segment", str(air.path), "-o", str(target), *soft, *common]) == 0
        assert not read_labels(target).array.any()
    assert read_image(results / "soft.nrrd").array.max() < 0.5
    slices = series(folder / "dicom", np.full((6, 48, 48), 24, np.uint16), FrameOfReferenceUID="1.2.3.4.9")
    assert main(["segment", str(slices), "-o", str(results / "empty.dcm"), *common]) == 0
    labels = np.zeros(air.truth.shape, np.uint8)
    labels[2:6, 10:20, 10:20] = 1
    write_labels(air.truth.with_array(labels), results / "liver.nii.gz", [LIVER])
    empty, liver = results / "empty.nii.gz", results / "liver.nii.gz"
    for prediction, reference, dice in ((empty, liver, 0.0), (liver, empty, 0.0), (empty, empty, 1.0)):
        capsys.readouterr()
        report = ["--report", str(results / "report.html"), "--images", str(air.path), "--csv", str(results / "a.csv")]
        assert main(["evaluate", str(prediction), str(reference), "--json", "-", "--hd95", *report]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert answer["dice"] == dice
        assert (answer["assd_mm"] is None) == (dice == 0.0) and ("assd_mm_reason" in answer) == (dice == 0.0)
        assert (results / "report.html").stat().st_size > 1000


def test_json_is_printed_where_the_terminal_has_no_unicode(folder, results, tiny_weights, monkeypatch):
    made = next(case for case in all_cases() if case.name == "emoji").make(folder)
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", ascii_only)
    options = ["-o", str(results), "--weights", tiny_weights, "--device", "cpu", "--json", "--quiet"]
    assert main(["segment", os.fspath(made.path), *options]) == 0
    ascii_only.flush()
    assert json.loads(ascii_only.buffer.getvalue())["input"] == os.fspath(made.path)


def test_there_are_enough_cases_and_each_has_a_name_of_its_own():
    assert len(all_cases()) >= 60
    kinds = {
        "files", "geometry", "repeated or contradictory geometry in a header", "values", "contents", "DICOM",
        "DICOM studies", "DICOM studies as clinics produce them", "names and folders",
        "permissions, output and disk space",
    }  # fmt: skip
    assert {case.kind for case in all_cases()} == kinds


def test_the_table_in_the_docs_is_that_of_the_cases():
    from corpus.table import page

    text = (Path(__file__).parents[2] / "docs" / "bad_input.md").read_text(encoding="utf-8")
    assert text == page(), "write it again: python Testing/corpus/table.py > docs/bad_input.md"
