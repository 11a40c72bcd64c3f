"""The Triton kernels on the CPU with Triton's interpreter; run by test_triton.py in a separate process.

The interpreter has to be selected before Triton is imported: TRITON_INTERPRET=1.
"""

import os
from dataclasses import replace

import pytest
import torch
from lvnet.acceleration.gpu import depthwise as depthwise_cuda
from lvnet.acceleration.gpu import triton_depthwise, tuning
from lvnet.acceleration.gpu.depthwise import TritonDepthwiseFunction
from lvnet.acceleration.gpu.launches import CONVOLVE, WEIGH, candidates, default_launch
from lvnet.acceleration.gpu.modules import SWAPS
from lvnet.acceleration.swapping import swap
from lvnet.network import DepthwiseConv3d
from torch.nn import functional as F  # noqa: N812

assert os.environ.get("TRITON_INTERPRET") == "1"

#: Relative error of one rounding to the type.
ROUNDING = {torch.float64: 1e-13, torch.float32: 2e-6, torch.float16: 2**-10, torch.bfloat16: 2**-7}
HALF, BRAIN, SINGLE, DOUBLE = torch.float16, torch.bfloat16, torch.float32, torch.float64


def poison(monkeypatch):
    """Fills the kernels' output with NaN first, so that a missing element shows."""
    empty = torch.empty

    def poisoned(*sizes, **options):
        return empty(*sizes, **options).fill_(float("nan"))

    monkeypatch.setattr(torch, "empty", poisoned)


def reference(x, weight, pull):
    x, weight = (t.detach().double().requires_grad_() for t in (x, weight))
    out = F.conv3d(x, weight, padding=weight.shape[-1] // 2, groups=weight.shape[0])
    return (out, *torch.autograd.grad(out, (x, weight), pull.double()))


def check(shape, k, kind, monkeypatch, seed=0, weight_kind=None, change=lambda x: x):
    generator = torch.Generator().manual_seed(seed)
    x = change(torch.randn(shape, generator=generator).to(kind)).requires_grad_()
    weight = torch.randn((x.shape[1], 1, k, k, k), generator=generator).to(weight_kind or kind)
    weight = weight.to(kind).to(weight.dtype).requires_grad_()
    pull = torch.randn(x.shape, generator=generator).to(kind)
    wanted = reference(x, weight, pull)
    with monkeypatch.context() as patch:
        poison(patch)
        out = TritonDepthwiseFunction.apply(x, weight)
        found = (out, *torch.autograd.grad(out, (x, weight), pull))
    assert [t.dtype for t in found] == [kind, kind, weight.dtype]
    for got, want in zip(found, wanted):
        assert got.shape == want.shape and got.isfinite().all()
        # The rounding of the result to its type; sums are computed in float32.
        limit = ROUNDING[got.dtype] * want.abs() + ROUNDING[SINGLE if kind != DOUBLE else DOUBLE] * want.abs().max()
        assert bool(((got.double() - want).abs() <= limit + 1e-12).all())


@pytest.mark.parametrize(
    ("shape", "k", "kind"),
    [
        ((1, 1, 1, 1, 1), 3, SINGLE),
        ((1, 2, 1, 1, 1), 5, SINGLE),
        ((1, 2, 1, 1, 1), 7, SINGLE),
        ((2, 5, 2, 2, 3), 3, SINGLE),
        ((2, 2, 2, 1, 3), 5, SINGLE),
        ((2, 2, 1, 2, 2), 7, SINGLE),
        ((1, 33, 1, 2, 3), 5, SINGLE),  # two blocks of channels
        ((1, 2, 1, 2, 19), 5, BRAIN),  # two blocks of columns
        ((1, 2, 1, 11, 2), 3, HALF),  # two blocks of rows
        ((2, 3, 2, 1, 4), 3, BRAIN),
        ((1, 3, 2, 1, 3), 5, HALF),
        ((1, 2, 1, 2, 3), 7, BRAIN),
        ((1, 3, 1, 3, 5), 5, DOUBLE),
    ],
)
def test_result_and_gradients_are_those_of_double_precision(shape, k, kind, monkeypatch):
    check(shape, k, kind, monkeypatch)


@pytest.mark.parametrize(
    ("shape", "k", "kind"),
    [
        ((1, 33, 1, 2, 3), 5, SINGLE),
        ((2, 5, 2, 11, 2), 3, HALF),
        ((1, 2, 1, 2, 19), 5, BRAIN),
        ((1, 3, 1, 3, 5), 3, DOUBLE),
    ],
)
def test_bias_and_elu_are_those_of_double_precision(shape, k, kind, monkeypatch):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(shape, generator=generator).to(kind)
    weight = torch.randn((shape[1], 1, k, k, k), generator=generator).to(kind)
    bias = torch.randn(shape[1], generator=generator)
    wanted = F.elu(F.conv3d(x.double(), weight.double(), bias.double(), padding=k // 2, groups=shape[1]))
    poison(monkeypatch)
    found = depthwise_cuda._forward(depthwise_cuda._dense(x), weight, bias)
    assert found.dtype == kind and found.isfinite().all()
    limit = ROUNDING[kind] * wanted.abs() + ROUNDING[SINGLE if kind != DOUBLE else DOUBLE] * wanted.abs().max()
    assert bool(((found.double() - wanted).abs() <= limit + 1e-12).all())


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 6))])
def test_random_shapes(seed, monkeypatch):
    draw = torch.Generator().manual_seed(seed)
    high = torch.tensor([3, 40, 3, 4, 6])
    shape = tuple(int(torch.randint(1, int(h), (1,), generator=draw)) for h in high)
    check(shape, (3, 5)[seed % 2], (SINGLE, BRAIN, HALF)[seed % 3], monkeypatch, seed)


