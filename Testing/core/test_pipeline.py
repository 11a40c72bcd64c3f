"""The shared pipeline: each setting is defined once, and command line and worker report the same about a scan."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from lvnet.cli import main
from lvnet.errors import Cancelled, ConfigurationError, ImageError
from lvnet.image_io import write_image
from lvnet.pipeline import ScanReport, SegmentOptions, segment_file
from lvnet.pipeline.options import settings_of
from lvnet.volume import Volume
from lvnet.worker import tasks
from lvnet.worker.messages.requests import FolderRequest, request_of
from worker_tools import scan_array

MODULE = Path(__file__).parents[2] / "LVNetSegmentation"
#: A new setting, as a developer would add it to options.py.
TILE = """    tile: int = setting(
        1, Setting(count_within(1, 8, "must be 1 to 8"), "of rows", int, "the tile", "--tile", "N")
    )

    def __post_init__"""
#: Tests that all interfaces then know it without any other change.
TRAVEL = """
import contextlib, io, json, sys
import lvnet
from lvnet.cli import main
from lvnet.errors import ConfigurationError
from lvnet.worker import tasks
from lvnet.worker.messages.requests import request_of

scans, out, weights = sys.argv[1:]
shared = {"input": scans, "output": out, "suffix": ".nrrd", "weights": weights, "device": "cpu", "threads": 1}
with contextlib.redirect_stdout(io.StringIO()) as said:
    flags = ["--weights", weights, "--device", "cpu", "--threads", "1", "--tile", "3", "--quiet", "--json"]
    code = main(["segment", scans, "-o", out, *flags])
request = request_of({"do": "folder", **shared, "tile": 5})
answer = tasks.folder_task(request, lambda *_: None, lambda: False)
try:
    request_of({"do": "folder", **shared, "tile": 9})
except ConfigurationError as error:
    refused = str(error)
try:
    lvnet.segment("ct.nrrd", tile=9)
except ConfigurationError as error:
    assert str(error) == refused
reports = [json.loads(said.getvalue())[0], answer.scans[0]]
print(json.dumps([code, [report["options"]["tile"] for report in reports], refused]))
"""


@pytest.fixture
def scan(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    write_image(Volume(scan_array(), (3.0, 2.0, 2.0)), folder / "ct.nrrd")
    return folder / "ct.nrrd"


@pytest.fixture(autouse=True)
def no_harm(monkeypatch):
    """Disables process-wide settings that are meant for the worker's own process."""
    monkeypatch.setattr("lvnet.acceleration.allocator.keep_pages", lambda: False)
    monkeypatch.setitem(tasks._torch, "module", None)
    monkeypatch.setitem(tasks._loaded, "key", None)


