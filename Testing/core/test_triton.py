"""The GPU's Triton convolution: tested without a GPU; without Triton, everything works as before.

Triton's interpreter checks the numbers on the CPU, and the kernels are compiled to GPU machine code.  Neither tests
their speed.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from lvnet.acceleration import accelerate, swapping
from lvnet.acceleration.gpu import depthwise as depthwise_cuda
from lvnet.acceleration.gpu import launches
from lvnet.acceleration.gpu.modules import TritonDepthwiseConv3d
from lvnet.acceleration.gpu.precision import inference_precision
from lvnet.network import LVNet
from lvnet.recipe import Architecture
from torch.nn import functional as F  # noqa: N812

HERE = Path(__file__).parent
needs_triton = pytest.mark.skipif(
    not sys.platform.startswith("linux") or importlib.util.find_spec("triton") is None,
    reason="Triton exists on Linux only; the [test] extra installs it there",
)


def plain(x, weight):
    return F.conv3d(x, weight, padding=weight.shape[-1] // 2, groups=weight.shape[0])


@pytest.fixture
def fresh(monkeypatch):
    """Clears what was remembered about Triton, as in a new process."""

    remembered = (depthwise_cuda.triton_available, depthwise_cuda.kernels_work)

    def clear():
        for function in remembered:
            function.cache_clear()

    monkeypatch.setattr(depthwise_cuda, "_given_up", False)
    monkeypatch.delenv("LVNET_ACCELERATION", raising=False)
    clear()
    yield
    clear()


def interpreted(which):
    """Runs the tests of triton_interpreted.py selected by a marker expression."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", which,
               str(HERE / "triton_interpreted.py")]  # fmt: skip
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    environment.pop("LVNET_ACCELERATION", None)
    done = subprocess.run(
        command, env=environment, cwd=HERE.parents[1], capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert re.search(r"\d+ passed", done.stdout) and "skipped" not in done.stdout


@needs_triton
def test_the_kernels_give_the_numbers_of_double_precision_in_tritons_interpreter():
    interpreted("not slow")


@pytest.mark.slow
@needs_triton
def test_more_shapes_and_every_launch_give_them_too():
    interpreted("slow")


COMPILE = """
import sys
import triton, triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from lvnet.acceleration.gpu import triton_depthwise as kernels
from lvnet.acceleration.gpu.launches import candidates

def machine_code(kernel, kind, architecture, warps, **sizes):
    if kind == "fp16":
        # Triton compiles a kernel anew for sizes of 1, which it takes for constants.
        sizes.update({name: 1 for name in ("depth", "rows", "row_blocks", "column_blocks") if name in kernel.arg_names})
    pointers = {"x": kind, "weight": kind, "bias": "fp32", "gradient": kind}
    pointers["out"] = kind if "weight" in kernel.arg_names else "fp32"
    types = {name: "*" + pointer for name, pointer in pointers.items()}
    signature = {name: "constexpr" if name in sizes else types.get(name, "i32") for name in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=signature, constexprs=sizes)
    return triton.compile(source, target=GPUTarget("cuda", architecture, 32), options={"num_warps": warps}).asm["cubin"]

# The default, and the last of the candidates.
for architecture, kind, k, number in ((80, "bf16", 5, 0), (90, "fp16", 3, -1), (90, "fp32", 7, 0), (90, "bf16", 5, -1)):
    how, sums = candidates("convolve", k)[number], candidates("weigh", k)[number]
    one = machine_code(kernels._convolve, kind, architecture, how.warps, K=k, REPEAT=how.repeat, BLOCK_W=how.columns,
                       BLOCK_C=how.channels, ELU=number < 0, SUM=tl.float32)
    two = machine_code(kernels._weigh, kind, architecture, sums.warps, K=k, BLOCK_W=sums.columns,
                       BLOCK_C=sums.channels, SUM=tl.float32)
    assert one[:4] == two[:4] == b"\\x7fELF"
    print(architecture, kind, k)
# Each stage of a network has its own sizes: none of them makes Triton compile anew, but whether channels fill a load.
for kernel in (kernels._convolve, kernels._weigh):
    sizes = [p.name for p in kernel.params if not p.is_constexpr and not p.do_not_specialize]
    known = ("x", "weight", "bias", "gradient", "out", "channels")
    assert sizes == [p.name for p in kernel.params if p.name in known], sizes
"""


@needs_triton
def test_the_kernels_compile_to_machine_code_of_gpus(tmp_path):
    environment = {
        **os.environ,
        "TRITON_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    }
    environment.pop("TRITON_INTERPRET", None)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COMPILE], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split("\n")[:4] == ["80 bf16 5", "90 fp16 3", "90 fp32 7", "90 bf16 5"]


def test_launches_that_were_chosen_are_kept_and_whatever_else_is_in_the_file_is_not_used(tmp_path):
    file, key = tmp_path / "lvnet" / "kernels" / "triton.json", "convolve k5 float16 c128 w256 r4096"
    chosen = {key: launches.candidates("convolve", 5)[-1]}
    chosen["weigh k5 bfloat16 c64 w16 r1"] = launches.candidates("weigh", 5)[1]
    launches.keep(file, chosen)
    assert launches.read(file) == chosen
    stored = json.loads(file.read_text())
    damages = [{"channels": 33}, {"warps": 0}, {"warps": "1"}, {"programs": 2**40}, {"repeat": None}, {"columns": [8]}]
    for damage in [*damages, {"more": 1}]:
        file.write_text(json.dumps({**stored, key: {**stored[key], **damage}}))
        assert key not in launches.read(file), damage
    for other in ({"convolve": stored[key]}, {"convolve k9 float16": stored[key]}, {"weigh kx float16": stored[key]}):
        file.write_text(json.dumps(other))
        assert not any(name.startswith("convolve k5") for name in launches.read(file))
    file.write_text(json.dumps({key: {name: float(value) for name, value in stored[key].items()}}))
    assert all(type(value) is int for value in vars(launches.read(file)[key]).values())
    for text in ("", "[]", "{", "[" * 100_000, "1"):
        file.write_text(text)
        assert launches.read(file) == {}
    assert launches.read(tmp_path / "none.json") == {}
    (tmp_path / "taken").write_text("")
    launches.keep(tmp_path / "taken" / "kernels" / "triton.json", chosen)  # a path that nobody can write to


def test_a_launch_is_chosen_by_kernel_type_and_class_of_shapes():
    def key(kernel, size, kind, *shape):
        return launches.Asked(kernel, size, kind, shape).key

    half, single = torch.float16, torch.float32
    first = key("convolve", 5, half, 1, 16, 250, 200, 120)
    assert first == key("convolve", 5, half, 1, 16, 256, 256, 128) == "convolve k5 float16 c128 w256 r4096"
    others = [
        ("weigh", 5, half, 1, 16, 250, 200, 120),
        ("convolve", 3, half, 1, 16, 250, 200, 120),
        ("convolve", 5, single, 1, 16, 250, 200, 120),
        ("convolve", 5, half, 1, 16, 250, 100, 120),
        ("convolve", 5, half, 2, 16, 250, 200, 120),
        ("convolve", 5, half, 1, 16, 250, 200, 130),
    ]
    assert len({first, *(key(*other) for other in others)}) == 1 + len(others)


@pytest.mark.usefixtures("fresh")
def test_what_was_chosen_for_a_card_is_used_on_it(monkeypatch, tmp_path):
    pytest.importorskip("triton", reason="Triton exists on Linux only")
    monkeypatch.setenv("LVNET_KERNEL_CACHE", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    gpu = torch.device("cuda", 0)

    class Input:
        shape, dtype, device, is_cuda = (1, 16, 256, 256, 128), torch.float16, gpu, True

    launches.chosen_on.cache_clear()
    assert launches.launch_for("convolve", Input, 5) == launches.default_launch("convolve", 5)
    chosen = launches.candidates("convolve", 5)[3]
    launches.keep(launches.file_for(gpu), {"convolve k5 float16 c128 w256 r4096": chosen})
    assert [file.name.startswith("triton-nvidia-h100-80gb-hbm3-") for file in tmp_path.iterdir()] == [True]
    launches.chosen_on.cache_clear()
    assert launches.launch_for("convolve", Input, 5) == chosen
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "another card")
    launches.chosen_on.cache_clear()
    assert launches.launch_for("convolve", Input, 5) == launches.default_launch("convolve", 5)
    launches.chosen_on.cache_clear()


@pytest.mark.usefixtures("fresh")
def test_without_triton_the_plain_path_is_taken_without_a_word(monkeypatch, caplog):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "triton" else find(name, *a))
    x, weight = torch.randn(1, 4, 3, 4, 5), torch.randn(4, 1, 3, 3, 3)
    assert torch.equal(depthwise_cuda.depthwise_conv3d(x, weight), plain(x, weight))
    assert not caplog.records


