"""The parts of the worker's client that need no process: messages, error texts, steps, and estimated run times."""

from __future__ import annotations

import json

import numpy as np
import pytest
from lvnet.errors import ComputationError, ImageError
from lvnet.pipeline.options import SegmentOptions
from lvnet.recipe import LIVER
from lvnet.volume import Volume
from lvnet.worker.client import pace
from lvnet.worker.client.error_sentences import error_of
from lvnet.worker.client.handover import usual_voxels
from lvnet.worker.client.job import JobState
from lvnet.worker.client.questions import TorchQuestion
from lvnet.worker.client.service import Service
from lvnet.worker.client.steps import Steps
from lvnet.worker.messages import decode, encode
from lvnet.worker.messages.answers import (
    Accepted,
    Bye,
    Done,
    Exit,
    Failed,
    FailureKind,
    Progress,
    Ready,
    ScanDone,
    Stopped,
    answer_of,
)
from lvnet.worker.messages.place import Place
from lvnet.worker.messages.requests import (
    REQUESTS,
    CompareRequest,
    DevicesRequest,
    FolderRequest,
    PhantomRequest,
    SegmentRequest,
    TorchRequest,
    request_of,
)
from lvnet.worker.messages.results import (
    CompareResult,
    DevicesResult,
    DoubtfulRegions,
    FolderResult,
    FoundClass,
    PhantomResult,
    SegmentResult,
    TorchResult,
)
from lvnet.worker.server import EXIT_DONE
from lvnet.worker.tasks import TASKS

