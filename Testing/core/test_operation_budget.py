"""Limits the operations and allocations of the network, which do not depend on how busy the machine is.

Run times are measured by `Testing/benchmarks`; a test on a shared machine cannot check them.
"""

import tracemalloc
from collections import Counter

import pytest
import torch
from lvnet.acceleration import accelerate
from lvnet.complexity import count_macs
from lvnet.network import LVNet
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

SLAB = (1, 1, 16, 64, 64)
VOXELS = 16 * 64 * 64


class Count(TorchDispatchMode):
    """Counts operations by name, and the bytes of newly allocated tensors."""

    def __init__(self):
        super().__init__()
        self.operations = Counter()
        self.bytes = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        given = {place(t) for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        self.operations[operation.overloadpacket.__name__] += 1
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and place(tensor) not in given:
                self.bytes += tensor.untyped_storage().nbytes()
        return result


def place(tensor):
    return tensor.untyped_storage().data_ptr()


def slab():
    return torch.randn(SLAB).contiguous(memory_format=torch.channels_last_3d)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    return LVNet().eval().to(memory_format=torch.channels_last_3d)


def counted(compute, x):
    with torch.inference_mode():
        compute(x)
        with Count() as count:
            compute(x)
    return count


def test_the_counter_sees_new_tensors_and_neither_views_nor_changes_in_place():
    x = torch.zeros(10)
    with Count() as count:
        x.view(2, 5).add_(1)
        torch.cat([x, x])
    assert count.bytes == 20 * 4
    assert count.operations["cat"] == count.operations["add_"] == 1


def test_a_slab_costs_exactly_these_multiply_accumulates():
    assert count_macs(LVNet(), (1, 1, 16, 256, 256)) == 58_115_129_344


def test_the_plain_network_is_37_convolutions_and_makes_no_more_tensors_than_it_did(network):
    count = counted(network, slab())
    assert count.operations["conv3d"] == 37
    assert count.bytes / VOXELS < 5400


def test_the_fast_network_makes_a_tenth_of_the_tensors_and_leaves_no_convolution_to_pytorch(network):
    pytest.importorskip("numba", reason="the [fast] extra is not installed")
    fast, x = accelerate(network), slab()
    count = counted(fast, x)
    assert count.operations["conv3d"] == 0
    assert count.bytes / VOXELS < 400
    tracemalloc.start()
    try:
        with torch.inference_mode():
            fast(x)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            fast(x)
            peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    # Additional allocations of NumPy, such as the tiles of all threads.
    assert peak / VOXELS < 100


def test_a_training_step_leaves_no_depthwise_gradient_to_pytorch():
    pytest.importorskip("numba", reason="the [fast] extra is not installed")
    network = LVNet(deep_supervision=True).train().to(memory_format=torch.channels_last_3d)
    accelerate(network, training=True)
    with Count() as count:
        main, auxiliary = network(slab())
        sum(out.mean() for out in (main, *auxiliary)).backward()
    # That of the first layer; depth-wise layers have their own kernels, and 1x1x1 layers are matrix products.
    assert count.operations["convolution_backward"] == 1
    assert count.bytes / VOXELS < 11_000
