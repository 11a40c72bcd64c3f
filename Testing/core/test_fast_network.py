"""Fast CPU inference gives the results of the plain network, on every kind of machine."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from lvnet import acceleration
from lvnet.acceleration import accelerate, folding, swapping
from lvnet.acceleration.cpu_inference import tiled_block
from lvnet.acceleration.cpu_inference.network import CPUNetwork
from lvnet.acceleration.cpu_inference.tiled_block import TiledIRB, elu_
from lvnet.acceleration.folding import fold_network
from lvnet.checkpoint import load_checkpoint
from lvnet.network import LVNet
from lvnet.recipe import Architecture
from torch import nn
from torch.nn import functional as F  # noqa: N812

pytest.importorskip("numba", reason="the [fast] extra is not installed")

from lvnet.acceleration.cpu_inference.fused_block import FusedIRB, network_fits
from lvnet.acceleration.cpu_inference.fused_stages import FusedStages
from lvnet.acceleration.kernels.processor import register_lanes
from lvnet.acceleration.layout import winograd

#: The vector width of this machine, and the narrow one that works on every machine.
LANES = sorted({register_lanes(), 8})
SMALL = Architecture(widths=(16, 16, 32, 32, 48))


def trained(architecture=None, seed=1):
    """A network whose batch norms have non-trivial statistics."""
    torch.manual_seed(seed)
    network = LVNet(architecture).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.3, 1.5)
            module.bias.data.normal_(0, 0.3)
    return network


def probabilities(compute, x):
    with torch.inference_mode():
        return torch.softmax(compute(x), dim=1)


def ways(network):
    folded = fold_network(network)
    yield "tiled", CPUNetwork(folded)
    for lanes in LANES:
        assert network_fits(folded, lanes)
        yield f"{lanes} lanes", CPUNetwork(folded, lambda b, n=lanes: FusedIRB(b, n), FusedStages(folded, lanes))


@pytest.mark.parametrize("shape", [(1, 1, 16, 48, 80), (2, 1, 16, 16, 16), (1, 1, 32, 32, 112)])
def test_every_fast_path_gives_the_probabilities_of_the_plain_network(shape):
    network = trained(SMALL)
    x = torch.randn(shape)
    expected = probabilities(network, x)
    for name, compute in ways(network):
        difference = (probabilities(compute, x) - expected).abs().max()
        assert difference < 1e-4, (name, float(difference))


def test_the_bundled_network_is_computed_to_a_thousandth_of_a_probability():
    network = load_checkpoint().build()
    fast = accelerate(network)
    assert isinstance(fast, CPUNetwork)
    x = torch.randn((1, 1, 16, 64, 96), generator=torch.Generator().manual_seed(3))
    assert (probabilities(fast, x) - probabilities(network, x)).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("architecture", "fused"),
    [
        (Architecture(in_channels=2, classes=4, widths=(16, 32, 48)), True),
        (Architecture(widths=(16, 32), kernel_size=3), False),
        (Architecture(widths=(5, 6, 7), expansion=3), False),
        (Architecture(widths=(16, 32), expansion=1), None),
    ],
)
def test_networks_of_other_shapes_are_computed_too(architecture, fused):
    network = trained(architecture)
    x = torch.randn((1, architecture.in_channels, 8, 24, 40))
    if fused is not None:
        assert network_fits(fold_network(network)) == fused
    assert (probabilities(accelerate(network), x) - probabilities(network, x)).abs().max() < 1e-4


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize(
    ("channels", "shape"), [(16, (4, 16, 16)), (32, (3, 33, 37)), (16, (1, 5, 7)), (48, (2, 9, 66)), (176, (1, 16, 16))]
)
def test_a_fused_block_computes_every_voxel_of_odd_sizes(lanes, channels, shape):
    network = trained(Architecture(widths=(channels, channels)))
    block = fold_network(network).encoder[0]
    x = torch.randn((*shape, channels))
    out = torch.full_like(x, float("nan"))
    FusedIRB(block, lanes)(x, out, 2)
    with torch.inference_mode():
        expected = network.encoder[0](x.permute(3, 0, 1, 2)[None])[0].permute(1, 2, 3, 0)
    assert (out - expected).abs().max() < 1e-4
    tiled = torch.full_like(x, float("nan"))
    TiledIRB(block)(x, tiled, 1)
    assert (tiled - expected).abs().max() < 1e-4


@pytest.mark.parametrize("lanes", LANES)
def test_a_fused_block_writes_into_half_of_a_wider_tensor_and_nowhere_else(lanes):
    network = trained(Architecture(widths=(16, 16)))
    x, wide = torch.randn((2, 20, 40, 16)), torch.full((2, 20, 40, 32), 7.0)
    alone = torch.empty_like(x)
    block = FusedIRB(fold_network(network).encoder[0], lanes)
    block(x, alone, 1)
    block(x, wide[..., 16:], 3)
    assert torch.equal(wide[..., 16:], alone)
    assert (wide[..., :16] == 7).all()


@pytest.mark.parametrize("shape", [(1, 1, 2, 2, 2), (1, 1, 4, 6, 2), (1, 1, 4, 16, 24)])
def test_fused_blocks_take_tensors_of_any_layout(shape):
    """A slab too narrow for the fused stem goes through PyTorch's stem, which uses another memory layout."""
    folded = fold_network(trained(Architecture(widths=(16, 16))))
    x = torch.randn(shape)
    expected = CPUNetwork(folded)(x)
    for stages in (None, FusedStages(folded)):
        assert (CPUNetwork(folded, FusedIRB, stages)(x) - expected).abs().max() < 1e-4


