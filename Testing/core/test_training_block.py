"""An IRB block in training on a CPU gives the results and gradients of PyTorch's own layers in double precision."""

import copy

import pytest
import torch
from lvnet.acceleration.cpu_training.modules import SWAPS, TrainedIRBBlock
from lvnet.acceleration.swapping import swap
from lvnet.network import IRBBlock

numba = pytest.importorskip("numba", reason="the [fast] extra is not installed")


@pytest.fixture(params=[8, 16])
def lanes(request, monkeypatch):
    """Vector widths of AVX2 and of AVX-512, which LLVM splits if the machine lacks it."""
    from lvnet.acceleration.cpu_training import convolution, irb, norm

    if request.param == 16 and irb.register_lanes() != 16:
        pytest.skip("instructions of AVX-512 cannot be run here")
    for module in (convolution, irb, norm):
        monkeypatch.setattr(module, "register_lanes", lambda: request.param)
    return request.param


def block(channels, training=True, expansion=4):
    """A block whose norms have been through some training."""
    torch.manual_seed(channels)
    made = IRBBlock(channels, expansion).train(training)
    for norm in norms_of(made):
        torch.nn.init.uniform_(norm.weight, 0.5, 2)
        torch.nn.init.uniform_(norm.bias, -1, 1)
        torch.nn.init.normal_(norm.running_mean)
        torch.nn.init.uniform_(norm.running_var, 0.5, 2)
    return made


def norms_of(made):
    return [part[1] for part in (made.expand, made.depthwise, made.project)]


def fast(made):
    swap(made, {plain: quick for swaps in SWAPS.values() for plain, quick in swaps.items()})
    assert type(made) is TrainedIRBBlock
    return made


def step(made, x):
    """Output, gradients and running statistics of one step, by name."""
    x = x.clone().requires_grad_()
    out = made(x)
    pull = torch.randn(out.shape, generator=torch.Generator().manual_seed(7))
    out.backward(pull.to(out.dtype))
    found = {"output": out.detach(), "gradient of the input": x.grad}
    found.update((f"gradient of {name}", p.grad) for name, p in made.named_parameters())
    found.update((name, b) for name, b in made.named_buffers())
    return found, type(out.grad_fn).__name__


def compare(found, wanted, tolerance):
    for key, want in wanted.items():
        assert float((found[key].double() - want).abs().max() / want.abs().max().clamp(min=1)) <= tolerance, key


@pytest.mark.parametrize("training", [True, False], ids=["training", "fixed norm"])
@pytest.mark.parametrize(
    ("channels", "shape"),
    [(16, (2, 3, 5, 7)), (32, (1, 4, 37, 18)), (64, (1, 2, 9, 33)), (48, (1, 2, 11, 29)), (16, (1, 2, 2, 5))],
)
def test_a_step_of_the_block_is_that_of_double_precision(lanes, training, channels, shape):
    made = block(channels, training)
    x = 3 * torch.randn((shape[0], channels, *shape[1:]), generator=torch.Generator().manual_seed(3)) + 1
    wanted, _ = step(copy.deepcopy(made).double(), x.double())
    found, name = step(fast(made), x)
    assert name == "IRBBackward"
    compare(found, wanted, 2e-4)


def test_a_large_mean_of_the_input_loses_no_digits_of_the_variance():
    made = block(16)
    double = copy.deepcopy(made).double()
    x = torch.randn(1, 16, 4, 16, 16) + 300
    step(fast(made), x)
    step(double, x.double())
    for norm, want in zip(norms_of(made), norms_of(double)):
        assert torch.allclose(norm.running_var.double(), want.running_var, rtol=2e-3)


def test_a_step_has_the_same_bits_at_any_thread_count():
    x = torch.randn(1, 32, 4, 40, 48)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(step(fast(block(32)), x)[0])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(results[0][key], results[1][key]) for key in results[0])


def test_a_block_that_is_too_wide_takes_the_kernels_of_its_layers():
    made = block(128)
    x = torch.randn(1, 128, 2, 4, 6)
    wanted, _ = step(copy.deepcopy(made).double(), x.double())
    found, name = step(fast(made), x)
    assert name != "IRBBackward"
    compare(found, wanted, 1e-3)


def test_parameters_that_are_not_trained_get_no_gradient():
    made = fast(block(16))
    made.project[0].weight.requires_grad_(False)
    norms_of(made)[0].requires_grad_(False)
    step_of, _ = step(made, torch.randn(1, 16, 2, 4, 6))
    assert step_of["gradient of project.0.weight"] is None and step_of["gradient of expand.1.bias"] is None
    assert step_of["gradient of expand.0.weight"] is not None
