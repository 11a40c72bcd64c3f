"""Failures of the worker: each gives one readable sentence and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lvnet.errors import ComputationError, DependencyError, DeviceError, LVNetError, ResourceError
from lvnet.worker.client.error_sentences import error_of, error_of_exit
from lvnet.worker.client.job import Callbacks
from lvnet.worker.client.process import WorkerProcess
from lvnet.worker.client.questions import DevicesQuestion, TorchQuestion
from lvnet.worker.client.service import Service
from lvnet.worker.messages.answers import Exit, FailureKind, Ready
from lvnet.worker.task_failures import TorchError, failed
from worker_tools import LONG, MODULE, ScanJob, eventually, lives, scan_array


def with_torch(folder: Path, text: str) -> dict:
    """An environment in which `import torch` runs this text."""
    folder.mkdir(exist_ok=True)
    (folder / "torch.py").write_text(text, encoding="utf-8")
    return {**os.environ, "PYTHONPATH": str(folder)}


@pytest.fixture
def start(log_folder, temporary_folder):
    """Starts services that are shut down after the test."""
    made = []

    def make(**options):
        made.append(Service(folder=lambda: temporary_folder, **options))
        return made[-1]

    yield make
    for service in made:
        service.shutdown()
    assert list(temporary_folder.iterdir()) == []


def sentence_of(job) -> str:
    calls = []
    job._callbacks = Callbacks(on_error=calls.append)
    with pytest.raises(LVNetError):
        job.start().wait()
    (sentence,) = calls
    assert "\n" not in sentence and len(sentence) < 500, sentence
    return sentence


# Killed at every stage.

STAGES = ("loading PyTorch", "loading the network", "preparing the scan", "segmenting", "checking the result")


@pytest.mark.parametrize("stage", ["starting", *STAGES])
def test_a_worker_that_is_killed_is_reported_and_the_next_job_works(start, temporary_folder, tiny_weights, stage):
    service = start()

    def kill(job, share, now):
        if now == stage and stage in STAGES:
            os.kill(job._service.worker_pid, signal.SIGKILL)

    # Long enough to be killed half-way, or short enough to finish.
    array, overlap = (scan_array(LONG), 0.9) if stage == "segmenting" else (scan_array(), None)
    job = ScanJob(service, array, tiny_weights, hook=kill, overlap=overlap).start()
    if stage == "starting":
        assert eventually(lambda: job.poll() or service.worker_pid, 20)
        os.kill(service.worker_pid, signal.SIGKILL)
    messages = []
    job._callbacks = replace(job._callbacks, on_error=messages.append)
    while job.is_running():
        job.poll()
        time.sleep(0.01)
    # In the last stage the result may already have been sent.
    assert messages or stage == "checking the result"
    for sentence in messages:
        assert "ended from outside" in sentence and "memory" in sentence and service.log_path in sentence
    assert list(temporary_folder.iterdir()) == []
    ScanJob(service, scan_array(), tiny_weights).start().wait()


def test_shutting_down_in_the_midst_leaves_nothing(start, temporary_folder, tiny_weights):
    service = start()
    job = ScanJob(service, scan_array(LONG), tiny_weights, overlap=0.9).start()
    assert eventually(lambda: job.poll() or any(s == "segmenting" for _, s in job.stages), 90)
    pid, began = service.worker_pid, time.monotonic()
    service.shutdown()
    assert time.monotonic() - began < 2
    assert not job.is_running() and not lives(pid)
    assert list(temporary_folder.iterdir()) == []
    service.shutdown()


# PyTorch.


def test_a_torch_that_cannot_be_loaded_is_reported_with_its_reason(start, tmp_path, tiny_weights):
    reason = "[WinError 126] The specified module could not be found. Error loading c10.dll"
    service = start(environment=with_torch(tmp_path / "broken", f"raise OSError({reason!r})"))
    for job in (TorchQuestion(service), ScanJob(service, scan_array(), tiny_weights)):
        sentence = sentence_of(job)
        assert "cannot be loaded" in sentence and "c10.dll" in sentence and "PyTorch Utils" in sentence
    # Its files can be replaced, since no process uses them any more.
    assert eventually(lambda: service.worker_pid is None)


@pytest.mark.parametrize("text", ["", "raise RuntimeError", "__version__ = None\ndef get_num_threads(): return 1"])
def test_half_a_torch_is_a_broken_one(start, tmp_path, text):
    service = start(environment=with_torch(tmp_path / "half", text))
    assert "cannot be loaded" in sentence_of(TorchQuestion(service)) or text.startswith("__version__")


def test_a_torch_that_is_mended_works_without_a_restart_of_slicer(start, tmp_path):
    environment = with_torch(tmp_path / "broken", "raise ImportError('half removed')")
    service = start(environment=environment)
    assert "half removed" in sentence_of(TorchQuestion(service))
    (tmp_path / "broken" / "torch.py").unlink()
    assert "works" in TorchQuestion(service).start().wait()[0]


def test_an_old_torch_is_reported(start, tmp_path):
    service = start(environment=with_torch(tmp_path / "old", "__version__ = '1.13.1'"))
    assert "1.13.1 is too old" in sentence_of(TorchQuestion(service))


def test_a_torch_that_crashes_is_reported_with_its_last_words(start, tmp_path):
    text = "import sys, os\nfor i in range(2000): print('line', i, file=sys.stderr)\nprint('bad é', file=sys.stderr)\n"
    service = start(environment=with_torch(tmp_path / "crash", text + "sys.stderr.flush()\nos._exit(7)"))
    sentence = sentence_of(TorchQuestion(service))
    # The output that was left in the pipe has been read.
    assert "exit code 7" in sentence and "bad é" in sentence and "PyTorch cannot be loaded" in sentence
    assert "line 1999" in Path(service.log_path).read_text()
    text = "import os, signal\nos.write(2, b'caf\\xe9 \\xff')\nos.kill(os.getpid(), signal.SIGSEGV)"
    service = start(environment=with_torch(tmp_path / "segv", text))
    assert "SIGSEGV" in sentence_of(TorchQuestion(service))


def test_without_torch_it_says_where_to_get_it(start, tmp_path, monkeypatch):
    """A separate Python with all packages except PyTorch; since this Python has PyTorch, Apply would not install it."""
    import SimpleITK  # noqa: F401

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "python")], check=True)
    packages = tmp_path / "packages"
    packages.mkdir()
    site = Path(np.__file__).parents[1]
    for name in ("numpy", "numpy.libs", "scipy", "scipy.libs", "SimpleITK"):
        if (site / name).exists():
            (packages / name).symlink_to(site / name)
    service = start(
        python=lambda: str(tmp_path / "python" / "bin" / "python"),
        environment={**os.environ, "PYTHONPATH": str(packages)},
    )
    hidden = sentence_of(TorchQuestion(service))
    assert "finds PyTorch" in hidden and "PythonSlicer does not" in hidden
    assert "click Apply" not in hidden
    monkeypatch.setattr("lvnet.worker.client.error_sentences.torch_is_missing", lambda: True)
    assert "PyTorch is not installed" in sentence_of(TorchQuestion(service))


# Disk and memory.


def test_a_full_disk_while_the_result_is_written_is_reported(start, tmp_path, tiny_weights, temporary_folder):
    """The worker may write files of up to 8 KiB, and its result is larger."""
    limited = tmp_path / "limited"
    limited.write_text(f'#!/bin/sh\nulimit -f 8\nexec "{sys.executable}" "$@"\n')
    limited.chmod(0o755)
    service = start(python=lambda: str(limited))
    sentence = sentence_of(ScanJob(service, scan_array((60, 120, 120)), tiny_weights))
    assert "full" in sentence and "free some space" in sentence
    assert list(temporary_folder.iterdir()) == []


FULL = """
import resource, sys
sys.path[:0] = [{module!r}, {tools!r}]
from worker_tools import ScanJob, scan_array
from lvnet.worker.client.service import Service
from lvnet.errors import ResourceError
service = Service(folder=lambda: {folder!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    ScanJob(service, scan_array((60, 120, 120)), {weights!r}).start().wait()
except ResourceError as error:
    print(error)
service.shutdown()
"""


def test_a_full_disk_while_the_scan_is_handed_over_is_reported(tiny_weights, temporary_folder, log_folder):
    names = {"module": str(MODULE), "tools": os.path.dirname(__file__), "folder": str(temporary_folder)}
    script = FULL.format(weights=tiny_weights, **names)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "is full; free some space there" in done.stdout
    assert list(temporary_folder.iterdir()) == []


def test_a_folder_for_temporary_files_that_is_not_there_is_reported(log_folder, tmp_path, tiny_weights):
    service = Service(folder=lambda: tmp_path / "absent")
    sentence = sentence_of(ScanJob(service, scan_array(), tiny_weights))
    assert "no temporary files can be written" in sentence and "absent" in sentence
    service.shutdown()


def test_a_python_that_is_not_there_is_reported(start):
    service = start(python=lambda: "/nowhere/PythonSlicer")
    sentence = sentence_of(TorchQuestion(service))
    assert "cannot be started" in sentence and "/nowhere/PythonSlicer" in sentence


@pytest.mark.parametrize(
    ("error", "kind", "wanted", "words"),
    [
        (MemoryError(), FailureKind.MEMORY, ResourceError, "close other programs"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), FailureKind.MEMORY, ResourceError, "crop"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), FailureKind.MEMORY, ResourceError, "CPU"),
        (RuntimeError("CUDA error: no kernel image is available"), FailureKind.DEVICE, DeviceError, "choose the CPU"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED"), FailureKind.DEVICE, DeviceError, "choose the CPU"),
        (OSError(28, "No space left on device"), FailureKind.DISK, ResourceError, "free some space"),
        (ValueError("a bug"), FailureKind.BUG, ComputationError, "report"),
        (DeviceError("the device 'cuda' cannot be used"), FailureKind.USER, DeviceError, "cuda"),
        (TorchError(FailureKind.TORCH_BROKEN, "no c10"), FailureKind.TORCH_BROKEN, DependencyError, "no c10"),
    ],
)
def test_every_failure_has_a_kind_and_a_sentence_that_says_what_to_do(error, kind, wanted, words):
    answer = failed(1, error)
    assert answer.kind is kind
    error = error_of(answer, "/logs/a.log")
    assert type(error) is wanted
    assert words in str(error) and "\n" not in str(error)


def test_after_an_error_of_the_gpu_the_worker_is_replaced(start, tmp_path):
    """A process whose CUDA has failed cannot use the GPU again."""
    (tmp_path / "sitecustomize.py").write_text(
        "import torch\ndef fail(): raise RuntimeError('CUDA error: unspecified launch failure')\n"
        "torch.cuda.is_available = fail\n"
    )
    service = start(environment={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert "the GPU failed (CUDA error" in sentence_of(DevicesQuestion(service))
    pid = service.worker_pid
    assert "the GPU failed" in sentence_of(DevicesQuestion(service))
    assert pid is None or not lives(pid)


def test_exits_are_reported_by_what_they_mean():
    killed = str(error_of_exit(Exit(-9, ["noise"]), "segmenting", "/logs/a.log"))
    assert "memory" in killed and "while segmenting" in killed and "/logs/a.log" in killed
    windows = str(error_of_exit(Exit(0xC0000005, ["Fatal Python error", "  frame"]), "", ""))
    assert "0xC0000005" in windows and "Fatal Python error" in windows and "no log could be written" in windows


def test_a_worker_that_says_nothing_any_more_is_ended_all_the_same(log_folder, tmp_path):
    """A stopped process neither answers nor ends when asked to."""
    process = WorkerProcess()
    process.start()
    assert eventually(lambda: any(isinstance(answer, Ready) for answer in process.receive()), 20)
    os.kill(process.pid, signal.SIGSTOP)
    began = time.monotonic()
    process.stop()
    assert time.monotonic() - began < 3
    assert not process.is_alive()
    assert eventually(lambda: any(isinstance(answer, Exit) for answer in process.receive()))
