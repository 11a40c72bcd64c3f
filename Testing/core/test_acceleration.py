"""Fast paths give the plain path's results, and are not missed where they are absent."""

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from lvnet import acceleration
from lvnet.acceleration import depthwise_conv3d
from torch.nn import functional as F  # noqa: N812

numba = pytest.importorskip("numba", reason="the [fast] extra is not installed")


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
    """Vectors of AVX2 and of AVX-512, which LLVM splits where the machine has none; all memory is poisoned."""
    from lvnet.acceleration import convolution_cpu, norm_cpu

    def poisoned(size):
        memory = aligned(size)
        memory[...] = np.nan
        return memory

    aligned = convolution_cpu.aligned
    if request.param == 16 and convolution_cpu.register_lanes() != 16:
        pytest.skip("instructions of AVX-512 cannot be run here")
    for module in (convolution_cpu, norm_cpu):
        monkeypatch.setattr(module, "register_lanes", lambda: request.param)
    monkeypatch.setattr(convolution_cpu, "aligned", poisoned)
    return request.param


@pytest.mark.parametrize("shape", [(1, 16, 1, 1, 1), (2, 32, 3, 5, 7), (1, 16, 4, 37, 18), (1, 48, 2, 9, 33)])
def test_the_gradient_to_weights_reads_nothing_but_its_inputs(lanes, shape):
    from lvnet.acceleration.convolution_cpu import weight_gradient

    x, g = (torch.randn(shape).contiguous(memory_format=torch.channels_last_3d) for _ in range(2))
    weight = torch.zeros(shape[1], 1, 5, 5, 5, dtype=torch.float64, requires_grad=True)
    plain(x.double(), weight).backward(g.double())
    got = weight_gradient(x, g).double()
    assert (got - weight.grad).abs().max() <= 2e-5 * weight.grad.abs().max().clamp(min=1)


@pytest.mark.parametrize("shape", [(2, 16, 1, 1, 1), (2, 32, 3, 5, 7), (1, 16, 4, 37, 18), (1, 48, 2, 9, 33)])
def test_norm_elu_and_convolution_in_one_agree_with_pytorch_in_double_precision(lanes, shape):
    from lvnet.acceleration import norm_elu_depthwise

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
    from lvnet.acceleration.convolution_cpu import weight_gradient

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
    from lvnet.acceleration import pointwise_conv3d

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
from lvnet.acceleration import depthwise_conv3d
weight = torch.randn(16, 1, 5, 5, 5, requires_grad=True)
out = depthwise_conv3d(torch.randn(1, 16, 6, 6, 6), weight)
out.sum().backward()
assert weight.grad is not None and "numba" not in sys.modules
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
    """f's result and the gradients to its inputs, for a fixed pull."""
    tensors = [t.detach().clone().requires_grad_() for t in tensors]
    out = f(*tensors)
    pull = torch.randn(out.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64).to(out.dtype)
    out.backward(pull)
    return [out.detach(), *(t.grad for t in tensors)], out.grad_fn


@pytest.mark.parametrize("shape", [(2, 16, 4, 6, 8), (1, 32, 2, 2, 2), (1, 48, 6, 10, 14)])
@pytest.mark.parametrize("name", ["halve", "double"])
def test_halving_and_doubling_in_training_are_pytorchs_with_their_gradients(name, shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    got, node = gradients(getattr(acceleration, name), x)
    assert type(node).__name__ == f"{name.capitalize()}Backward"
    plain_ways = {
        "halve": lambda t: F.avg_pool3d(t, 2),
        "double": lambda t: F.interpolate(t, scale_factor=2, mode="trilinear", align_corners=False),
    }
    expected, _ = gradients(plain_ways[name], x.double())
    for a, b in zip(got, expected):
        assert (a.double() - b).abs().max() < 1e-5


def test_a_single_voxel_is_doubled():
    got, _ = gradients(acceleration.double, torch.ones((1, 16, 1, 1, 1)))
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

    got, node = gradients(lambda t: acceleration.batch_norm_elu(t, fast, elu), x)
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
    from lvnet.network import LVNet
    from lvnet.recipe import Architecture

    x = torch.randn((1, 1, 8, 40, 48), generator=torch.Generator().manual_seed(4))
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            torch.manual_seed(1)
            layer = LVNet(Architecture(widths=(16, 16))).train().encoder[0].depthwise
            wide = x.expand(1, 64, -1, -1, -1).contiguous().requires_grad_()
            layer(wide).square().sum().backward()
            results.append((wide.grad, layer[0].weight.grad, layer[1].weight.grad))
    finally:
        torch.set_num_threads(before)
    for a, b in zip(*results):
        assert torch.equal(a, b)
