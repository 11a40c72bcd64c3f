"""Fast paths give the plain path's results, and are not missed where they are absent."""

import subprocess
import sys

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


def test_the_kernel_writes_every_element_and_gives_the_same_bits_at_any_thread_count():
    import numpy as np
    from lvnet.acceleration import numba_depthwise

    x = np.random.default_rng(1).standard_normal((1, 3, 4, 9, 16)).astype(np.float32)
    g = np.random.default_rng(2).standard_normal(x.shape).astype(np.float32)
    first = numba_depthwise.weight_gradient(x, g)
    assert np.isfinite(first).all()
    # Whatever the allocator hands out next, and however many threads there are: the same bits.
    garbage = [np.full((125, 16), np.nan, np.float32) for _ in range(50)]
    del garbage
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        assert np.array_equal(numba_depthwise.weight_gradient(x, g), first)
    finally:
        numba.set_num_threads(threads)


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
