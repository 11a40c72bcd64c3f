"""The worker process: its protocol, its lifetime, and which `lvnet` package it imports."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from corpus.studies import Pass, evenly, write_study
from lvnet.checkpoint_summary import checkpoint_summary
from lvnet.errors import Cancelled, CheckpointError, ComputationError, ConfigurationError, DeviceError, ImageError
from lvnet.image_io import read_labels, write_image
from lvnet.pipeline.python import segment
from lvnet.volume import Volume
from lvnet.worker.client import logs
from lvnet.worker.client.folder_job import FolderJob
from lvnet.worker.client.job import Callbacks, JobState
from lvnet.worker.client.process import WORKER_FILE, this_python
from lvnet.worker.client.questions import DevicesQuestion, TorchQuestion
from lvnet.worker.client.service import Service
from LVNetSegmentationLib import pythonslicer
from worker_tools import LONG, MODULE, PATIENT, Raw, ScanJob, eventually, lives, scan_array


@pytest.fixture
def raw():
    made = []

    def start(*options, **popen):
        made.append(Raw(*options, **popen))
        return made[-1]

    yield start
    for worker in made:
        worker.end()


# Protocol.


def test_it_says_that_it_is_ready_and_answers_with_json_lines(raw):
    worker = raw()
    ready = worker.hear("ready")
    assert ready["pid"] == worker.process.pid
    worker.ask(do="devices", id=7)
    assert worker.hear("accepted")["id"] == 7
    result = worker.hear("result")
    assert result["id"] == 7
    assert result["devices"][0]["id"] == "cpu"
    assert result["devices"][0]["freeMemory"] > 1e6


def test_before_any_scan_it_tells_how_fast_the_next_one_will_be(raw, tiny_weights):
    worker = raw()
    worker.ask(do="pace", id=1, weights=tiny_weights, device="cpu", overlap=None, threads=0)
    result = worker.hear("result")
    assert 0 < result["seconds_per_litre"] < 100
    # The compute path as well: the kernels do not support the network of these weights.
    assert result["compute_path"] == {"name": "PyTorch tiles", "left_out": "", "faster_with": ""}
    worker.ask(do="pace", id=2, weights="nowhere.safetensors")
    assert worker.hear("error")["kind"] == "user"


def test_it_can_be_run_as_a_module_too(raw):
    worker = Raw("lvnet.worker", script="-m", env={**os.environ, "PYTHONPATH": str(MODULE)})
    try:
        worker.hear("ready")
    finally:
        worker.end()


def test_lines_that_are_no_requests_are_passed_over_and_unknown_requests_are_an_error(raw):
    worker = raw()
    worker.process.stdin.write(b"\xff\xfe no json\n[1, 2]\n\n")
    worker.ask(do="something else", id=1)
    answer = worker.hear("error")
    assert (answer["kind"], answer["id"]) == ("user", 1) and "something else" in answer["message"]
    worker.ask(do="torch", id=2)
    assert "CPU" in worker.hear("result")["device"]


def test_what_libraries_print_does_not_garble_the_messages(raw, tmp_path):
    (tmp_path / "torch.py").write_text("import os; print('hello'); os.write(1, b'native'); raise OSError('no')")
    worker = raw(env={**os.environ, "PYTHONPATH": str(tmp_path)})
    worker.ask(do="torch", id=1)
    assert worker.hear("error")["message"] == "no"
    worker.process.stdin.close()
    assert b"native" in worker.process.stderr.read()


def test_a_request_that_is_cancelled_while_it_waits_is_not_begun(raw, tiny_weights):
    worker = raw()
    worker.ask(do="torch", id=1)
    worker.ask(do="cancel", id=2)
    worker.ask(do="devices", id=2)
    worker.ask(do="devices", id=3)
    assert worker.hear("cancelled")["id"] == 2
    assert worker.hear("result")["id"] == 3


# Lifetime.


def test_it_ends_by_itself_when_nothing_is_asked_for_a_while(raw):
    worker = raw("--idle", "0.3")
    worker.hear("ready")
    assert worker.hear("bye")["reason"] == "idle"
    assert worker.process.wait(5) == 0


def test_it_ends_when_its_parent_closes_the_pipe(raw):
    worker = raw()
    worker.hear("ready")
    worker.process.stdin.close()
    assert worker.process.wait(5) == 0


def test_it_ends_when_its_parent_is_killed_even_if_somebody_holds_the_pipe_open(raw):
    parent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        worker = raw("--parent", str(parent.pid))
        worker.hear("ready")
        assert worker.process.poll() is None
        parent.kill()  # not yet reaped: a zombie process must not count as alive
        assert worker.process.wait(6) == 0
    finally:
        parent.kill()
        parent.wait()


PARENT = """
import sys, time
sys.path[:0] = [{module!r}, {tools!r}]
from worker_tools import ScanJob, scan_array, LONG
from lvnet.worker.client.service import Service
service = Service(folder=lambda: {folder!r})
job = ScanJob(service, scan_array(LONG), {weights!r}, overlap=0.9).start()
while True:
    job.poll()
    if any(stage == "segmenting" for _, stage in job.stages):
        print(service.worker_pid, flush=True)
        time.sleep(600)
    time.sleep(0.02)
