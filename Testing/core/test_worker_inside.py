"""The worker's loop and tasks, run in the test's own process: the answer to every kind of request."""

from __future__ import annotations

import gc
import importlib.util
import os
import threading

import numpy as np
import pytest
from lvnet import system
from lvnet.errors import ConfigurationError, ImageError
from lvnet.progress import never_cancelled, silent
from lvnet.worker import server as server_module
from lvnet.worker import tasks
from lvnet.worker.exchange import SCAN_FILE, Exchange, map_array, write_array
from lvnet.worker.messages import MessageWriter, decode, encode, read_lines
from lvnet.worker.messages.requests import TorchRequest, request_of
from lvnet.worker.messages.results import TorchResult
from lvnet.worker.server import EXIT_DONE, EXIT_RENEW, Server
from worker_tools import eventually, scan_array


@pytest.fixture(autouse=True)
def no_harm(monkeypatch):
    """Disables process-wide settings that are meant for the worker's own process."""
    from lvnet.acceleration import allocator

    monkeypatch.setattr(allocator, "keep_pages", lambda: False)
    monkeypatch.setattr(server_module, "_LAST_SECONDS", 1e6)
    monkeypatch.setitem(tasks._torch, "module", None)
    monkeypatch.setitem(tasks._loaded, "key", None)


def serve(*requests, idle=0.2, after=None):
    """The exit code and the answers of a server that gets these requests."""
    reading, writing = os.pipe()
    server = Server(MessageWriter(writing), idle)
    there, here = os.pipe()
    answers = []
    reader = threading.Thread(target=lambda: answers.extend(map(decode, read_lines(reading))), daemon=True)
    listener = threading.Thread(target=server.listen, args=(there,), daemon=True)
    reader.start()
    os.write(here, b"".join(map(encode, requests)))
    listener.start()
    try:
        if after is not None:
            after(server)
        code = server.run()
    finally:
        os.close(writing)
        reader.join(5)
        os.close(here)
        listener.join(5)
        for handle in (reading, there):
            os.close(handle)
    return code, answers


def kinds(answers):
    return [answer["type"] for answer in answers]


def test_pytorch_is_not_searched_for_garbage(monkeypatch):
    monkeypatch.setitem(system._process, "ours", True)
    gc.unfreeze()
    try:
        tasks.load_torch()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 100_000, "PyTorch alone has more objects"
    finally:
        gc.unfreeze()


def test_a_request_is_accepted_and_answered_and_idleness_ends_it():
    code, answers = serve({"do": "devices", "id": 1}, {"do": "torch", "id": 2})
    assert code == EXIT_DONE
    assert kinds(answers) == ["ready", "accepted", "progress", "result", "accepted", "progress", "result", "bye"]
    assert answers[3]["devices"][0]["id"] == "cpu"
    assert answers[6]["device"]


def test_a_scan_is_segmented_and_the_network_stays_loaded(tmp_path, tiny_weights):
    exchange = Exchange(tmp_path)
    array = scan_array()
    write_array(exchange.path / SCAN_FILE, array, array.shape, array.dtype)
    request = {
        "do": "segment", "folder": str(exchange.path), "spacing": [3.0, 2.0, 2.0], "origin": [0, 0, 0],
        "direction": [1, 0, 0, 0, 1, 0, 0, 0, 1], "weights": tiny_weights, "device": "cpu", "threads": 1,
    }  # fmt: skip
    _, answers = serve({**request, "id": 1}, {**request, "id": 2, "overlap": 0.25, "postprocess": False})
    first, second = (answer for answer in answers if answer["type"] == "result")
    (entry,) = second["classes"]  # its file has replaced the first result's file
    mask = map_array(exchange.path / entry["file"])
    assert mask.shape == tuple(stop - start for start, stop in entry["box"])
    assert set(np.unique(mask)) <= {0, 1}
    assert first["weights"] == second["weights"] == "tiny"
    stages = [(answer["id"], answer["stage"]) for answer in answers if answer["type"] == "progress"]
    assert (1, "loading the network") in stages and (2, "loading the network") not in stages
    assert exchange.remove()


