"""The accelerated code gives the same results as the plain code, and everything works where it is not available."""

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from lvnet import acceleration
from lvnet.acceleration import accelerate, proof, swapping
from lvnet.acceleration.cpu_training.modules import SWAPS
from lvnet.acceleration.swapping import swap
from lvnet.network import DepthwiseConv3d, DownSampling, LVNet, NormalisedConv, PointwiseConv3d, UpSampling
from lvnet.recipe import Architecture
from torch.func import functional_call
from torch.nn import functional as F  # noqa: N812

numba = pytest.importorskip("numba", reason="the [fast] extra is not installed")

EVERY = {plain: fast for swaps in SWAPS.values() for plain, fast in swaps.items()}


def swapped(layer):
    """A layer of LV-Net as it is used in training."""
    swap(layer, EVERY)
    return layer.train()


def depthwise_conv3d(x, weight):
    """LV-Net's depth-wise layer as used in training, with the given weight."""
    layer = swapped(DepthwiseConv3d(weight.shape[0], weight.shape[-1]))
    return functional_call(layer, {"weight": weight}, (x,))


def pointwise_conv3d(x, weight, bias):
    """LV-Net's 1x1x1 layer as used in training, with the given weight and bias."""
    layer = swapped(PointwiseConv3d(weight.shape[1], weight.shape[0], bias=bias is not None))
    return functional_call(layer, {"weight": weight, **({} if bias is None else {"bias": bias})}, (x,))