"""


def test_a_killed_parent_leaves_no_worker_and_no_file(tmp_path, temporary_folder, log_folder, tiny_weights):
    script = PARENT.format(
        module=str(MODULE), tools=os.path.dirname(__file__), folder=str(temporary_folder), weights=tiny_weights
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    try:
        worker = int(parent.stdout.readline())
        assert list(temporary_folder.iterdir())
    finally:
        parent.kill()
        parent.communicate()
    assert eventually(lambda: not lives(worker), 6)
    assert list(temporary_folder.iterdir()) == []


def test_the_second_job_finds_the_worker_warm(service, tiny_weights):
    first = ScanJob(service, scan_array(), tiny_weights).start()
    first.wait()
    pid = service.worker_pid
    second = ScanJob(service, scan_array(), tiny_weights).start()
    second.wait()
    assert service.worker_pid == pid
    assert {"loading PyTorch", "loading the network"} <= {stage for _, stage in first.stages}
    assert not {"loading PyTorch", "loading the network"} & {stage for _, stage in second.stages}


def test_where_it_is_not_kept_warm_it_is_gone_after_the_job(service, tiny_weights):
    service.keep_warm = False
    pids = []
    ScanJob(service, scan_array(), tiny_weights, hook=lambda *_: pids.append(service.worker_pid)).start().wait()
    assert service.worker_pid is None
    assert eventually(lambda: not lives(pids[-1]), 3)


def test_a_renewed_worker_finishes_what_runs_and_the_next_job_finds_another(service, tiny_weights):
    pids = []

    def renew(*_):
        if service.worker_pid is not None and not pids:
            service.renew()
        pids.extend([] if service.worker_pid is None else [service.worker_pid])

    answer, _mask = ScanJob(service, scan_array(), tiny_weights, hook=renew).start().wait()
    assert len(answer.classes) == 1
    assert len(set(pids)) == 1 and service.worker_pid is None
    # Afterwards the worker stays, as usual.
    ScanJob(service, scan_array(), tiny_weights).start().wait()
    second = service.worker_pid
    assert second not in (None, *pids)
    ScanJob(service, scan_array(), tiny_weights).start().wait()
    assert service.worker_pid == second
    service.renew()
    assert service.worker_pid is None


def test_a_worker_that_ended_itself_is_replaced_without_a_word(log_folder, temporary_folder, tiny_weights):
    service = Service(idle_seconds=0.2, folder=lambda: temporary_folder)
    ScanJob(service, scan_array(), tiny_weights).start().wait()
    time.sleep(1.0)
    # The worker may be ending at this very moment: the request must not be lost either way.
    ScanJob(service, scan_array(), tiny_weights).start().wait()
    service.shutdown()


def test_ending_the_worker_ends_what_a_launcher_started(log_folder, temporary_folder, tmp_path, tiny_weights):
    """PythonSlicer starts Python as a child and waits for it."""
    launcher = tmp_path / "PythonSlicer"
    launcher.write_text(f'#!/bin/sh\n"{sys.executable}" "$@"\nexit $?\n')
    launcher.chmod(0o755)
    service = Service(python=lambda: str(launcher), folder=lambda: temporary_folder)
    job = ScanJob(service, scan_array(LONG), tiny_weights, overlap=0.9).start()
    assert eventually(lambda: job.poll() or any(s == "segmenting" for _, s in job.stages), 60)
    launched = service.worker_pid
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(launched)], capture_output=True, text=True, check=True)
    (python,) = map(int, children.stdout.split())
    service.shutdown()
    assert not job.is_running()
    assert eventually(lambda: not lives(launched) and not lives(python), 2)
    assert list(temporary_folder.iterdir()) == []


# Imports its own package.


@pytest.fixture
def decoys(tmp_path):
    """A folder with an `lvnet` that must not be imported."""
    folder = tmp_path / "decoy"
    (folder / "lvnet" / "worker").mkdir(parents=True)
    for file in (folder / "lvnet" / "__init__.py", folder / "lvnet" / "worker" / "__init__.py"):
        file.write_text("raise SystemExit('the decoy was imported')\n")
    (folder / "numpy.py").write_text("raise SystemExit('the decoy was imported')\n")
    return folder


def test_in_a_clean_environment_and_a_foreign_folder_it_is_the_right_one(raw, decoys):
    worker = raw(env={}, cwd=decoys)
    worker.hear("ready")
    worker.ask(do="torch", id=1)
    worker.hear("result")


def test_an_lvnet_on_the_inherited_path_is_not_taken(raw, decoys):
    (decoys / "numpy.py").unlink()
    worker = raw(env={**os.environ, "PYTHONPATH": str(decoys)}, cwd=decoys)
    worker.ask(do="torch", id=1)
    worker.hear("result")


def test_the_working_directory_of_the_caller_is_of_no_matter(service, decoys, monkeypatch, tiny_weights):
    monkeypatch.chdir(decoys)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", str(decoys / "nothing")]))
    ScanJob(service, scan_array(), tiny_weights).start().wait()


INSTALLED = """
import sys, json
sys.path.insert(0, {folder!r})
from lvnet.checkpoint_summary import checkpoint_summary
from lvnet.worker.client.questions import TorchQuestion
from lvnet.worker.client.service import Service
import lvnet
assert lvnet.__file__.startswith({folder!r}), lvnet.__file__
service = Service()
print(TorchQuestion(service).start().wait()[0], checkpoint_summary()["organs"])
service.shutdown()
"""


@contextlib.contextmanager
def read_only(folder):
    """Makes a folder read-only and wraps commands accordingly: for root only a read-only mount has an effect."""
    paths = [os.path.join(place, name) for place, names, files in os.walk(folder) for name in (*names, *files)]
    if os.getuid():
        for path in (*paths, folder):
            os.chmod(path, 0o555)
        try:
            yield []
        finally:
            for path in (folder, *paths):
                os.chmod(path, 0o755)
        return
    mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && ! touch "$0/x" 2>/dev/null && exec "$@"'
    yield ["unshare", "--mount", "sh", "-c", mount, folder]


def test_it_runs_from_a_read_only_folder_with_spaces_and_letters_of_any_language(tmp_path, log_folder):
    folder = str(tmp_path / "Räntgen 肝臓 scripted modules")
    shutil.copytree(MODULE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    before = sorted(os.walk(folder))
    with read_only(folder) as prefix:
        command = [*prefix, sys.executable, "-c", INSTALLED.format(folder=folder)]
        done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    assert "works" in done.stdout and "['liver']" in done.stdout
    assert sorted(os.walk(folder)) == before


# Results.


def test_the_result_is_what_the_core_finds(service, tiny_weights):
    array = scan_array()
    expected = segment(Volume(array, (3.0, 2.0, 2.0)), weights=tiny_weights, device="cpu")
    answer, mask = ScanJob(service, array, tiny_weights).start().wait()
    (entry,) = answer.classes
    whole = np.zeros(array.shape, np.uint8)
    whole[entry.slices] = mask
    assert np.array_equal(whole, expected.labels.array)
    assert 0 < whole.mean() < 1
    report = answer.report
    assert report["volumes_ml"] == pytest.approx(expected.volumes_ml)
    assert [check["sentence"] for check in report["checks"]] == [check.sentence for check in expected.checks]
    assert report["device"] == "cpu" and report["device_reason"] == "CPU, as requested"
    assert report["compute_path"]["name"] == "PyTorch tiles"
    assert " s with PyTorch tiles on cpu\n" in Path(service.log_path).read_text(encoding="utf-8")


def test_a_scan_without_the_organ_gives_an_empty_class(service, tiny_weights):
    answer, mask = ScanJob(service, np.full((20, 40, 40), -1000, np.int16), tiny_weights).start().wait()
    if answer.report["volumes_ml"]["liver"] == 0:
        assert mask is None
        assert answer.classes[0].box is None


def test_progress_grows_from_start_to_end(service, tiny_weights):
    job = ScanJob(service, scan_array(), tiny_weights).start()
    job.wait()
    shares = [share for share, _ in job.stages]
    assert shares == sorted(shares)
    assert shares[0] == 0.0 and shares[-1] > 0.95
    assert len({stage for _, stage in job.stages}) >= 5


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"weights": "absent.safetensors"}, CheckpointError),
        ({"overlap": 2.0}, ConfigurationError),
        ({"device": "cuda:99"}, DeviceError),
        ({"device": "toaster"}, DeviceError),
    ],
)
def test_what_the_user_can_put_right_keeps_its_kind_and_its_line(service, tiny_weights, changes, kind):
    settings = {"weights": tiny_weights, **changes}
    with pytest.raises(kind) as caught:
        ScanJob(service, scan_array(), **settings).start().wait()
    assert str(caught.value) and "\n" not in str(caught.value)
    # The worker still works.
    pid = service.worker_pid
    ScanJob(service, scan_array(), tiny_weights).start().wait()
    assert service.worker_pid == pid


def test_two_segmentations_at_once_are_refused_and_questions_wait_their_turn(service, tiny_weights):
    first = ScanJob(service, scan_array(), tiny_weights).start()
    second = ScanJob(service, scan_array(), tiny_weights).start()
    question = DevicesQuestion(service).start()
    with pytest.raises(ConfigurationError, match="another segmentation is running"):
        second.wait()
    assert first.is_running()
    assert question.wait()[0][0]["id"] == "cpu"
    first.wait()
    assert not service.is_busy()


# State.


def test_nothing_happens_before_a_job_is_started(service, tiny_weights, temporary_folder):
    job = ScanJob(service, scan_array(), tiny_weights)
    job.poll()
    assert job.state is JobState.NEW and not job.is_running() and not service.is_busy()
    assert service.worker_pid is None and list(temporary_folder.iterdir()) == []
    with pytest.raises(RuntimeError, match="must be started"):
        job.wait()


def test_a_job_goes_through_its_states_and_ends_in_a_final_one(service, tiny_weights):
    seen = []
    job = ScanJob(service, scan_array(), tiny_weights, hook=lambda job, *_: seen.append(job.state)).start()
    assert job.state is JobState.PREPARING
    job.wait()
    assert job.state is JobState.DONE and job.state.final
    assert sorted(set(seen), key=seen.index) == [JobState.PREPARING, JobState.COMPUTING]
    refused = ScanJob(service, scan_array(), tiny_weights)
    busy = ScanJob(service, scan_array(LONG), tiny_weights, overlap=0.9).start()
    assert refused.start().state is JobState.REFUSED
    refused.poll()
    assert refused.state is JobState.FAILED
    busy.cancel()
    assert busy.state is JobState.CANCELLING
    with pytest.raises(Cancelled):
        busy.wait()
    assert busy.state is JobState.CANCELLED


def test_a_refused_job_stands_in_nobodys_way(service, tiny_weights, monkeypatch):
    def fail():
        raise ImageError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(service, "make_exchange", fail)
        refused = ScanJob(service, scan_array(), tiny_weights).start()
    assert refused.state is JobState.REFUSED
    ScanJob(service, scan_array(), tiny_weights).start().wait()
    with pytest.raises(ImageError, match="no room"):
        refused.wait()


def test_messages_are_taken_in_once_a_poll_however_many_jobs_wait(service, tiny_weights, monkeypatch):
    jobs = [ScanJob(service, scan_array(), tiny_weights), TorchQuestion(service), DevicesQuestion(service)]
    pumps = []
    pump = service.pump
    monkeypatch.setattr(service, "pump", lambda: (pumps.append(1), pump()))
    for job in jobs:
        job.start()
    polls = 0
    while any(job.is_running() for job in jobs):
        service.poll()
        polls += 1
        time.sleep(0.01)
    assert [job.state for job in jobs] == [JobState.DONE] * 3
    assert len(pumps) == polls


# Callbacks.


def test_callbacks_come_from_poll_only_and_once(service, tiny_weights):
    calls = []
    job = ScanJob(
        service, scan_array(), "absent.safetensors", on_done=lambda *_: calls.append("done"), on_error=calls.append
    ).start()
    assert calls == []
    while job.is_running():
        service.poll()
        time.sleep(0.01)
    for _ in range(3):
        service.poll()
        job.poll()
    assert len(calls) == 1 and "absent.safetensors" in calls[0]


def test_an_error_before_the_start_comes_from_poll_as_well(service, monkeypatch):
    monkeypatch.setattr("lvnet.worker.client.questions.torch_is_missing", lambda: True)
    calls = []
    job = DevicesQuestion(service, Callbacks(on_error=calls.append)).start()
    assert job.is_running() and calls == []
    service.poll()
    assert not job.is_running()
    assert "PyTorch is not installed" in calls[0]


def test_a_callback_may_wait_for_another_job(service, tiny_weights):
    found = []

    def ask(*_results):
        found.extend(TorchQuestion(service).start().wait())

    ScanJob(service, scan_array(), tiny_weights, on_done=ask).start().wait()
    assert "works" in found[0]


def test_remaining_seconds_are_reported_once_the_pace_is_known(service, tiny_weights):
    seen = []

    class Telling(ScanJob):
        def seen(self, share, stage, remaining):
            seen.append((share, remaining))
            super().seen(share, stage, remaining)

    job = Telling(service, scan_array((200, 72, 72)), tiny_weights, overlap=0.9).start()
    job.wait()
    assert seen[0][1] is None
    assert [remaining for _, remaining in seen if remaining is not None]


# Cancelling.


def test_cancelling_between_two_slabs_takes_no_two_seconds_and_keeps_the_worker(service, tiny_weights):
    job = ScanJob(service, scan_array(LONG), tiny_weights, overlap=0.9).start()
    assert eventually(lambda: job.poll() or any(s == "segmenting" for _, s in job.stages), 90)
    pid, began = service.worker_pid, time.monotonic()
    job.cancel()
    with pytest.raises(Cancelled):
        job.wait()
    assert time.monotonic() - began < 2
    assert service.worker_pid == pid
    ScanJob(service, scan_array(), tiny_weights).start().wait()
    assert service.worker_pid == pid


def test_cancelling_what_cannot_stop_by_itself_ends_the_process_and_starts_another(
    log_folder, temporary_folder, tmp_path, tiny_weights
):
    (tmp_path / "torch.py").write_text("import time\ntime.sleep(600)\n")
    service = Service(folder=lambda: temporary_folder, environment={**os.environ, "PYTHONPATH": str(tmp_path)})
    called = []
    job = ScanJob(service, scan_array(), tiny_weights, on_cancelled=lambda: called.append(1)).start()
    assert eventually(lambda: job.poll() or any(s == "loading PyTorch" for _, s in job.stages), 30)
    pid, began = service.worker_pid, time.monotonic()
    job.cancel()
    with pytest.raises(Cancelled):
        job.wait()
    assert time.monotonic() - began < 2
    assert called == [1]
    assert eventually(lambda: not lives(pid), 1)
    assert service.worker_pid not in (None, pid)
    assert list(temporary_folder.iterdir()) == []
    service.shutdown()


def test_a_cancelled_job_without_a_callback_for_that_says_so_as_an_error(service, tiny_weights):
    calls = []
    job = ScanJob(service, scan_array(LONG), tiny_weights, on_error=calls.append).start()
    job.poll()
    job.cancel()
    with pytest.raises(Cancelled):
        job.wait()
    assert calls == ["cancelled; nothing was changed"]


# Temporary folders.


def test_a_folder_is_segmented_into_a_folder_and_a_bad_scan_does_not_stop_the_rest(
    service, tiny_weights, tmp_path, log_folder
):
    source, target = tmp_path / "scans", tmp_path / "results"
    source.mkdir()
    volume = Volume(scan_array(), (3.0, 2.0, 2.0))
    write_image(volume, source / f"{PATIENT}.nii.gz")
    write_image(volume, source / "second.nrrd")
    (source / "bad.nii.gz").write_bytes(b"no image")
    settings = {"device": "cpu", "weights": tiny_weights, "overlap": None, "postprocess": True, "threads": 1}
    (scans,) = FolderJob(service, str(source), str(target), ".seg.nrrd", settings).start().wait()
    assert [scan["error"] is None for scan in scans] == [True, False, True]
    assert "bad.nii.gz" in scans[1]["error"]
    assert sorted(os.listdir(target)) == [f"{PATIENT}.seg.nrrd", "second.seg.nrrd"]
    expected = segment(volume, weights=tiny_weights, device="cpu").labels.array
    assert np.array_equal(read_labels(target / "second.seg.nrrd").array, expected)
    service.shutdown()
    assert all("Jane" not in path.read_text() for path in log_folder.iterdir())


def test_descriptions_of_series_reach_the_answer_and_no_log(service, tiny_weights, tmp_path, log_folder):
    passes = [
        Pass(20 + 140 * index, evenly(12 - index, 3.0), {"SeriesInstanceUID": f"1.2.3.{index}",
                                                        "SeriesNumber": index + 2, "SeriesDescription": words})
        for index, words in enumerate(("Quokka venous", "Wombat arterial"))
    ]  # fmt: skip
    write_study(tmp_path / "scans" / "study", passes)
    settings = {"device": "cpu", "weights": tiny_weights, "overlap": None, "postprocess": True, "threads": 1}
    ((scan,),) = FolderJob(service, str(tmp_path / "scans"), str(tmp_path / "out"), ".nii.gz", settings).start().wait()
    assert '"Quokka venous", portal venous, 12 slices; also there: series 3 ("Wombat arterial"' in scan["scan_notes"][0]
    asked = {**settings, "series": "emu"}
    ((refused,),) = FolderJob(service, str(tmp_path / "scans"), str(tmp_path / "out"), ".nii.gz", asked).start().wait()
    assert "matches the request" in refused["error"]
    service.shutdown()
    logged = "".join(path.read_text() for path in log_folder.iterdir())
    assert logged.count("a scan of the folder is done") == 2
    assert not any(word in logged for word in ("Quokka", "Wombat", "venous"))


@pytest.mark.parametrize("stage", ["segmenting", "writing"])
def test_a_folder_job_that_is_killed_leaves_no_half_written_file(service, tiny_weights, tmp_path, stage):
    source, target = tmp_path / "scans", tmp_path / "results"
    source.mkdir()
    target.mkdir()
    write_image(Volume(scan_array(LONG), (3.0, 2.0, 2.0)), source / "a.nrrd")
    (target / "mine.txt").write_text("kept")
    settings = {"device": "cpu", "weights": tiny_weights, "overlap": 0.9, "postprocess": True, "threads": 1}
    seen = []
    told = Callbacks(on_progress=lambda share, what, _: seen.append(what))
    job = FolderJob(service, str(source), str(target), ".nii.gz", settings, told).start()
    assert eventually(lambda: job.poll() or any("segmenting" in what for what in seen), 60)
    if stage == "writing":
        (target / f".lvnet-{'0' * 32}.part").write_bytes(b"half")
    os.kill(service.worker_pid, signal.SIGKILL)
    with pytest.raises(ComputationError):
        job.wait()
    assert os.listdir(target) == ["mine.txt"]


def test_a_folder_without_scans_is_one_line(service, tmp_path, tiny_weights):
    settings = {"device": "cpu", "weights": tiny_weights, "overlap": None, "postprocess": True, "threads": None}
    with pytest.raises(ImageError, match="neither DICOM nor scans"):
        FolderJob(service, str(tmp_path), str(tmp_path / "out"), ".nii.gz", settings).start().wait()


# Logs, and the Python that runs the worker.


def test_the_log_tells_the_run_and_is_kept(service, log_folder, tiny_weights):
    ScanJob(service, scan_array(), tiny_weights).start().wait()
    service.shutdown()
    assert eventually(lambda: "ended with" in Path(service.log_path).read_text())
    text = Path(service.log_path).read_text()
    assert "segmenting" in text and "done in" in text
    assert os.stat(service.log_path).st_mode & 0o077 == 0


def test_old_logs_make_room(log_folder):
    for _ in range(logs.KEPT + 5):
        logs.Log().close()
    assert len(list(log_folder.iterdir())) == logs.KEPT


def test_a_log_that_cannot_be_written_stops_nothing(monkeypatch, tmp_path, temporary_folder, tiny_weights):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(logs, "log_folder", lambda: tmp_path / "file" / "logs")
    service = Service(folder=lambda: temporary_folder)
    ScanJob(service, scan_array(), tiny_weights).start().wait()
    assert service.log_path == ""
    service.shutdown()


def test_logs_of_several_threads_are_whole_lines(log_folder):
    log = logs.Log()
    threads = [threading.Thread(target=lambda: [log.write("x" * 50) for _ in range(100)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    log.write("after the end")
    lines = Path(log.path).read_text().splitlines()
    assert len(lines) == 400 and {line[9:] for line in lines} == {"x" * 50}


class Application:
    def __init__(self, home, temporary):
        self.slicerHome, self.temporaryPath = home, temporary


def test_within_slicer_python_slicer_runs_the_worker(monkeypatch, tmp_path):
    import types

    binary = tmp_path / "bin" / "PythonSlicer"
    binary.parent.mkdir()
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    stand_in = types.SimpleNamespace(app=Application(str(tmp_path), str(tmp_path / "tmp")))
    monkeypatch.setitem(sys.modules, "slicer", stand_in)
    monkeypatch.setenv("PATH", str(binary.parent))
    assert pythonslicer.interpreter() == str(binary)
    monkeypatch.setenv("PATH", "")
    assert pythonslicer.interpreter() == str(binary)
    binary.unlink()
    with pytest.raises(ComputationError, match="PythonSlicer was not found"):
        pythonslicer.interpreter()
    assert pythonslicer.temporaryFolder() != str(tmp_path / "tmp")
    (tmp_path / "tmp").mkdir()
    assert pythonslicer.temporaryFolder() == str(tmp_path / "tmp")


def test_outside_slicer_this_python_runs_the_worker(monkeypatch):
    monkeypatch.setitem(sys.modules, "slicer", None)
    assert pythonslicer.interpreter() == sys.executable
    monkeypatch.setattr(sys, "executable", "")
    for find in (pythonslicer.interpreter, this_python):
        with pytest.raises(ComputationError, match="no Python was found"):
            find()


def test_weights_say_what_they_are(tiny_weights):
    assert checkpoint_summary(tiny_weights)["name"] == "tiny"
    bundled = checkpoint_summary()
    assert bundled["organs"] == ["liver"]
    assert bundled["scores"] and bundled["licence"]
    assert "liver" in bundled["summary"] and "\n" not in bundled["summary"]
    with pytest.raises(CheckpointError):
        checkpoint_summary(str(WORKER_FILE))
