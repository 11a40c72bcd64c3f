"""What the tests of the worker share: a tiny network, a scan that takes its time, and a job without Slicer."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from lvnet.recipe import Architecture, Preprocessing, Recipe
from lvnet.worker.exchange import SCAN_FILE, write_array
from lvnet.worker.messages import decode, encode
from LVNetSegmentationLib.remote import RemoteJob
from LVNetSegmentationLib.workerprocess import WORKER_FILE

MODULE = Path(__file__).parents[2] / "LVNetSegmentation"
PATIENT = "Doe^Jane"


def save_tiny_weights(path: Path) -> str:
    """A checkpoint of a network so small that only what is around it takes time."""
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
    """Voxels that a network with random weights calls neither all organ nor all background."""
    y, x = np.mgrid[: shape[1], : shape[2]]
    plane = 200 * np.sin(x / 3.0) * np.cos(y / 4.0)
    return np.stack([plane + 20 * np.sin(z) for z in range(shape[0])]).astype(np.int16)


#: With an overlap of 0.9 this is some 900 slabs, each of which takes even the tiny network a while.
LONG = (900, 72, 72)


class ScanJob(RemoteJob):
    """Segments an array; `onDone` gets the worker's result and the array of the first class."""

    def __init__(self, service, array, weights, device="cpu", **callbacks):
        self.array, self.weights, self.device = array, weights, device
        self.settings = {"overlap": callbacks.pop("overlap", None)}
        self.stages = []
        self.hook = callbacks.pop("hook", None)
        self.exchange = None
        super().__init__(service, True, onProgress=self.seen, **callbacks)

    def seen(self, share, stage, remaining):
        self.stages.append((share, stage))
        if self.hook is not None:
            self.hook(self, share, stage)

    def _begin(self):
        self.exchange = self._service.makeExchange()
        write_array(self.exchange.path / SCAN_FILE, self.array, self.array.shape, self.array.dtype)

    def _message(self):
        place = {"spacing": [3.0, 2.0, 2.0], "origin": [0.0, 0.0, 0.0], "direction": [1, 0, 0, 0, 1, 0, 0, 0, 1]}
        return {"do": "segment", "folder": str(self.exchange.path), "device": self.device, "weights": self.weights,
                **place, **self.settings}  # fmt: skip

    def _results(self, answer):
        entry = answer["classes"][0]
        return answer, None if entry["file"] is None else np.load(self.exchange.path / entry["file"])

    def _clean(self):
        if self.exchange is not None:
            self._service.removeExchange(self.exchange)
        super()._clean()


class Raw:
    """A worker that is spoken to directly."""

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
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def eventually(condition, seconds=5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())