@pytest.mark.usefixtures("fresh")
def test_a_triton_without_tuples_is_not_used(monkeypatch):
    stale = type(sys)("triton")
    stale.__version__ = "3.2.0"
    stale.__spec__ = importlib.util.spec_from_loader("triton", None)
    monkeypatch.setitem(sys.modules, "triton", stale)
    assert not depthwise_cuda.triton_available()
    stale.__version__ = "3.10.1+git"
    depthwise_cuda.triton_available.cache_clear()
    assert depthwise_cuda.triton_available()


@pytest.mark.usefixtures("fresh")
def test_kernels_that_do_not_compile_are_given_up_with_one_warning_and_the_plain_result(monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("Failed to find C compiler\nand more")

    monkeypatch.setattr(depthwise_cuda, "triton_available", lambda: True)
    monkeypatch.setattr(depthwise_cuda, "_forward", broken)
    x, weight = torch.randn(1, 4, 3, 4, 5), torch.randn(4, 1, 5, 5, 5, requires_grad=True)
    results = [depthwise_cuda.depthwise_conv3d(x, weight) for _ in range(3)]
    assert [record.getMessage() for record in caplog.records] == [
        "Triton kernels are left out: RuntimeError: Failed to find C compiler"
    ]
    assert all(torch.equal(result, plain(x, weight)) for result in results)


@pytest.mark.usefixtures("fresh")
def test_a_backward_pass_that_fails_later_goes_on_with_pytorchs_own(monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("no kernel for these sizes")

    monkeypatch.setattr(depthwise_cuda, "usable", lambda *_: True)
    monkeypatch.setattr(depthwise_cuda, "_forward", lambda x, weight: plain(x, weight))
    monkeypatch.setattr(depthwise_cuda, "_input_gradient", broken)
    monkeypatch.setattr(depthwise_cuda, "_weight_gradient", broken)
    x, weight = torch.randn(1, 4, 3, 4, 5, requires_grad=True), torch.randn(4, 1, 5, 5, 5, requires_grad=True)
    found = torch.autograd.grad(depthwise_cuda.depthwise_conv3d(x, weight).square().sum(), (x, weight))
    assert "no kernel for these sizes" in caplog.text
    wanted = torch.autograd.grad(plain(x, weight).square().sum(), (x, weight))
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(found, wanted))


@pytest.mark.usefixtures("fresh")
def test_running_out_of_memory_is_no_reason_to_give_the_kernels_up(monkeypatch):
    def full(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(depthwise_cuda, "usable", lambda *_: True)
    monkeypatch.setattr(depthwise_cuda, "_forward", full)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        depthwise_cuda.depthwise_conv3d(torch.randn(1, 4, 3, 4, 5), torch.randn(4, 1, 3, 3, 3))
    assert not depthwise_cuda._given_up


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("shape", "weight_shape", "kind"),
    [
        ((1, 4, 3, 4, 5), (4, 1, 1, 1, 1), torch.float32),
        ((1, 4, 3, 4, 5), (4, 1, 9, 9, 9), torch.float32),
        ((1, 4, 3, 4, 5), (8, 1, 3, 3, 3), torch.float32),
        ((1, 4, 3, 4, 5), (4, 1, 3, 3, 3), torch.float64),
        ((0, 4, 3, 4, 5), (4, 1, 3, 3, 3), torch.float32),
    ],
    ids=["k=1", "k=9", "two a channel", "float64", "empty"],
)
def test_what_the_kernels_do_not_know_takes_the_plain_path(monkeypatch, shape, weight_shape, kind):
    monkeypatch.setattr(depthwise_cuda, "triton_available", lambda: True)
    monkeypatch.setattr(depthwise_cuda, "kernels_work", lambda *_: True)
    assert depthwise_cuda.usable(torch.randn(1, 4, 3, 4, 5), torch.randn(4, 1, 3, 3, 3))
    assert not depthwise_cuda.usable(torch.randn(shape, dtype=kind), torch.randn(weight_shape, dtype=kind))


@pytest.mark.usefixtures("fresh")
def test_the_switch_turns_the_kernels_and_half_precision_off(monkeypatch):
    monkeypatch.setattr(depthwise_cuda, "triton_available", lambda: True)
    monkeypatch.setattr(depthwise_cuda, "kernels_work", lambda *_: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    x, weight = torch.randn(1, 4, 3, 4, 5), torch.randn(4, 1, 3, 3, 3)
    gpu = torch.device("cuda")
    assert depthwise_cuda.usable(x, weight)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns if it was built without CUDA
        assert isinstance(inference_precision(gpu), torch.autocast)
        assert inference_precision(gpu).fast_dtype == torch.float16
    monkeypatch.setenv("LVNET_ACCELERATION", "off")
    assert not depthwise_cuda.usable(x, weight)
    assert not isinstance(inference_precision(gpu), torch.autocast)


def test_half_precision_moves_no_edge_of_the_bundled_weights():
    """On the CPU, where float16 rounds as on a GPU; the order of summation may differ."""
    from lvnet.inference import load_model
    from lvnet.phantom import make_phantom
    from lvnet.preprocessing import normalise

    model = load_model(None, "cpu")
    ct, _ = make_phantom(3, size=(16, 96, 128), spacing=(4.0, 2.5, 2.5))
    # The part with most of the liver: some processors are slow with float16.
    slab = torch.from_numpy(normalise(ct.array[:, 16:80, :80], model.recipe.preprocessing))[None, None]
    largest = []
    for module in model.network.modules():
        if isinstance(module, torch.nn.Conv3d):
            module.register_forward_hook(lambda m, i, out: largest.append(float(out.abs().max())))
    with torch.inference_mode():
        whole = torch.softmax(model.network(slab).float(), dim=1)[0, 1]
        assert max(largest) < 65504 / 500  # 65504 is the largest float16: all values are far below it
        with torch.autocast("cpu", dtype=torch.float16):
            half = torch.softmax(model.network(slab).float(), dim=1)[0, 1]
    assert (whole > 0.5).sum() > 1000
    assert (whole - half).abs().max() < 3e-3
    both = ((whole > 0.5) & (half > 0.5)).sum()
    assert 2 * both / ((whole > 0.5).sum() + (half > 0.5).sum()) > 0.9995


def test_half_precision_is_for_gpus_that_have_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    for device in ("cpu", "mps", "cuda"):
        assert not isinstance(inference_precision(torch.device(device)), torch.autocast)


@pytest.fixture
def tritons(monkeypatch):
    """Replaces layers as on a GPU; on a CPU the new layers use PyTorch's convolution."""
    from lvnet.acceleration.gpu.modules import SWAPS

    monkeypatch.delenv("LVNET_ACCELERATION", raising=False)
    monkeypatch.setattr(swapping, "_swaps", lambda device: SWAPS)
    monkeypatch.setattr(
        swapping, "_paths", lambda n, device: ({"Triton kernels": lambda: swapping._with_triton(n)}, "")
    )
    return TritonDepthwiseConv3d


def classes_of(network):
    return {type(module) for module in network.modules()}


def test_on_a_gpu_a_copy_without_batch_norm_infers_and_the_network_stays_plain(tritons):
    network = LVNet(Architecture(widths=(4, 6), kernel_size=3))
    x = torch.randn(1, 1, 4, 8, 12)
    for _ in range(3):
        network(x)  # moves the running mean and variance
    network.eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    wanted = network(x)
    fast = accelerate(network)
    assert tritons in classes_of(fast) and tritons not in classes_of(network)
    assert torch.nn.BatchNorm3d not in classes_of(fast)
    assert (fast(x) - wanted).abs().max() < 1e-5
    # The heads and the output convolution, which have no batch norm, are shared.
    assert fast.output.weight is network.output.weight
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_on_a_gpu_the_network_itself_trains_with_the_kernels(tritons):
    network = LVNet(Architecture(widths=(4, 6), kernel_size=3)).train()
    assert accelerate(network, training=True) is network
    assert tritons in classes_of(network)


@pytest.mark.parametrize("training", [True, False])
def test_a_network_that_comes_out_otherwise_on_a_gpu_is_computed_by_pytorch(tritons, monkeypatch, caplog, training):
    right = tritons.forward
    monkeypatch.setattr(tritons, "forward", lambda self, x: right(self, x) * 1.2)
    network = LVNet(Architecture(widths=(4, 6), kernel_size=3)).train(training)
    assert accelerate(network, training=training) is network
    assert tritons not in classes_of(network)
    assert "Triton kernels are left out: " in caplog.text