def test_a_scan_without_the_organ_has_an_empty_class(tmp_path, tiny_weights, monkeypatch):
    import lvnet.inference
    import lvnet.pipeline.scan
    from lvnet.recipe import LIVER, Recipe
    from lvnet.volume import Volume

    exchange = Exchange(tmp_path)
    array = np.zeros((4, 5, 6), np.int16)
    write_array(exchange.path / SCAN_FILE, array, array.shape, array.dtype)
    nothing = Volume(array.astype(np.uint8))
    empty = lvnet.inference.Segmentation(nothing, None, Recipe(), ("a note",), {"liver": 0.0})
    monkeypatch.setattr(lvnet.pipeline.scan, "run", lambda *_arguments, **_options: empty)
    _, answers = serve({
        "do": "segment", "id": 1, "folder": str(exchange.path), "spacing": [3.0, 2.0, 2.0], "origin": [0, 0, 0],
        "direction": [1, 0, 0, 0, 1, 0, 0, 0, 1], "weights": tiny_weights, "device": "cpu",
    })  # fmt: skip
    (result,) = (answer for answer in answers if answer["type"] == "result")
    assert result["classes"][0]["box"] is None and result["classes"][0]["name"] == LIVER.name
    assert result["notes"] == ["a note"]
    exchange.remove()


def test_folders_and_their_failures(tmp_path, tiny_weights):
    from lvnet.image_io import write_image
    from lvnet.volume import Volume

    source = tmp_path / "in"
    source.mkdir()
    write_image(Volume(scan_array(), (3.0, 2.0, 2.0)), source / "a.nrrd")
    (source / "b.nrrd").write_text("no image")
    request = {
        "do": "folder", "id": 1, "input": str(source), "output": str(tmp_path / "out"), "suffix": ".nii.gz",
        "weights": tiny_weights, "device": "cpu",
    }  # fmt: skip
    _, answers = serve(
        request, {**request, "id": 2, "suffix": ".txt"}, {**request, "id": 3, "input": str(tmp_path / "x")}
    )
    (result,) = (answer for answer in answers if answer["type"] == "result")
    assert [scan["error"] is None for scan in result["scans"]] == [True, False]
    errors = [answer for answer in answers if answer["type"] == "error"]
    assert [error["error"] for error in errors] == ["ConfigurationError", "ImageError"]
    assert not any("a.nrrd" in answer["stage"] for answer in answers if answer["type"] == "progress")


def test_cancelled_and_unknown_requests():
    _, answers = serve(
        {"do": "cancel", "id": 1}, {"do": "torch", "id": 1}, {"do": "nonsense", "id": 2}, after=lambda _: None
    )
    answers = [answer for answer in answers if answer["type"] in ("cancelled", "error")]
    assert {answer["type"] for answer in answers} == {"cancelled", "error"}
    assert next(answer for answer in answers if answer["type"] == "error")["kind"] == "user"


def test_without_a_parent_nothing_is_begun(tmp_path):
    exchange = Exchange(tmp_path)
    request = {"do": "segment", "id": 1, "folder": str(exchange.path)}
    code, answers = serve(request, after=lambda server: eventually(server._requests.qsize) and server.orphan())
    assert code == EXIT_DONE
    assert kinds(answers) == ["ready"]
    assert not exchange.path.exists()


@pytest.mark.parametrize(
    ("spec", "module", "kind"),
    [
        (None, None, "torch missing"),
        (1, OSError("no c10"), "torch broken"),
        (1, type("Old", (), {"__version__": "1.9"}), "torch old"),
    ],
)
def test_a_pytorch_that_cannot_be_used_has_its_kind(monkeypatch, spec, module, kind):
    def load(_name):
        if isinstance(module, Exception):
            raise module
        return module

    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: spec)
    monkeypatch.setattr(tasks.importlib, "import_module", load)
    code, answers = serve({"do": "torch", "id": 1})
    (error,) = (answer for answer in answers if answer["type"] == "error")
    assert error["kind"] == kind
    # The next process may find a working one.
    assert code == EXIT_RENEW


def test_a_failure_of_the_gpu_ends_it_after_it_was_reported(monkeypatch):
    def fail(*_arguments):
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setitem(tasks.TASKS, TorchRequest, fail)
    code, answers = serve({"do": "torch", "id": 1}, {"do": "torch", "id": 2})
    assert code == EXIT_RENEW
    assert kinds(answers) == ["ready", "accepted", "error", "bye"]


def test_progress_of_one_stage_is_reported_ten_times_a_second_at_most():
    def busy(_request, progress, _cancelled):
        for step in range(10_000):
            progress(step / 10_000, "one stage")
        progress(1.0, "another")
        return TorchResult("2.1", "CPU")

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(tasks.TASKS, TorchRequest, busy)
        _, answers = serve({"do": "torch", "id": 1})
    assert 2 <= kinds(answers).count("progress") < 200