def test_weights_of_another_type_keep_it_and_so_does_their_gradient(monkeypatch):
    """As under autocast: half precision in the network, float32 in the optimiser."""
    check((1, 3, 2, 3, 3), 3, BRAIN, monkeypatch, weight_kind=SINGLE)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.transpose(2, 4),
        lambda x: x[:, ::2, :, 1:],
        lambda x: x[:1].expand(3, -1, -1, -1, -1),
        lambda x: x.contiguous(memory_format=torch.channels_last_3d),
    ],
    ids=["transposed", "strided", "expanded", "channels last"],
)
def test_inputs_may_lie_in_memory_as_they_like(change, monkeypatch):
    check((2, 2, 2, 2, 3), 3, SINGLE, monkeypatch, change=lambda x: change(x).detach())


def test_gradients_that_lie_in_memory_as_they_like():
    x = torch.randn(1, 3, 2, 3, 4, requires_grad=True)
    weight = torch.randn(3, 1, 3, 3, 3, requires_grad=True)
    out = TritonDepthwiseFunction.apply(x, weight)
    found = torch.autograd.grad(out.sum(), (x, weight))  # an expanded scalar
    for got, want in zip(found, reference(x, weight, torch.ones_like(x))[1:]):
        assert torch.allclose(got.double(), want, atol=1e-5)