def test_the_number_of_threads_changes_no_bit():
    fast = accelerate(trained(SMALL))
    x = torch.randn((1, 1, 16, 64, 64))
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(fast(x))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(results[0], other) for other in results[1:])


def test_winograds_matrices_are_a_convolution():
    rng = np.random.default_rng(1)
    d, w = rng.standard_normal(8), rng.standard_normal(5)
    products = winograd.transform_weights(w) * (winograd.input_matrix() @ d)
    assert np.allclose(winograd.output_matrix() @ products, [d[i : i + 5] @ w for i in range(4)], atol=1e-12)
    # A constant at the point of the bias appears in all outputs.
    assert np.all(winograd.output_matrix()[:, winograd.POINT_OF_BIAS] == 1)


@pytest.mark.parametrize("name", ["elu", "scaled_elu"])
@pytest.mark.parametrize("lanes", LANES)
def test_the_kernels_elu_is_exact_to_a_hundred_thousandth(lanes, name):
    import numba
    from lvnet.acceleration.kernels.vector_code import VectorCode
    from lvnet.acceleration.layout.workspace import LOG2_E
    from numba.core import types
    from numba.extending import intrinsic

    @intrinsic
    def elu(typing, address):
        def generate(context, builder, signature, arguments):
            code = VectorCode(builder, lanes)
            code.store(getattr(code, name)(code.load(arguments[0])), arguments[0])
            return context.get_dummy_value()

        return types.void(types.int64), generate

    @numba.njit
    def run(address, count):
        for i in range(count):
            elu(address + 4 * lanes * i)

    x = np.concatenate([np.linspace(-12, 3, 4000), [-1e30, -200, -88, -0.0, 0.0, 1e-30, -1e-30, 1e30], np.zeros(56)])
    factor = LOG2_E if name == "scaled_elu" else 1
    values = (factor * x).astype(np.float32)
    values = values[: len(values) // 16 * 16].copy()
    expected = factor * F.elu(torch.from_numpy(values.astype(np.float64) / factor)).numpy()
    run(values.ctypes.data, len(values) // lanes)
    assert np.abs(values / np.maximum(1, np.abs(expected)) - expected / np.maximum(1, np.abs(expected))).max() < 1e-5


def test_the_tiles_elu_is_pytorchs():
    x = torch.linspace(-20, 5, 1001)
    assert torch.allclose(elu_(x.clone()), F.elu(x), atol=1e-6)


def test_the_switch_gives_the_plain_network(monkeypatch):
    network = trained(SMALL)
    monkeypatch.setenv(acceleration.SWITCH, "off")
    assert accelerate(network) is network


def test_a_network_in_training_or_in_other_numbers_is_left_alone():
    network = trained(SMALL).train()
    assert accelerate(network) is network
    assert accelerate(network.eval().double()) is network


def test_kernels_that_give_something_else_are_left_out(monkeypatch, caplog):
    monkeypatch.setattr(winograd, "weight_matrix", lambda: np.zeros((8, 5)))
    network = trained(SMALL)
    fast = accelerate(network)
    assert "Numba kernels are left out: logits differ" in caplog.text
    assert type(fast.encoder[0]) is TiledIRB
    x = torch.randn((1, 1, 16, 16, 16))
    assert (probabilities(fast, x) - probabilities(network, x)).abs().max() < 1e-4


def test_tiles_that_give_something_else_are_left_out(monkeypatch, caplog):
    monkeypatch.setattr(swapping, "numba_available", lambda: False)
    monkeypatch.setattr(tiled_block, "elu_", lambda x: x.clamp_(min=0))
    network = trained(SMALL)
    assert accelerate(network) is network
    assert "PyTorch tiles are left out: logits differ" in caplog.text


def test_folded_weights_are_compared_with_the_network_itself_on_every_path(monkeypatch, caplog):
    """An error in the code that all paths share would not show in a comparison of the paths with each other."""
    right = folding.fold
    monkeypatch.setattr(folding, "fold", lambda layers: (right(layers)[0] * 1.1, right(layers)[1]))
    network = trained(SMALL)
    assert accelerate(network) is network
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "Numba kernels are left out",
        "PyTorch tiles are left out",
    ]


def test_kernels_that_cannot_be_compiled_are_left_out(monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("LLVM has no such processor\nand more")

    monkeypatch.setattr("lvnet.acceleration.cpu_inference.fused_block.irb_kernels", broken)
    assert type(accelerate(trained(SMALL)).encoder[0]) is TiledIRB
    assert [record.getMessage() for record in caplog.records] == [
        "Numba kernels are left out: LLVM has no such processor"
    ]


@pytest.mark.parametrize("package", ["numba", "llvmlite"])
def test_without_a_package_pytorch_alone_computes_the_same(package):
    program = f"""
import sys
sys.modules[{package!r}] = None
import torch
from lvnet.acceleration import accelerate
from lvnet.checkpoint import load_checkpoint
network = load_checkpoint().build()
fast = accelerate(network)
x = torch.randn((1, 1, 16, 32, 32))
with torch.inference_mode():
    difference = (torch.softmax(fast(x), 1) - torch.softmax(network(x), 1)).abs().max()
assert type(fast.encoder[0]).__name__ == "TiledIRB", type(fast.encoder[0])
assert difference < 1e-4, difference
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("setting", ["NUMBA_CPU_NAME=generic", "NUMBA_ENABLE_AVX=0"])
def test_kernels_for_a_lesser_machine_than_this_are_right_too(setting):
    program = """
import torch
from lvnet.acceleration import accelerate
from lvnet.acceleration.kernels.processor import register_lanes
from lvnet.network import LVNet
from lvnet.recipe import Architecture
assert register_lanes() == 8
torch.manual_seed(1)
network = LVNet(Architecture(widths=(16, 16))).eval()
fast = accelerate(network)
assert type(fast.encoder[0]).__name__ == "FusedIRB"
x = torch.randn((1, 1, 4, 16, 24))
with torch.inference_mode():
    assert (fast(x) - network(x)).abs().max() < 1e-4
"""
    name, value = setting.split("=")
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, name: value})