def plain(x, weight):
    return F.conv3d(x, weight, padding=weight.shape[-1] // 2, groups=weight.shape[0])


@pytest.mark.parametrize(
    "shape", [(1, 16, 4, 5, 6), (2, 16, 7, 9, 11), (1, 32, 1, 2, 3), (3, 48, 2, 1, 17), (1, 1024, 2, 3, 9)]
)
def test_the_fast_backward_pass_gives_the_gradients_of_double_precision(shape):
    torch.manual_seed(1)
    x = torch.randn(shape, requires_grad=True)
    weight = torch.randn(shape[1], 1, 5, 5, 5, requires_grad=True)
    out = depthwise_conv3d(x, weight)
    assert "DepthwiseConv3dFunction" in type(out.grad_fn).__name__
    pull = torch.randn_like(out)
    out.backward(pull)
    x64, weight64 = x.detach().double().requires_grad_(), weight.detach().double().requires_grad_()
    expected = plain(x64, weight64)
    expected.backward(pull.double())
    for got, want in ((out, expected), (x.grad, x64.grad), (weight.grad, weight64.grad)):
        assert (got.double() - want).abs().max() <= 1e-5 * want.abs().max().clamp(min=1)


@pytest.fixture(params=[8, 16])
def lanes(request, monkeypatch):
    """Vector widths of AVX2 and of AVX-512, which LLVM splits if the machine lacks it; all memory starts as NaN."""
    from lvnet.acceleration.cpu_training import convolution, norm

    def poisoned(size):
        memory = aligned(size)
        memory[...] = np.nan
        return memory

    aligned = convolution.aligned
    if request.param == 16 and convolution.register_lanes() != 16:
        pytest.skip("instructions of AVX-512 cannot be run here")
    for module in (convolution, norm):
        monkeypatch.setattr(module, "register_lanes", lambda: request.param)
    monkeypatch.setattr(convolution, "aligned", poisoned)
    return request.param


@pytest.mark.parametrize("shape", [(1, 16, 1, 1, 1), (2, 32, 3, 5, 7), (1, 16, 4, 37, 18), (1, 48, 2, 9, 33)])
def test_the_gradient_to_weights_reads_nothing_but_its_inputs(lanes, shape):
    from lvnet.acceleration.cpu_training.convolution import weight_gradient

    x, g = (torch.randn(shape).contiguous(memory_format=torch.channels_last_3d) for _ in range(2))
    weight = torch.zeros(shape[1], 1, 5, 5, 5, dtype=torch.float64, requires_grad=True)
    plain(x.double(), weight).backward(g.double())
    got = weight_gradient(x, g).double()
    assert (got - weight.grad).abs().max() <= 2e-5 * weight.grad.abs().max().clamp(min=1)


@pytest.mark.parametrize("shape", [(2, 16, 1, 1, 1), (2, 32, 3, 5, 7), (1, 16, 4, 37, 18), (1, 48, 2, 9, 33)])
def test_norm_elu_and_convolution_in_one_agree_with_pytorch_in_double_precision(lanes, shape):
    from lvnet.acceleration.cpu_training.depthwise import norm_elu_depthwise

    torch.manual_seed(4)
    channels = shape[1]
    norms = [torch.nn.BatchNorm3d(channels) for _ in range(2)]
    for norm in norms:
        torch.nn.init.uniform_(norm.weight, 0.5, 2)
        torch.nn.init.uniform_(norm.bias, -1, 1)
    doubles = [copy.deepcopy(norm).double() for norm in norms]
    x = (3 * torch.randn(shape) + 5).requires_grad_()
    weight = (torch.randn(channels, 1, 5, 5, 5) / 10).requires_grad_()
    x64, weight64 = (t.detach().double().requires_grad_() for t in (x, weight))
    out = norm_elu_depthwise(x, norms[0], weight, norms[1])
    expected = F.elu(doubles[1](plain(F.elu(doubles[0](x64)), weight64)))
    pull = torch.randn(shape)
    out.backward(pull)
    expected.backward(pull.double())
    pairs = [(out, expected), (x.grad, x64.grad), (weight.grad, weight64.grad)]
    for norm, double in zip(norms, doubles):
        pairs += [(norm.weight.grad, double.weight.grad), (norm.bias.grad, double.bias.grad)]
        pairs += [(norm.running_mean, double.running_mean), (norm.running_var, double.running_var)]
    for got, want in pairs:
        assert (got.double() - want).abs().max() <= 2e-4 * want.abs().max().clamp(min=1)


def test_the_gradient_to_weights_has_the_same_bits_at_any_thread_count():
    from lvnet.acceleration.cpu_training.convolution import weight_gradient

    x, g = (torch.randn(2, 32, 3, 40, 40).contiguous(memory_format=torch.channels_last_3d) for _ in range(2))
    first = weight_gradient(x, g)
    threads = torch.get_num_threads()
    for count in (1, 3):
        torch.set_num_threads(count)
        try:
            assert torch.equal(weight_gradient(x, g), first)
        finally:
            torch.set_num_threads(threads)


@pytest.mark.parametrize("bias", [False, True])
def test_the_product_of_matrices_is_the_pointwise_convolution(bias):
    x = torch.randn(2, 16, 3, 4, 5).contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    weight, more = torch.randn(6, 16, 1, 1, 1, requires_grad=True), torch.randn(6) if bias else None
    out = pointwise_conv3d(x, weight, more)
    assert "Conv" not in type(out.grad_fn).__name__
    assert out.is_contiguous(memory_format=torch.channels_last_3d)
    expected = F.conv3d(x, weight, more)
    assert torch.allclose(out, expected, atol=1e-5)
    pull = torch.randn_like(out)
    for got, want in zip(*(torch.autograd.grad(y, (x, weight), pull) for y in (out, expected))):
        assert torch.allclose(got, want, atol=1e-4)


@pytest.mark.parametrize("kernel", [1, 3, 7])
def test_other_kernel_sizes_take_the_plain_path(kernel):
    weight = torch.randn(4, 1, kernel, kernel, kernel, requires_grad=True)
    x = torch.randn(1, 4, 5, 5, 5)
    out = depthwise_conv3d(x, weight)
    assert "DepthwiseConv3dFunction" not in type(out.grad_fn).__name__
    assert torch.equal(out, plain(x, weight))


def test_channels_that_fill_no_vector_take_the_plain_path():
    weight, x = torch.randn(24, 1, 5, 5, 5, requires_grad=True), torch.randn(1, 24, 5, 5, 5)
    assert "DepthwiseConv3dFunction" not in type(depthwise_conv3d(x, weight).grad_fn).__name__


def test_inference_and_double_precision_take_the_plain_path():
    weight, x = torch.randn(16, 1, 5, 5, 5, requires_grad=True), torch.randn(1, 16, 5, 5, 5)
    with torch.no_grad():
        assert torch.equal(depthwise_conv3d(x, weight), plain(x, weight))
    out = depthwise_conv3d(x.double(), weight.double())
    assert "DepthwiseConv3dFunction" not in type(out.grad_fn).__name__


@pytest.mark.parametrize("how", ["blocked", "switched off"])
def test_without_numba_training_takes_the_plain_path(how):
    program = """
import sys
if sys.argv[1] == "blocked":
    class Block:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] == "numba":
                raise ModuleNotFoundError(name)
    sys.meta_path.insert(0, Block())
    import importlib.util
    find = importlib.util.find_spec
    importlib.util.find_spec = lambda name, package=None: None if name == "numba" else find(name, package)
import torch
from lvnet.acceleration import accelerate
from lvnet.network import LVNet
from lvnet.recipe import Architecture
network = accelerate(LVNet(Architecture(widths=(16, 16))), training=True)
layer = network.encoder[0].depthwise[0]
out = layer(torch.randn(1, 64, 6, 6, 6))
out.sum().backward()
assert layer.weight.grad is not None and "numba" not in sys.modules
print(type(out.grad_fn).__name__)
"""
    environment = {"PYTHONPATH": ":".join(p for p in sys.path if p), "PATH": "/usr/bin:/bin"}
    if how == "switched off":
        environment["LVNET_ACCELERATION"] = "off"
    result = subprocess.run(
        [sys.executable, "-c", program, how], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "ConvolutionBackward0"


def test_the_allocator_settings_are_taken_only_by_glibc_and_can_be_switched_off(monkeypatch):
    from lvnet.acceleration import allocator

    monkeypatch.setenv(acceleration.SWITCH, "off")
    assert allocator.keep_pages() is False
    monkeypatch.delenv(acceleration.SWITCH)
    monkeypatch.setattr(allocator.sys, "platform", "win32")
    assert allocator.keep_pages() is False


def gradients(f, *tensors):
    """The result of f and the gradients of its inputs, for a fixed gradient of the output."""
    tensors = [t.detach().clone().requires_grad_() for t in tensors]
    out = f(*tensors)
    pull = torch.randn(out.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64).to(out.dtype)
    out.backward(pull)
    return [out.detach(), *(t.grad for t in tensors)], out.grad_fn


def sampling(name):
    """LV-Net's pooling or up-sampling in training, without the neighbouring convolution."""
    layer = swapped({"halve": DownSampling, "double": UpSampling}[name](16, 16))
    layer.convolve = torch.nn.Identity()
    return layer


@pytest.mark.parametrize("shape", [(2, 16, 4, 6, 8), (1, 32, 2, 2, 2), (1, 48, 6, 10, 14)])
@pytest.mark.parametrize("name", ["halve", "double"])
def test_halving_and_doubling_in_training_are_pytorchs_with_their_gradients(name, shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    got, node = gradients(sampling(name), x)
    assert type(node).__name__ == f"{name.capitalize()}Backward"
    plain_ways = {
        "halve": lambda t: F.avg_pool3d(t, 2),
        "double": lambda t: F.interpolate(t, scale_factor=2, mode="trilinear", align_corners=False),
    }
    expected, _ = gradients(plain_ways[name], x.double())
    for a, b in zip(got, expected):
        assert (a.double() - b).abs().max() < 1e-5


def test_a_single_voxel_is_doubled():
    got, _ = gradients(sampling("double"), torch.ones((1, 16, 1, 1, 1)))
    assert torch.allclose(got[0], torch.ones((1, 16, 2, 2, 2)))


@pytest.mark.parametrize("elu", [True, False])
@pytest.mark.parametrize("shape", [(2, 32, 5, 7, 9), (1, 16, 3, 41, 40)])
def test_batch_norm_with_elu_in_training_is_pytorchs_with_its_gradients(shape, elu):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(3)) * 2 + 5
    fast, plain_norm = (torch.nn.BatchNorm3d(shape[1]).train() for _ in range(2))
    torch.nn.init.uniform_(fast.weight, 0.5, 2.0)
    torch.nn.init.normal_(fast.bias)
    plain_norm.load_state_dict(fast.state_dict())
    plain_norm = plain_norm.double()

    def expected_way(t):
        return F.elu(plain_norm(t)) if elu else plain_norm(t)

    layer = swapped(NormalisedConv(torch.nn.Conv3d(shape[1], shape[1], 1), activation=elu))
    layer[0], layer[1] = torch.nn.Identity(), fast
    got, node = gradients(layer, x)
    assert type(node).__name__ == "BatchNormELUBackward"
    expected, _ = gradients(expected_way, x.double())
    for a, b in zip(got, expected):
        assert (a.double() - b).abs().max() <= 1e-4 * b.abs().max().clamp(min=1)
    for name in ("weight", "bias"):
        a, b = getattr(fast, name).grad.double(), getattr(plain_norm, name).grad
        assert (a - b).abs().max() <= 1e-4 * b.abs().max()
    assert torch.allclose(fast.running_mean.double(), plain_norm.running_mean, atol=1e-5)
    assert torch.allclose(fast.running_var.double(), plain_norm.running_var, rtol=1e-4)
    assert int(fast.num_batches_tracked) == 1


def test_a_training_step_has_the_same_bits_at_any_thread_count():
    x = torch.randn((1, 1, 8, 40, 48), generator=torch.Generator().manual_seed(4))
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            torch.manual_seed(1)
            layer = swapped(LVNet(Architecture(widths=(16, 16)))).encoder[0].depthwise
            wide = x.expand(1, 64, -1, -1, -1).contiguous().requires_grad_()
            layer(wide).square().sum().backward()
            results.append((wide.grad, layer[0].weight.grad, layer[1].weight.grad))
    finally:
        torch.set_num_threads(before)
    for a, b in zip(*results):
        assert torch.equal(a, b)


def small(**more):
    torch.manual_seed(2)
    return LVNet(Architecture(widths=(16, 16, 32)), **more).train()


def classes_of(network):
    return {type(module).__name__ for module in network.modules()}


def test_a_network_that_trains_faster_keeps_its_parameters_their_names_and_their_order():
    network = small(deep_supervision=True)
    before, names = list(network.parameters()), list(network.state_dict())
    values = {name: value.clone() for name, value in network.state_dict().items()}
    chance = torch.random.get_rng_state()
    assert accelerate(network, training=True) is network
    assert {"TrainedIRBBlock", "TrainedUpSampling", "TrainedDownSampling"} <= classes_of(network)
    assert torch.equal(chance, torch.random.get_rng_state())
    assert all(a is b for a, b in zip(before, network.parameters()))
    assert list(network.state_dict()) == names
    assert all(torch.equal(values[name], value) for name, value in network.state_dict().items())


def test_a_whole_step_of_the_faster_network_is_the_networks_own():
    plain = small(deep_supervision=True)
    fast = accelerate(copy.deepcopy(plain), training=True)
    x = torch.randn((2, 1, 8, 16, 24), generator=torch.Generator().manual_seed(3))
    for network in (plain, fast):
        main, auxiliary = network(x)
        sum(out.square().mean() for out in (main, *auxiliary)).backward()
    for (name, a), b in zip(fast.named_parameters(), plain.parameters()):
        assert (a.grad - b.grad).norm() <= 1e-3 * b.grad.norm() + 1e-6, name
    for (name, a), b in zip(fast.named_buffers(), plain.buffers()):
        assert torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-5), name


def test_in_evaluation_mode_the_faster_network_gives_the_networks_own_bits():
    plain = small().eval()
    fast = accelerate(copy.deepcopy(plain).train(), training=True).eval()
    x = torch.randn((1, 1, 8, 8, 8))
    with torch.no_grad():
        assert torch.equal(fast(x), plain(x))


def wrong_gradient_to_weights(monkeypatch):
    from lvnet.acceleration.cpu_training import depthwise, irb

    right = depthwise.weight_gradient
    for module in (depthwise, irb):
        monkeypatch.setattr(module, "weight_gradient", lambda *a, **k: right(*a, **k) * 1.01)


def wrong_winograd(monkeypatch):
    from lvnet.acceleration.layout import winograd

    monkeypatch.setattr(winograd, "weight_matrix", lambda: np.zeros((8, 5)))


def wrong_norm(monkeypatch):
    from lvnet.acceleration.cpu_training import norm

    right = norm.norm_parameters
    monkeypatch.setattr(norm, "norm_parameters", lambda *a: right(*a) * 1.01)


def wrong_pooling(monkeypatch):
    from lvnet.acceleration.cpu_training.pooling import Halve

    right = Halve.backward
    monkeypatch.setattr(Halve, "backward", staticmethod(lambda *a: right(*a) * 1.01))


def wrong_upsampling(monkeypatch):
    from lvnet.acceleration.cpu_training.pooling import Double

    right = Double.forward
    monkeypatch.setattr(Double, "forward", staticmethod(lambda *a: right(*a) * 1.01))


def wrong_pointwise(monkeypatch):
    right = F.linear
    monkeypatch.setattr(F, "linear", lambda *a: right(*a) * 1.01)


def wrong_block(monkeypatch):
    from lvnet.acceleration.cpu_training import irb

    right = irb.input_gradient_factors
    monkeypatch.setattr(irb, "input_gradient_factors", lambda *a: (right(*a)[0] * 1.01, *right(*a)[1:]))


def wrong_block_with_fixed_norm(monkeypatch):
    from lvnet.acceleration.cpu_training import irb

    right = irb.input_gradient_factors
    monkeypatch.setattr(irb, "input_gradient_factors", lambda *a: right(*a[:-1], True))


def broken_compiler(monkeypatch):
    from lvnet.acceleration.cpu_training import pooling

    def broken(lanes):
        raise RuntimeError("LLVM cannot compile\nand more")

    monkeypatch.setattr(pooling, "adjoint_kernels", broken)


@pytest.mark.parametrize(
    ("damage", "gone", "kept"),
    [
        (wrong_gradient_to_weights, ["TrainedIRBBlock", "TrainedDepthwiseConv3d"], ["TrainedNormalisedConv"]),
        (wrong_winograd, ["TrainedIRBBlock", "TrainedDepthwiseConv3d"], ["TrainedNormalisedConv"]),
        (wrong_norm, ["TrainedNormalisedConv"], ["TrainedDownSampling"]),
        (wrong_block, ["TrainedIRBBlock"], ["TrainedNormalisedConv"]),
        (wrong_block_with_fixed_norm, ["TrainedIRBBlock"], ["TrainedNormalisedConv"]),
        (wrong_pooling, ["TrainedDownSampling"], ["TrainedIRBBlock", "TrainedUpSampling"]),
        (wrong_upsampling, ["TrainedUpSampling"], ["TrainedIRBBlock", "TrainedDownSampling"]),
        (wrong_pointwise, ["TrainedPointwiseConv3d"], ["TrainedIRBBlock"]),
        (broken_compiler, ["TrainedDownSampling", "TrainedUpSampling"], ["TrainedIRBBlock"]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_trains_otherwise_than_the_network_is_left_out_and_said_and_the_rest_is_kept(
    monkeypatch, caplog, damage, gone, kept
):
    damage(monkeypatch)
    network = accelerate(small(deep_supervision=True), training=True)
    assert not set(gone) & classes_of(network) and set(kept) <= classes_of(network)
    assert "left out: " in caplog.text


def test_running_out_of_memory_is_no_reason_to_leave_kernels_out(monkeypatch):
    def full(*_):
        raise MemoryError

    monkeypatch.setattr(proof, "_step", full)
    with pytest.raises(MemoryError):
        accelerate(small(), training=True)


def test_other_number_formats_and_the_switch_leave_a_network_in_training_alone(monkeypatch):
    network = small().double()
    assert not any("Trained" in name for name in classes_of(accelerate(network, training=True)))
    monkeypatch.setenv(acceleration.SWITCH, "off")
    assert not any("Trained" in name for name in classes_of(accelerate(network.float(), training=True)))
    monkeypatch.delenv(acceleration.SWITCH)
    monkeypatch.setattr(swapping, "numba_available", lambda: False)
    assert not any("Trained" in name for name in classes_of(accelerate(network, training=True)))


def test_every_width_and_every_step_between_two_is_in_the_comparison():
    for widths in ((16, 32), (16, 32, 48), (16, 32, 48, 64), (16, 32, 64, 128, 176), (8, 8, 16, 16, 32, 32)):
        parts = [part.widths for part in proof._parts(Architecture(widths=widths))]
        assert {pair for part in parts for pair in zip(part, part[1:])} == set(zip(widths, widths[1:]))
        assert max(map(len, parts)) <= 3