PLACE = Place((3.0, 2.0, 2.0), (1.0, -2.0, 3.5), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
OTHER = Place((1.0, 1.5, 1.5), (0.0, 0.0, 0.0), PLACE.direction)
OPTIONS = SegmentOptions(weights="/w.safetensors", device="cpu", overlap=0.25, threads=2)


def through_the_pipe(message: dict) -> dict:
    read = decode(encode(message))
    assert read is not None
    return read


@pytest.mark.parametrize(
    "request_",
    [
        SegmentRequest("/x", PLACE, OPTIONS),
        FolderRequest("/in", "/out", ".nii.gz", OPTIONS),
        CompareRequest("/x", PLACE, OTHER, "lits", True, "liver", None),
        PhantomRequest("/x", 7),
        DevicesRequest(),
        TorchRequest(),
    ],
)
def test_a_request_arrives_as_it_was_sent(request_):
    message = through_the_pipe(request_.to_message(5))
    assert (message["do"], message["id"]) == (request_.do, 5)
    assert request_of(message) == request_


def test_every_request_has_a_task():
    assert set(TASKS) == set(REQUESTS)


@pytest.mark.parametrize(
    "answer",
    [
        Ready(12, "0.1"),
        Accepted(1),
        Progress(1, 0.5, "segmenting"),
        ScanDone("a", {"input": "/a", "error": None}),
        Done(2, {"version": "2.1", "device": "CPU"}, 1.5),
        Stopped(3),
        Failed(4, FailureKind.USER, "one line", "ImageError"),
        Failed(None, FailureKind.BUG, "one line", details="Traceback"),
        Bye("idle"),
    ],
)
def test_an_answer_arrives_as_it_was_said(answer):
    assert answer_of(through_the_pipe(answer.to_message())) == answer


@pytest.mark.parametrize(
    "message",
    [
        {"type": "exit", "code": 0, "lines": []},  # is handled, but never sent
        {"type": "hello"},
        {"type": ["progress"]},
        {"type": "progress", "id": 1},
        {"type": "progress", "id": 1, "share": "half", "stage": ""},
        {"type": "error", "id": 1, "kind": "unheard of", "message": ""},
        {"id": 1},
    ],
)
def test_what_is_no_answer_is_passed_over(message):
    assert answer_of(message) is None


@pytest.mark.parametrize(
    "result",
    [
        SegmentResult(
            (FoundClass(LIVER, ((1, 4), (0, 9), (2, 3)), "class-1.npy"), FoundClass(LIVER, None, None)),
            DoubtfulRegions(((0, 1), (2, 3), (4, 5)), "doubtful.npy"),
            {"volumes_ml": {"liver": 1.5}, "notes": []},
        ),
        FolderResult([{"input": "/a", "error": None}], [{"input": "/b", "reason": "no scan"}], "1 scan"),
        DevicesResult([{"id": "cpu", "name": "CPU", "freeMemory": None}]),
        TorchResult("2.1", "CPU"),
        CompareResult({"dice": 0.9}),
        PhantomResult(PLACE),
    ],
)
def test_a_result_arrives_as_the_task_gave_it(result):
    assert type(result).from_fields(json.loads(json.dumps(result.to_fields()))) == result


def test_the_box_of_a_class_is_an_index():
    assert FoundClass(LIVER, ((1, 4), (0, 9), (2, 3)), "a").slices == (slice(1, 4), slice(0, 9), slice(2, 3))
    assert FoundClass(LIVER, None, None).slices is None


class EndingProcess:
    """A process that ended because it was idle, before it saw the request."""

    def __init__(self):
        self.said = [Exit(EXIT_DONE, [])]

    def is_alive(self):
        return True

    def send(self, message):
        pass

    def receive(self):
        said, self.said = self.said, []
        return said


def test_a_request_that_needs_a_second_process_fails_where_none_can_be_started(tmp_path, monkeypatch):
    monkeypatch.setenv("LVNET_LOG_DIR", str(tmp_path))
    service = Service(python=lambda: "/nowhere/PythonSlicer")
    service._process = EndingProcess()
    job = TorchQuestion(service).start()
    for _ in range(3):
        service.poll()
    assert job.state is JobState.FAILED
    with pytest.raises(ComputationError, match="cannot be started"):
        job.wait()


def test_a_pytorch_that_only_slicer_sees_is_not_offered_for_installation_again(monkeypatch):
    failure = Failed(1, FailureKind.TORCH_MISSING, "PyTorch is not installed")
    assert "click Apply" not in str(error_of(failure))
    assert "PythonSlicer does not" in str(error_of(failure))
    monkeypatch.setattr("lvnet.worker.client.error_sentences.torch_is_missing", lambda: True)
    assert "click Apply to install it" in str(error_of(failure))


def test_work_is_done_a_little_at_a_time_and_its_result_is_there_at_the_end():
    def work():
        yield
        yield
        return "done"

    steps = Steps(work())
    assert not steps.advance(seconds=0)
    with pytest.raises(RuntimeError, match="not done yet"):
        _ = steps.result
    while not steps.advance(seconds=0):
        pass
    assert steps.result == "done"


def test_voxels_of_any_type_become_the_usual_ones_or_are_refused():
    whole = usual_voxels(Volume(np.full((2, 2, 2), 3.0)))
    assert whole.array.dtype == np.int16 and (whole.array == 3).all()
    broken = usual_voxels(Volume(np.array([[[1.5, np.nan]]])))
    assert broken.array.dtype == np.float32 and "1 voxels without a finite value" in broken.notes[0]
    with pytest.raises(ImageError, match="no voxel with a finite value"):
        usual_voxels(Volume(np.full((2, 2, 2), np.nan)))


def test_run_time_is_estimated_from_the_usual_run_and_the_size_of_the_scan(monkeypatch, tmp_path):
    monkeypatch.setenv("LVNET_LOG_DIR", str(tmp_path))
    assert pace.expected("cpu", 20.0) is None
    for seconds in (41.0, 11.0, 11.0):  # the first run includes loading the network
        pace.remember("cpu", 20.0, seconds)
    assert pace.expected("cpu", 40.0) == pytest.approx(21.0)
    assert pace.expected("cuda:0", 40.0) is None
    (tmp_path / "pace.json").write_text("[broken")
    assert pace.expected("cpu", 40.0) is None
