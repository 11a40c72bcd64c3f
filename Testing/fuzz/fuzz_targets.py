"""The fuzzing targets: how payloads are generated, and how each one is processed.

`Target.payloads` is used in the main process, `Target.run` in a child, where a crash is just a finding.  `run` returns
"valid" or "refused"; any exception is a finding.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import shutil
import signal
import time
import zipfile
from pathlib import Path
from typing import Any, Dict, List

import fuzz_seeds as seeds
import numpy as np
import yaml
from fuzz_mutations import altered, damaged, edits, odd_edits
from hypothesis import strategies as st

KINDS = list(seeds.SCANS)
#: Number of bytes at the beginning of a file where most damage goes.
_HEAD = {"nii": 352, "nii in gz": 352, "nii.gz": 40, "nrrd": 500, "nrrd.gz": 500, "labels": 500, "layers": 700,
         "mha": 400, "mha.z": 400, "mhd": 400}  # fmt: skip
#: A slice that is read as a single file is damaged from its element Rows on.
_ROWS = b"\x28\0\x10\0"


class WrongResultError(AssertionError):
    """A wrong result that was returned to the caller."""


# Strategies: the first byte of a payload is its kind ------------------------------------------------------------------


def reader_payloads() -> st.SearchStrategy[bytes]:
    """Damaged scans and label maps."""
    whole = seeds.scans()

    def make(kind: int, changes: Any) -> bytes:
        name, data, start = KINDS[kind], whole[KINDS[kind]], 0
        if name.startswith("alone"):
            start = data.index(_ROWS)
        return bytes([kind]) + data[:start] + damaged(data[start:], changes, _HEAD.get(name, 900 if not start else 400))

    return st.builds(make, st.integers(0, len(KINDS) - 1), edits())


def weights_payloads() -> st.SearchStrategy[bytes]:
    """Damaged checkpoints, recipes, runs, and the pickled part of runs."""
    safetensors, run = seeds.checkpoint(), seeds.run_file()
    length = int.from_bytes(safetensors[:8], "little")
    with zipfile.ZipFile(io.BytesIO(run)) as archive:
        pickled = archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
    return st.one_of(
        st.builds(lambda c: b"\0" + damaged(safetensors, c, 8 + length), edits()),
        st.builds(lambda c: b"\1" + seeds.as_json(altered(seeds.RECIPE, c)), odd_edits()),
        st.builds(lambda c: b"\1" + damaged(seeds.as_json(seeds.RECIPE), c, 1000), edits()),
        st.builds(lambda c: b"\2" + damaged(run, c, 3000), edits()),
        st.builds(lambda c: b"\3" + damaged(pickled, c, len(pickled)), edits()),
    )


def protocol_payloads() -> st.SearchStrategy[bytes]:
    """Lines to the worker: requests with other values, damaged lines, and random bytes; FOLDER is a placeholder."""
    requests = seeds.requests("FOLDER")
    one = st.one_of(
        st.builds(lambda r, c: seeds.as_json(altered(r, c)), st.sampled_from(requests), odd_edits()),
        st.builds(lambda r, c: seeds.as_json(altered(r, c)), st.sampled_from(requests[:2]), odd_edits(1)),
        st.builds(lambda r, c: damaged(seeds.as_json(r), c, 400), st.sampled_from(requests), edits()),
        st.binary(max_size=60),
        st.builds(lambda n: b"[" * n, st.integers(1, 5000)),
    )
    scan = _npy()
    lines = st.lists(one, min_size=1, max_size=3).map(b"\n".join)
    sound = seeds.as_json(requests[0])
    return st.one_of(
        lines.map(lambda text: b"\0" + text),
        st.builds(lambda c: b"\1" + damaged(scan, c, 128) + b"SPLIT" + sound, edits()),
    )


def config_payloads() -> st.SearchStrategy[bytes]:
    """Training settings with other values, and damaged text."""
    settings = seeds.config()
    text = yaml.safe_dump(settings).encode()
    bombs = [
        b"a: &a [1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b]\ntrust: {x: *c}\n",
        b"[" * 3000, b"{a: " * 2000, b"base: /dev/zero\n", b"base: .\n", b"base: c.yaml\n", b"trust: &t {x: *t}\n",
        b"seed: " + b"9" * 5000, b"seed: .inf\n", b"seed: 2001-99-99\n", b"!!python/object/apply:os.system ['true']\n",
    ]  # fmt: skip
    return st.one_of(
        st.builds(lambda c: yaml.safe_dump(altered(settings, c)).encode("utf-8", "surrogatepass"), odd_edits()),
        st.builds(lambda c: damaged(text, c, len(text)), edits()),
        st.builds(lambda b, c: b + damaged(text, c, len(text)), st.sampled_from(bombs), edits(1)),
        st.builds(lambda b: text + b"\n" + b, st.sampled_from(bombs)),
        # Also the unchanged text, so that even a short run includes a valid one.
        st.just(text),
    )


def _npy() -> bytes:
    file = io.BytesIO()
    np.save(file, seeds.voxels())
    return file.getvalue()


# In the child ---------------------------------------------------------------------------------------------------------


class Reader:
    """The readers of scans and label maps."""

    payloads = staticmethod(reader_payloads)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.series = seeds.dicom_series()
        (folder / "scan.raw").write_bytes(seeds.voxels().tobytes())

    def run(self, payload: bytes) -> str:
        """Writes the file and reads it."""
        from lvnet.image_io import read_image, read_labels, read_segments

        kind, data = KINDS[payload[0] % len(KINDS)], payload[1:]
        place = self.folder
        if kind.startswith(("dicom", "alone")):
            place = self.folder / "series"
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            for index, whole in enumerate(self.series[kind[5:]]):
                if kind.startswith("dicom") and kind != "dicom enhanced":
                    (place / f"{index}.dcm").write_bytes(whole)
        path = place / seeds.SCANS[kind]
        path.write_bytes(gzip.compress(data, 1) if kind == "nii in gz" else data)
        before = _listing(self.folder)
        try:
            if kind in ("labels", "layers"):
                check_volume(read_labels(path))
                check_volume(read_segments(path))
            else:
                check_volume(read_image(path if place == self.folder else place))
        finally:
            if _listing(self.folder) != before:
                raise WrongResultError(f"reading wrote files: {_listing(self.folder)}")
            path.unlink()
        return "valid"


def _listing(folder: Path) -> List[str]:
    return sorted(str(path) for path in folder.rglob("*"))


def check_volume(volume: Any) -> None:
    """Properties of every scan and label map that a reader returns."""
    array = volume.array
    if array.ndim != 3 or not array.size or array.dtype.kind not in "iuf" or not array.dtype.isnative:
        raise WrongResultError(f"voxels of {array.dtype} in {array.shape}")
    if not np.isfinite(array[:: max(1, len(array) // 8)]).all():
        raise WrongResultError("voxels that are not finite")
    numbers = (*volume.spacing, *volume.origin, *volume.direction)
    if not np.isfinite(numbers).all() or min(volume.spacing) <= 0:
        raise WrongResultError(f"grid {numbers}")
    if abs(np.linalg.det(volume.direction_matrix)) < 1e-6:
        raise WrongResultError(f"directions {volume.direction}")
    if any("\n" in note for note in volume.notes):
        raise WrongResultError(f"notes {volume.notes}")


class Weights:
    """The loaders of checkpoints and run files."""

    payloads = staticmethod(weights_payloads)

    def __init__(self, folder: Path) -> None:
        import torch
        from lvnet.safetensors_format import parse_safetensors

        self.folder = folder
        self.arrays, self.metadata = parse_safetensors(seeds.checkpoint())
        self.run_file = seeds.run_file()
        self.config = seeds.load(folder, seeds.config())
        self.cpu = torch.device("cpu")

    def run(self, payload: bytes) -> str:
        """Writes the file, loads it, and builds and uses its network."""
        import torch
        from lvnet import checkpoint
        from lvnet.safetensors_format import encode_safetensors
        from lvnet_training.state import Run

        kind, data = payload[0], payload[1:]
        path = self.folder / ("w.safetensors" if kind < 2 else "last.pt")
        if kind == 1:
            text = data.decode("utf-8", "replace")
            checksum = checkpoint._checksum(text, self.arrays)
            data = encode_safetensors(self.arrays, {**self.metadata, "recipe": text, "checksum": checksum})
        if kind == 3:
            data = self._with_pickle(data)
        path.write_bytes(data)
        if kind >= 2:
            run = Run.start(self.config, self.cpu)
            run.restore(path)
            if not (run.epoch >= 0 and isinstance(run.best_dice, float) and run.best_dice == run.best_dice):
                raise WrongResultError(f"epoch {run.epoch}, DICE {run.best_dice}")
            run.averaged_network()
            run.optimiser.zero_grad()
            sum(p.square().sum() for p in run.network.parameters()).backward()
            run.optimiser.step()
            return "valid"
        loaded = checkpoint.load_checkpoint(path)
        network = loaded.build()
        json.dumps(loaded.recipe.to_dict(), allow_nan=False)
        from lvnet.inference import Model
        from lvnet.pipeline.python import segment
        from lvnet.volume import Volume

        settings = loaded.recipe.preprocessing
        steps = [*(settings.in_plane_spacing or (1,)), settings.slice_spacing or 1]
        if settings.slab_depth * np.prod(settings.in_plane_size) <= 4 * 256**2 and min(steps) > 1:
            with torch.inference_mode():
                result = segment(
                    Volume(seeds.voxels(), (2.5, 0.8, 0.7)), model=Model(network, loaded.recipe, self.cpu, "")
                )
            check_volume(result.labels)
        return "valid"

    def _with_pickle(self, data: bytes) -> bytes:
        result = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(self.run_file)) as old, zipfile.ZipFile(result, "w") as new:
            for entry in old.infolist():
                new.writestr(entry.filename, data if entry.filename.endswith("data.pkl") else old.read(entry))
        return result.getvalue()


class Protocol:
    """The worker: it answers every input and keeps running."""

    payloads = staticmethod(protocol_payloads)

    def __init__(self, folder: Path) -> None:
        import torch
        from lvnet.image_io import write_image
        from lvnet.volume import Volume

        torch.set_num_threads(1)
        self.folder = folder / "lvnet-exchange-fuzz"
        self.folder.mkdir()
        (self.folder / "w.safetensors").write_bytes(seeds.checkpoint())
        (self.folder / "in").mkdir()
        write_image(Volume(seeds.voxels(), (2.5, 0.8, 0.7)), self.folder / "in" / "ct.nii.gz")
        self.scan = _npy()

    def run(self, payload: bytes) -> str:
        """Sends the lines; every answer must be a result or a refusal, and the next request must be answered."""
        from lvnet.worker.messages import MessageWriter, decode
        from lvnet.worker.server import Server

        kind, data = payload[0], payload[1:]
        scan = self.scan
        if kind == 1:
            scan, _, data = data.partition(b"SPLIT")
        (self.folder / "scan.npy").write_bytes(scan)
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        answers: List[Dict[str, Any]] = []
        try:
            server = Server(MessageWriter(writing), idle_seconds=0.0)
            for line in data.replace(b"FOLDER", str(self.folder).encode()).split(b"\n"):
                server.take(line)
            server.take(b'{"do": "torch", "id": "last"}')
            server.run()
            with contextlib.suppress(BlockingIOError):
                text = os.read(reading, 1 << 20)
        finally:
            os.close(reading)
            os.close(writing)
        for line in text.splitlines():
            answer = decode(line)
            if answer is None:
                raise WrongResultError(f"no message: {line[:200]!r}")
            answers.append(answer)
        for answer in answers:
            if answer["type"] == "error" and answer["kind"] not in ("user", "memory"):
                raise WrongResultError(f"{answer['kind']}: {answer.get('details', answer['message'])}")
        if not any(a["type"] == "result" and a["id"] == "last" for a in answers):
            raise WrongResultError("the next request was not answered")
        return "valid" if all(a["type"] != "error" for a in answers) else "refused"


class Config:
    """The parser of configurations."""

    payloads = staticmethod(config_payloads)

    def __init__(self, folder: Path) -> None:
        self.path = folder / "c.yaml"

    def run(self, payload: bytes) -> str:
        """Reads the settings and uses them as a run would."""
        import torch
        from lvnet_training.config import load_config
        from lvnet_training.state import Run

        self.path.write_bytes(payload)
        config = load_config(self.path)
        if len(config.digest) != 64:
            raise WrongResultError("no digest")
        json.dumps(config.recipe({"date": "today"}).to_dict(), allow_nan=False)
        for epoch in range(min(config.epochs, 3)):
            config.stage_of(epoch)
        shape = config.architecture
        if max(*shape.widths, 8 * shape.kernel_size, 8 * shape.expansion, 8 * shape.classes) <= 64:
            Run.start(config, torch.device("cpu"))
        return "valid"


class Broken:
    """Has every kind of error that the fuzzer must find; used only by the fuzzer's own test."""

    def __init__(self, folder: Path) -> None:
        pass

    def run(self, payload: bytes) -> str:
        """Triggers the error that the payload names."""
        if payload == b"raise":
            raise ZeroDivisionError
        if payload == b"crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if payload == b"write":
            Path("left").touch()
        if payload == b"memory":
            np.ones(900 * 2**17).sum()
        if payload == b"hang":
            time.sleep(60)
        return "valid"


TARGETS = {"reader": Reader, "weights": Weights, "protocol": Protocol, "config": Config}
#: All targets.
SUBJECTS = {**TARGETS, "broken": Broken}