def test_a_setting_added_in_one_place_is_known_to_the_command_line_the_worker_and_the_report(
    scan, tmp_path, tiny_weights
):
    source = tmp_path / "source"
    shutil.copytree(MODULE / "lvnet", source / "lvnet", ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    file = source / "lvnet" / "pipeline" / "options.py"
    written = file.read_text(encoding="utf-8")
    assert written.count("    def __post_init__") == 1
    file.write_text(written.replace("    def __post_init__", TILE), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", TRAVEL, str(scan.parent), str(tmp_path / "out"), tiny_weights],
        env={**os.environ, "PYTHONPATH": str(source), "LVNET_ACCELERATION": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [0, [3, 5], "the tile must be 1 to 8, not 9"]


def test_the_command_line_and_the_worker_tell_the_same_of_a_scan(scan, tmp_path, tiny_weights, capsys):
    flags = ("--weights", tiny_weights, "--device", "cpu", "--overlap", "0.25", "--json", "--quiet")
    assert main(["segment", str(scan.parent), "-o", str(tmp_path / "out"), "--format", ".nrrd", *flags]) == 0
    (said,) = json.loads(capsys.readouterr().out)
    first = (tmp_path / "out" / "ct.nrrd").read_bytes()
    options = SegmentOptions(weights=tiny_weights, device="cpu", overlap=0.25)
    request = FolderRequest(str(scan.parent), str(tmp_path / "out"), ".nrrd", options)
    (entry,) = tasks.folder_task(request, lambda *_: None, lambda: False).scans
    assert entry.pop("error") is None
    assert said.pop("seconds") > 0 and entry.pop("seconds") > 0
    assert said == entry
    assert said["options"] == {**SegmentOptions().to_dict(), "weights": tiny_weights, "device": "cpu", "overlap": 0.25}
    assert (tmp_path / "out" / "ct.nrrd").read_bytes() == first


def test_a_report_is_json_and_names_the_files_that_were_written(scan, tmp_path, tiny_weights):
    target, soft = tmp_path / "liver.seg.nrrd", tmp_path / "p.nrrd"
    shares, seen = [], []
    report = segment_file(
        scan,
        target,
        SegmentOptions(weights=tiny_weights, device="cpu", threads=1),
        probabilities=soft,
        noticed=seen.append,
        progress=lambda share, stage: shares.append((share, stage)),
    )
    assert isinstance(report, ScanReport)
    said = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert (said["input"], said["output"], said["probabilities"], said["uncertainty"]) == (
        str(scan), str(target), str(soft), None,
    )  # fmt: skip
    assert [finding["sentence"] for finding in said["input_checks"]] == [finding.sentence for finding in seen] != []
    assert [share for share, _ in shares] == sorted(share for share, _ in shares)
    assert shares[0] == (0.0, "reading the scan") and shares[-1] == (1.0, "done")


def test_threads_are_those_of_before_whatever_becomes_of_a_scan(scan, tmp_path, tiny_weights, monkeypatch):
    import torch
    from lvnet.pipeline import scan as module

    during = []

    def fail(*_arguments, **_options):
        during.append(torch.get_num_threads())
        raise ImageError("no")

    monkeypatch.setattr(module, "run", fail)
    before = torch.get_num_threads()
    options = SegmentOptions(weights=tiny_weights, device="cpu", threads=before + 1)
    with pytest.raises(ImageError):
        segment_file(scan, tmp_path / "a.nrrd", options)
    assert during == [before + 1] and torch.get_num_threads() == before


def test_nothing_is_written_once_it_is_cancelled_nor_over_the_scan(scan, tmp_path, tiny_weights):
    options = SegmentOptions(weights=tiny_weights, device="cpu")
    stages = []
    with pytest.raises(Cancelled):
        segment_file(
            scan,
            tmp_path / "a.nrrd",
            options,
            progress=lambda _share, stage: stages.append(stage),
            cancelled=lambda: "checking the result" in stages,
        )
    assert "checking the result" in stages and not (tmp_path / "a.nrrd").exists()
    before = scan.read_bytes()
    with pytest.raises(ConfigurationError, match="would be overwritten"):
        segment_file(scan, scan, options)
    assert scan.read_bytes() == before


# The options ----------------------------------------------------------------------------------------------------------


def test_equal_options_are_equal_json_however_they_were_written():
    one = SegmentOptions(weights=Path("w.safetensors"), overlap=0, threads=np.int64(2))
    two = SegmentOptions(weights="w.safetensors", overlap=np.float32(-0.0), threads=2)
    assert one == two and hash(one) == hash(two)
    assert json.dumps(one.to_dict()) == json.dumps(two.to_dict())
    assert list(one.to_dict()) == [field.name for field in fields(SegmentOptions)] == list(settings_of())
    assert SegmentOptions.from_dict(json.loads(json.dumps(one.to_dict()))) == one


def test_results_depend_on_every_setting_but_where_they_are_computed_and_the_path_of_the_weights():
    options = SegmentOptions(weights="w.safetensors", device="cpu", threads=2, overlap=0.25, series="2")
    assert options.for_results() == {"overlap": 0.25, "series": "2", "postprocess": True, "search": True}


def test_what_is_not_said_is_the_default():
    nothing = dict.fromkeys(settings_of())
    assert SegmentOptions.from_dict(nothing) == SegmentOptions.from_request({}) == SegmentOptions()
    empty = {"weights": "", "device": "", "series": "", "threads": 0, "folder": "/tmp"}
    assert SegmentOptions.from_request(empty) == SegmentOptions()
    with pytest.raises(ConfigurationError, match="unknown setting 'overlop'; the settings are weights, device"):
        SegmentOptions.from_dict({"overlop": 0.1})


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("overlap", 2, "the overlap of slabs must lie between 0 and 0.9, not 2"),
        ("overlap", "0.5", "the overlap of slabs must lie between 0 and 0.9, not '0.5'"),
        ("overlap", True, "the overlap of slabs must lie between 0 and 0.9, not True"),
        ("overlap", float("nan"), "the overlap of slabs must lie between 0 and 0.9, not nan"),
        ("threads", 1025, "the number of threads must be 1 to 1024, not 1025"),
        ("threads", 1.5, "the number of threads must be 1 to 1024, not 1.5"),
        ("threads", True, "the number of threads must be 1 to 1024, not True"),
        ("device", 3, "the device must be auto, cpu, cuda, cuda:N or mps, not 3"),
        ("weights", "a\0b", "the weights must be the path of a checkpoint, not 'a\\x00b'"),
        ("weights", "\ud800", "the weights must be the path of a checkpoint, not '\\ud800'"),
        ("series", 4, "the series must be a UID, number or description, not 4"),
        ("postprocess", "no", "the choice of postprocessing must be true or false, not 'no'"),
    ],
)
def test_a_value_that_cannot_be_is_refused_in_the_same_words_by_python_and_by_the_worker(name, value, sentence):
    with pytest.raises(ConfigurationError) as refusal:
        SegmentOptions(**{name: value})
    assert str(refusal.value) == sentence
    with pytest.raises(ConfigurationError) as refusal:
        request_of({"do": "folder", "input": "/a", "output": "/b", "suffix": ".nrrd", name: value})
    assert str(refusal.value) == sentence