@pytest.mark.parametrize("k", [3, 5])
def test_gradcheck_in_double_precision(k):
    torch.manual_seed(k)
    x = torch.randn(1, 2, 1, 2, 3, dtype=DOUBLE, requires_grad=True)
    weight = torch.randn(2, 1, k, k, k, dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(TritonDepthwiseFunction.apply, (x, weight), fast_mode=True)


def test_one_program_may_sum_many_tiles_and_long_columns(monkeypatch):
    few = {kernel: replace(default_launch(kernel, 3), programs=1) for kernel in (CONVOLVE, WEIGH)}
    monkeypatch.setattr(triton_depthwise, "launch_for", lambda kernel, x, size: few[kernel])
    check((2, 2, 2, 3, 3), 3, SINGLE, monkeypatch)
    monkeypatch.setattr(triton_depthwise, "_ROWS", 2)
    check((1, 2, 1, 5, 3), 3, SINGLE, monkeypatch)


@pytest.mark.slow
def test_a_convolution_has_the_same_bits_with_every_launch():
    x, weight = torch.randn(1, 1, 2, 17, 18).half(), torch.randn(3, 3, 3, 18).half()
    results = []
    for launch in candidates(CONVOLVE, 3):
        out = torch.full_like(x, float("nan"))
        triton_depthwise.convolve(x, weight, out, launch)
        results.append(out)
    assert len(results) > 5 and results[0].isfinite().all()
    assert all(torch.equal(out, results[0]) for out in results)


@pytest.mark.slow
def test_gradients_to_weights_are_right_with_every_launch():
    x, pull = torch.randn(1, 1, 2, 17, 18), torch.randn(1, 1, 2, 17, 18)
    first, second = (t.permute(0, 4, 1, 2, 3).double() for t in (x, pull))
    wanted = torch.nn.grad.conv3d_weight(first, (18, 1, 3, 3, 3), second, padding=1, groups=18)
    for launch in candidates(WEIGH, 3):
        found = triton_depthwise.weigh(x, pull, 3, launch).permute(3, 0, 1, 2)[:, None]
        assert torch.allclose(found.double(), wanted, atol=1e-5), launch


def test_tuning_takes_the_fastest_launch_that_is_right_and_uses_it_from_then_on(monkeypatch):
    x, weight = torch.randn(1, 2, 1, 2, 3), torch.randn(2, 1, 3, 3, 3)
    quick, wrong, broken = candidates(CONVOLVE, 3)[3:6]
    right, used, launched, kept = triton_depthwise.convolve, [], [], {}

    def convolve(x, weight, out, launch=None, bias=None):
        launched.append(launch)
        if launch == broken:
            raise RuntimeError("out of resource: registers")
        right(x, weight, out, launch, bias)
        if launch == wrong:
            out *= 1.001

    def clock(run):
        run()
        return {quick: 0.5, wrong: 0.1}.get(launched[-1], 1.0)

    monkeypatch.setattr(triton_depthwise, "convolve", convolve)
    monkeypatch.setattr(tuning, "remember", lambda launches, device: kept.update(launches))
    (choice,) = tuning.tune(lambda: used.append(depthwise_cuda._forward(x, weight)) or used, clock=clock)
    assert (choice.launch, choice.seconds, choice.default_seconds, choice.left_out) == (quick, 0.5, 1.0, 2)
    assert kept == {"convolve k3 float32 c2 w4 r2": quick}


def test_a_gradient_that_nobody_asks_for_is_not_computed(monkeypatch):
    def never(*_):
        raise AssertionError

    x, weight = torch.randn(1, 2, 1, 2, 2), torch.randn(2, 1, 3, 3, 3, requires_grad=True)
    monkeypatch.setattr(depthwise_cuda, "_input_gradient", never)
    TritonDepthwiseFunction.apply(x, weight).sum().backward()
    assert weight.grad is not None


def test_a_second_derivative_is_refused_rather_than_wrong():
    x = torch.randn(1, 2, 1, 2, 2, requires_grad=True)
    weight = torch.randn(2, 1, 3, 3, 3, requires_grad=True)
    (first,) = torch.autograd.grad(TritonDepthwiseFunction.apply(x, weight).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_the_self_check_trusts_right_kernels_and_finds_wrong_ones(monkeypatch, caplog):
    cpu = torch.device("cpu")
    monkeypatch.setattr(depthwise_cuda, "_given_up", False)
    assert depthwise_cuda._difference(cpu, SINGLE, 3) == ""
    assert depthwise_cuda._difference(cpu, BRAIN, 3) == ""
    right = triton_depthwise.weigh
    monkeypatch.setattr(triton_depthwise, "weigh", lambda *a: right(*a) * 1.1)
    assert "gradient to the weights" in depthwise_cuda._difference(cpu, SINGLE, 3)
    depthwise_cuda.kernels_work.cache_clear()
    assert not depthwise_cuda.kernels_work("cpu", SINGLE, 3)
    assert "gradient to the weights of the k=3 kernel" in caplog.text
    depthwise_cuda.kernels_work.cache_clear()


class OnGpu(torch.Tensor):
    """A tensor on the CPU that claims to be on a GPU."""

    is_cuda = True
    __torch_function__ = torch._C._disabled_torch_function_impl


def test_tensors_on_a_gpu_take_the_kernels_and_autocast_decides_their_type(monkeypatch, caplog):
    monkeypatch.setattr(depthwise_cuda, "kernels_work", lambda *_: True)
    x, weight = torch.randn(1, 2, 1, 2, 3), torch.randn(2, 1, 3, 3, 3, requires_grad=True)
    layer = DepthwiseConv3d(2, 3)
    with torch.no_grad():
        layer.weight.copy_(weight)
    swap(layer, SWAPS["Triton kernels"])
    out = layer(x.as_subclass(OnGpu))
    assert "TritonDepthwiseFunction" in type(out.grad_fn).__name__ and out.dtype == SINGLE
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda: True)
    monkeypatch.setattr(torch, "get_autocast_dtype", lambda device: BRAIN, raising=False)
    leaf = x.clone().requires_grad_()
    out = depthwise_cuda.depthwise_conv3d(leaf, weight)
    assert out.dtype == BRAIN
    out.sum().backward()
    assert leaf.grad.dtype == weight.grad.dtype == SINGLE and not caplog.records