def test_a_mouth_without_a_listener_is_silent():
    reading, writing = os.pipe()
    os.close(reading)
    writer = MessageWriter(writing)
    writer.send({"type": "ready"})
    writer.send({"type": "ready"})
    assert not writer.is_open
    os.close(writing)


def test_lines_come_whole_whatever_the_pieces():
    reading, writing = os.pipe()
    text = encode({"type": "a", "text": "Leber ä\n肝"}) + b"\xff\n" + b'{"type": "last"}'
    for byte in text:
        os.write(writing, bytes([byte]))
    os.close(writing)
    lines = list(read_lines(reading))
    os.close(reading)
    assert decode(lines[0]) == {"type": "a", "text": "Leber ä\n肝"}
    assert decode(lines[1]) is None
    assert decode(lines[2]) == {"type": "last"}
    assert decode(b"[1]") is None


# Validation of requests -----------------------------------------------------------------------------------------------

PLACE = {"folder": "/tmp/lvnet-exchange-none", "spacing": [1, 1, 1], "origin": [0, 0, 0],
         "direction": [1, 0, 0, 0, 1, 0, 0, 0, 1]}  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        b'{"do": "cancel", "id": []}',
        b'{"do": "cancel", "id": {"a": 1}}',
        b'{"do": "torch", "id": [1]}',
        b'{"do": "torch", "id": NaN}',
        b'{"do": "torch", "id": 1e999}',
        b'{"do": ["torch"], "id": 1}',
        b'{"do": {}, "id": {}}',
        b'{"id": null}',
        b"[" * 100_000,
        b"\xff\xfe\x00",
    ],
)
def test_no_line_makes_the_worker_deaf(line):
    reading, writing = os.pipe()
    server = Server(MessageWriter(writing), 0.0)
    server.take(line)
    server.take(encode({"do": "torch", "id": "last"}))
    assert server.run() == EXIT_DONE
    os.close(writing)
    answers = list(map(decode, read_lines(reading)))
    os.close(reading)
    assert any(a["type"] == "result" and a["id"] == "last" for a in answers), answers


def _is_json(changes):
    return "nan" not in repr(changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"folder": None}, {"folder": 5}, {"folder": "relative"}, {"folder": "/a\0b"}, {"folder": "/\ud800"},
        {"spacing": [1, 1]}, {"spacing": "111"}, {"spacing": [1, 1, None]}, {"spacing": [0, 1, 1]},
        {"spacing": [float("nan")] * 3}, {"spacing": [1e11, 1, 1]}, {"origin": [1e300, 0, 0]}, {"direction": [0] * 9},
        {"direction": [1] * 8}, {"overlap": 2}, {"overlap": "0.5"}, {"threads": 10**9}, {"threads": 1.5},
        {"threads": True}, {"device": 3}, {"weights": ["w"]}, {"postprocess": "no"}, {"do": "folder"}, {"do": None},
    ],
)  # fmt: skip
def test_a_request_with_wrong_values_is_refused_in_one_line(changes):
    answers = serve({"do": "segment", "id": 1, **PLACE, **changes})[1] if _is_json(changes) else []
    request = {"do": "segment", "id": 1, **PLACE, **changes}

    def ask():
        asked = request_of(request)
        tasks.TASKS[type(asked)](asked, lambda *_: None, lambda: False)

    with pytest.raises((ConfigurationError, ImageError)) as refusal:
        ask()
    assert [a["kind"] for a in answers if a["type"] == "error"] == ["user"] * _is_json(changes)
    assert "\n" not in str(refusal.value)
    assert request_of({"do": "segment", "id": 1, **PLACE}).to_message(1).items() >= PLACE.items()


@pytest.mark.parametrize(
    "array", [np.zeros((2, 2)), np.zeros((0, 2, 2)), np.zeros((2, 2, 2), complex), np.zeros((2, 2, 2), "U4"), None]
)
def test_a_scan_that_is_no_volume_is_refused_in_one_line(tmp_path, array):
    if array is None:
        (tmp_path / SCAN_FILE).write_bytes(b"\x93NUMPY\x01\x00\x10\x00{('descr': 1\n" + bytes(40))
    else:
        np.save(tmp_path / SCAN_FILE, array)
    with pytest.raises(ImageError):
        tasks.segment_task(request_of({"do": "segment", **PLACE, "folder": str(tmp_path)}), silent, never_cancelled)
