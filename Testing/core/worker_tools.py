"""Shared helpers of the worker tests: a tiny network, a scan that takes a while, and a job without Slicer."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict

import numpy as np
from lvnet.pipeline.options import SegmentOptions
from lvnet.recipe import Architecture, Preprocessing, Recipe
from lvnet.worker.client.job import Callbacks
from lvnet.worker.client.process import WORKER_FILE
from lvnet.worker.client.remote_job import RemoteJob
from lvnet.worker.exchange import SCAN_FILE, write_array
from lvnet.worker.messages import decode, encode
from lvnet.worker.messages.place import Place
from lvnet.worker.messages.requests import SegmentRequest
from lvnet.worker.messages.results import SegmentResult

MODULE = Path(__file__).parents[2] / "LVNetSegmentation"
PATIENT = "Doe^Jane"


def save_tiny_weights(path: Path) -> str:
    """A checkpoint of a network so small that its own run time is negligible."""
    import torch
    from lvnet.checkpoint import save_checkpoint
    from lvnet.network import LVNet

    recipe = Recipe(
        architecture=Architecture(widths=(4, 6, 8, 8, 10), kernel_size=3, expansion=1),
        preprocessing=Preprocessing(mean=0.0, std=100.0, in_plane_spacing=(2.0, 2.0), slice_spacing=3.0),
        name="tiny",
    )
    torch.manual_seed(3)
    save_checkpoint(path, LVNet(recipe.architecture).state_dict(), recipe)
    return str(path)


def scan_array(shape=(30, 60, 64)) -> np.ndarray:
    """Voxels for which a network with random weights predicts both organ and background."""
    y, x = np.mgrid[: shape[1], : shape[2]]
    plane = 200 * np.sin(x / 3.0) * np.cos(y / 4.0)
    return np.stack([plane + 20 * np.sin(z) for z in range(shape[0])]).astype(np.int16)


#: With an overlap of 0.9 these are about 900 slabs, which take a while even with the tiny network.
LONG = (900, 72, 72)


PLACE = Place((3.0, 2.0, 2.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


@dataclass(frozen=True)
class UncheckedRequest(SegmentRequest):
    """A request whose settings are checked only by the worker."""

    unchecked: Dict[str, Any] = field(default_factory=dict)

    def to_fields(self):
        return {**super().to_fields(), **self.unchecked}


class ScanJob(RemoteJob):
    """Segments an array; `on_done` gets the worker's result and the array of the first class."""

    computes = True
    result_type = SegmentResult

    def __init__(self, service, array, weights, device="cpu", overlap=None, hook=None, **callbacks):
        super().__init__(service, Callbacks(on_progress=self.seen, **callbacks))
        self.array = array
        self.settings = {"weights": weights, "device": device, "overlap": overlap}
        self.stages = []
        self.hook = hook
        self.exchange = None

    def seen(self, share, stage, remaining):
        self.stages.append((share, stage))
        if self.hook is not None:
            self.hook(self, share, stage)

    def _begin(self):
        self.exchange = self._service.make_exchange()
        write_array(self.exchange.path / SCAN_FILE, self.array, self.array.shape, self.array.dtype)

    def _request(self):
        return UncheckedRequest(str(self.exchange.path), PLACE, SegmentOptions(), self.settings)

    def _results(self, result):
        entry = result.classes[0]
        return result, None if entry.file is None else np.load(self.exchange.path / entry.file)

    def _clean(self):
        if self.exchange is not None:
            self._service.remove_exchange(self.exchange)
        super()._clean()


class Raw:
    """A worker that the test communicates with directly."""

    def __init__(self, *options, executable=sys.executable, script=WORKER_FILE, **popen):
        self.process = subprocess.Popen(
            [executable, str(script), *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, **popen,
        )  # fmt: skip

    def ask(self, **message):
        self.process.stdin.write(encode(message))
        self.process.stdin.flush()

    def hear(self, kind):
        """The next message of that kind."""
        for line in self.process.stdout:
            message = decode(line)
            assert message is not None, line
            if message["type"] == kind:
                return message
        raise AssertionError(f"no {kind}: {self.process.stderr.read()}")

    def end(self):
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(OSError):
                stream.close()


def lives(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    try:
        os.kill(pid, 0)
        return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:  # also while it is read
        return False


def eventually(condition, seconds=5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())
