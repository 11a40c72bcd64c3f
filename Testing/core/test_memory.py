"""Out of memory: smaller tiles, then the CPU, then a one-line error; results are unchanged if memory suffices."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from lvnet import blending, memory
from lvnet.cli import main
from lvnet.errors import DeviceError, ResourceError, is_out_of_memory
from lvnet.inference import Model
from lvnet.memory import IN_TILES, ON_THE_CPU, Computing, readable_memory_errors
from lvnet.network import LVNet
from lvnet.phantom import make_phantom
from lvnet.pipeline.python import segment
from lvnet.recipe import Architecture, Preprocessing, Recipe
from lvnet.slabs import Selection, predict
from lvnet.worker.messages.answers import FailureKind
from lvnet.worker.task_failures import failed

MODULE = Path(__file__).parents[2] / "LVNetSegmentation"
RECIPE = Recipe(
    Architecture(widths=(4, 6, 8), kernel_size=3, expansion=2),
    Preprocessing(window=(-120.0, 240.0), mean=22.0, std=86.0, in_plane_spacing=(3.0, 3.0), slice_spacing=4.0),
)
CPU = torch.device("cpu")
#: A device that is not the CPU, for computers without a GPU: PyTorch's meta device, whose tensors hold no data.
NOT_THE_CPU = torch.device("meta")


class Short(LVNet):
    """A network that runs out of memory above a number of voxels per slice, and always on a device other than the CPU.

    `sizes` records the sizes of the slices that it was given.
    """

    def __init__(self, most: int = 1 << 30) -> None:
        super().__init__(RECIPE.architecture)
        self.most, self.sizes = most, []

    def forward(self, x):
        """Logits."""
        self.sizes.append(tuple(x.shape[-2:]))
        if x.is_meta or x.shape[-1] * x.shape[-2] > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB")
        return super().forward(x)


@pytest.fixture(autouse=True)
def _plain_network(monkeypatch):
    """Switches the acceleration off, so that a copy on the CPU stays this stand-in."""
    monkeypatch.setenv("LVNET_ACCELERATION", "off")


@pytest.fixture(scope="module")
def scan():
    return make_phantom(4, size=(24, 96, 96))[0]


@pytest.fixture(scope="module")
def state():
    """Random weights that label about half of the body as organ."""
    torch.manual_seed(5)
    network = LVNet(RECIPE.architecture)
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(1, 1, 16, 32, 32))
    return network.eval().state_dict()


def model(state, network, device=CPU):
    network.load_state_dict(state)
    return Model(network.eval(), RECIPE, device, "test")


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / max(1, np.count_nonzero(a) + np.count_nonzero(b))


@pytest.fixture(scope="module")
def reference(state, scan):
    result = segment(scan, model=model(state, LVNet(RECIPE.architecture)), postprocess=False)
    assert 0.02 < result.labels.array.mean() < 0.98
    return result.labels.array > 0


def test_where_memory_suffices_every_bit_is_what_the_network_says(state):
    network = model(state, LVNet(RECIPE.architecture))
    slab = np.random.default_rng(1).normal(size=(16, 32, 40)).astype(np.float32)
    computing = Computing(network)
    with torch.inference_mode():
        plain = torch.softmax(network.network(torch.from_numpy(slab)[None, None]), dim=1)[0].numpy()
        assert np.array_equal(computing(slab), plain)
    assert computing.notes == []


def test_a_gpu_that_runs_out_of_memory_gets_smaller_and_smaller_tiles(state, scan, reference):
    network = Short(most=40 * 40)
    result = segment(scan, model=model(state, network), postprocess=False)
    assert IN_TILES in result.notes and ON_THE_CPU not in result.notes
    areas = [height * width for height, width in network.sizes]
    too_large = [area for area in areas if area > network.most]
    # No size is tried twice: the working tile size is kept for later slabs.
    assert len(too_large) >= 2 and too_large == sorted(set(too_large), reverse=True)
    assert max(areas[-3:]) <= network.most
    assert dice(result.labels.array > 0, reference) > 0.98


def test_tiles_see_as_far_as_the_network_does_where_their_halo_reaches(state):
    """With a halo as wide as the receptive field, tiles equal the whole slab up to rounding."""
    network = model(state, LVNet(RECIPE.architecture))
    slab = np.random.default_rng(2).normal(size=(16, 64, 160)).astype(np.float32)
    whole, tiled = Computing(network), Computing(network)
    tiled._tile = (64, 80)
    before, memory._HALO = memory._HALO, 12
    try:
        with torch.inference_mode():
            assert np.abs(whole(slab) - tiled(slab)).max() < 1e-5
    finally:
        memory._HALO = before


def test_a_gpu_too_small_for_any_tile_leaves_the_work_to_the_cpu(state, scan, reference):
    short = model(state, Short(), NOT_THE_CPU)
    result = segment(scan, model=short, postprocess=False)
    assert ON_THE_CPU in result.notes and IN_TILES not in result.notes
    assert dice(result.labels.array > 0, reference) > 0.9999
    # The caller's network is unchanged and stays on its device for the next scan.
    assert len(set(short.network.sizes)) >= 3


def test_where_even_the_cpu_has_too_little_there_is_one_line(state, scan):
    for device in (CPU, NOT_THE_CPU):
        with pytest.raises(DeviceError, match="too little memory on the CPU") as caught:
            segment(scan, model=model(state, Short(most=0), device))
        assert "\n" not in str(caught.value)


def test_an_error_that_is_not_about_memory_is_not_tried_again(state, scan):
    class Broken(Short):
        def forward(self, x):
            self.sizes.append(0)
            raise RuntimeError("a bug")

    network = Broken()
    with pytest.raises(RuntimeError, match="a bug"):
        segment(scan, model=model(state, network))
    assert network.sizes == [0]


def test_predict_tells_what_had_to_be_done_otherwise(state):
    notes = []
    array = np.zeros((16, 64, 64), np.float32)
    predict(array, model(state, Short(most=50 * 64)), notes=notes)
    assert notes == [IN_TILES]


def test_memory_that_runs_out_elsewhere_is_one_line_too(state, scan, monkeypatch, capsys, tmp_path):
    def greedy(*_, **__):
        np.empty(1 << 60, np.uint8)

    monkeypatch.setattr("lvnet.inference.prepare", greedy)
    with pytest.raises(ResourceError, match="too little free memory") as caught:
        segment(scan, model=model(state, LVNet(RECIPE.architecture)))
    assert failed(1, caught.value).kind is FailureKind.USER
    monkeypatch.setattr("lvnet.cli.evaluate.evaluate", greedy)
    (tmp_path / "a.nii").touch()
    assert main(["evaluate", str(tmp_path / "a.nii"), str(tmp_path / "a.nii")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


#: Out-of-memory errors of Python, NumPy, PyTorch on CPU and GPUs, the operating system, C++ and oneDNN.
SHORT = [
    MemoryError(),
    torch.cuda.OutOfMemoryError("Tried to allocate 9.00 GiB"),
    RuntimeError("CUDA out of memory. Tried to allocate 9.00 GiB"),
    RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4096 bytes"),
    RuntimeError("Cannot allocate memory"),
    RuntimeError("std::bad_alloc"),
    RuntimeError("could not create a primitive"),
    RuntimeError("could not execute a primitive"),
]


@pytest.mark.parametrize("error", SHORT, ids=repr)
def test_memory_that_ran_out_is_known_by_what_is_said_wherever_it_is_asked(error):
    assert is_out_of_memory(error)
    assert failed(1, error).kind is FailureKind.MEMORY
    with pytest.raises(ResourceError, match="too little free memory"), readable_memory_errors():
        raise error


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
        RuntimeError("CUDA error: device-side assert triggered"),
        ValueError("a header that says: out of memory"),
        OSError("cannot allocate memory"),
    ],
    ids=repr,
)
def test_other_errors_are_not_taken_for_memory_that_ran_out(error):
    assert not is_out_of_memory(error)
    assert failed(1, error).kind is not FailureKind.MEMORY
    with pytest.raises(type(error), match=re.escape(str(error))), readable_memory_errors():
        raise error


def test_asking_whether_memory_ran_out_needs_no_torch():
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from lvnet.errors import is_out_of_memory\n"
        "assert is_out_of_memory(RuntimeError('could not create a primitive'))\n"
        "assert not is_out_of_memory(RuntimeError('a bug'))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(MODULE)}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)


LIMITED = """
import json, os, resource, sys
import numpy as np, torch
torch.set_num_threads(1)
from lvnet.errors import LVNetError
from lvnet.inference import Model
from lvnet.pipeline.python import segment
from lvnet.network import LVNet
from lvnet.phantom import make_phantom
from lvnet.recipe import Architecture, Preprocessing, Recipe
recipe = Recipe(
    Architecture(widths=(16, 16), kernel_size=3, expansion=4),
    Preprocessing(window=(-120.0, 240.0), mean=22.0, std=86.0, in_plane_spacing=(4.0, 4.0), slice_spacing=12.0),
)
torch.manual_seed(5)
network = LVNet(recipe.architecture)
with torch.no_grad():
    network(torch.randn(1, 1, 16, 32, 32))
model = Model(network.eval(), recipe, torch.device("cpu"), "test")
scan = make_phantom(4, size=(16, 64, 64))[0]
used = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
for megabytes in [None, *map(int, sys.argv[1:])]:
    read, write = os.pipe()
    if not os.fork():
        if megabytes is not None:
            resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 2**20,) * 2)
        try:
            result = segment(scan, model=model, postprocess=False, overlap=0.0)
            answer = {"notes": result.notes, "organ": int(result.labels.array.sum())}
            if megabytes is None:
                np.save(os.environ["WHOLE"], result.labels.array)
            else:
                whole = np.load(os.environ["WHOLE"]) > 0
                found = result.labels.array > 0
                answer["dice"] = float(2 * (whole & found).sum() / (whole.sum() + found.sum()))
        except LVNetError as error:
            answer = {"refused": str(error)}
        os.write(write, json.dumps([megabytes, answer]).encode())
        os._exit(0)
    os.close(write)
    assert os.wait()[1] == 0, megabytes
    print(os.read(read, 65536).decode())
    os.close(read)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of the address space are kept on Linux only")
def test_a_process_with_less_and_less_memory_takes_tiles_and_then_says_so(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(MODULE), "LVNET_ACCELERATION": "off", "OMP_NUM_THREADS": "1",
                   "WHOLE": str(tmp_path / "whole.npy")}  # fmt: skip
    command = [sys.executable, "-c", LIMITED, "1000", "250", "150", "1"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers = dict(json.loads(line) for line in done.stdout.splitlines())
    assert answers[1000]["dice"] > 0.999 and IN_TILES not in answers[1000]["notes"]
    tiled = [answer for answer in answers.values() if IN_TILES in answer.get("notes", ())]
    assert tiled and all(answer["dice"] > 0.95 for answer in tiled), answers
    assert "memory" in answers[1]["refused"] and "\n" not in answers[1]["refused"], answers


@pytest.mark.parametrize("chosen", [None, Selection((0, 8, 21), slice(4, 32), slice(8, 48))], ids=["all", "a part"])
def test_what_is_blended_on_a_device_is_bit_by_bit_what_is_blended_in_memory(state, monkeypatch, chosen):
    network = model(state, LVNet(RECIPE.architecture))
    array = np.random.default_rng(3).normal(size=(45, 37, 50)).astype(np.float32)

    def predicted():
        spread = np.zeros((1, *array.shape), np.float32)
        return predict(array, network, 0.5, spread=spread, selection=chosen), spread

    in_memory, added, add = predicted(), [], blending.BlendOnDevice.add
    monkeypatch.setattr(blending, "keeps_voxels", lambda device: True)
    monkeypatch.setattr(blending.BlendOnDevice, "add", lambda *a: added.append(1) or add(*a))
    on_device = predicted()
    assert len(added) > 2 and in_memory[1].max() > 0
    assert all(np.array_equal(one, other) for one, other in zip(in_memory, on_device))


def test_a_device_that_runs_out_of_memory_on_the_way_loses_no_slab(state, monkeypatch):
    """The first slabs are blended on the device, the others in main memory."""
    network = model(state, LVNet(RECIPE.architecture))
    array = np.random.default_rng(4).normal(size=(45, 32, 40)).astype(np.float32)
    wanted = predict(array, network)
    monkeypatch.setattr(blending, "keeps_voxels", lambda device: True)
    add, types = blending.BlendOnDevice.add, iter(["cpu", "cpu", "cuda", "cuda"])

    class Elsewhere:
        def __init__(self, tensor):
            self.tensor, self.device = tensor, torch.device(next(types))
            self.cpu = tensor.cpu

        def __getitem__(self, index):
            return self.tensor[index]

    monkeypatch.setattr(blending.BlendOnDevice, "add", lambda self, found, *a: add(self, Elsewhere(found), *a))
    assert np.array_equal(predict(array, network), wanted)
    assert next(types) == "cuda"  # nothing was added on the device after the change


def test_without_room_for_the_sums_on_a_device_they_are_made_in_memory(state, monkeypatch):
    def full(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB")

    network = model(state, LVNet(RECIPE.architecture))
    array = np.random.default_rng(5).normal(size=(20, 32, 40)).astype(np.float32)
    wanted = predict(array, network)
    monkeypatch.setattr(blending, "keeps_voxels", lambda device: True)
    monkeypatch.setattr(blending, "BlendOnDevice", full)
    assert np.array_equal(predict(array, network), wanted)
