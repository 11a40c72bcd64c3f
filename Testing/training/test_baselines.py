"""The baseline networks are those of the paper's Table 3."""

import io
import math
import os
import platform
import subprocess
import sys

import pytest
import torch
from lvnet import baselines
from lvnet.baselines import NETWORKS, build
from lvnet.baselines.cenet import StridedPointwise
from lvnet.complexity import measure
from lvnet.errors import ConfigurationError
from lvnet_training.paper import TABLE_3
from torch.nn import functional as F  # noqa: N812

#: The smallest input that each network accepts.
SMALL = {
    "unet": (2, 1, 48, 32),
    "cenet": (2, 1, 192, 224),
    "unet3d": (1, 1, 8, 16, 24),
    "vnet": (1, 1, 16, 32, 16),
    "lvnet": (1, 1, 16, 32, 16),
}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def measured():
    return {name: measure(build(name), network.input_size) for name, network in NETWORKS.items()}


@pytest.mark.parametrize("name", ["unet", "unet3d", "vnet"])
def test_parameters_are_exactly_the_papers(measured, name):
    assert measured[name].parameters == TABLE_3[name].parameters


def test_parameters_of_ce_net_are_the_papers_within_a_hundredth_of_a_percent(measured):
    assert measured["cenet"].parameters == 29_003_382
    assert measured["cenet"].parameters == pytest.approx(29_003_668, rel=1e-4)


@pytest.mark.parametrize(
    ("name", "tolerance"), [("unet", 0.005), ("unet3d", 0.005), ("vnet", 0.005), ("lvnet", 0.005), ("cenet", 0.02)]
)
def test_operations_counted_as_the_paper_counts_them_are_the_papers(measured, name, tolerance):
    assert measured[name].macs / 1e9 == pytest.approx(TABLE_3[name].gflops, rel=tolerance)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_saved_state_has_the_papers_size(measured, name):
    file = io.BytesIO()
    torch.save(build(name).state_dict(), file)
    # The file also contains some kilobytes of names and padding.
    assert measured[name].megabytes == pytest.approx(file.tell() / 2**20, abs=0.2)
    assert file.tell() / 2**20 == pytest.approx(TABLE_3[name].megabytes, rel=0.02 if name == "lvnet" else 0.001)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_gradient_step_reaches_every_weight_and_lowers_the_loss(name):
    torch.manual_seed(1)
    network = build(name).train()
    x = torch.randn(SMALL[name])
    target = (x[:, 0] > 0).long()
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3)
    before = F.cross_entropy(network(x), target)
    before.backward()
    assert [key for key, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
    assert sum(bool(p.grad.abs().sum() > 0) for p in network.parameters()) > 0.8 * len(list(network.parameters()))
    optimiser.step()
    with torch.no_grad():
        after = F.cross_entropy(network(x), target)
    assert math.isfinite(after) and after < before


@pytest.mark.parametrize("name", list(NETWORKS))
@pytest.mark.parametrize(("channels", "classes"), [(1, 2), (3, 4)])
def test_logits_have_the_size_of_the_input(name, channels, classes):
    size = (SMALL[name][0], channels, *SMALL[name][2:])
    network = build(name, channels, classes).to("meta").eval()
    assert network(torch.empty(size, device="meta")).shape == (size[0], classes, *size[2:])


def test_networks_of_slices_are_told_from_those_of_slabs():
    assert [name for name, network in NETWORKS.items() if network.planar] == ["unet", "cenet"]


def test_the_pooling_that_pads_is_what_gives_the_3d_unet_the_papers_operations(measured):
    plain = build("unet3d")
    plain.pool = torch.nn.MaxPool3d(2)
    assert measure(plain).macs / 1e9 == pytest.approx(947.5, abs=0.1)
    assert measured["unet3d"].macs / 1e9 == pytest.approx(1032.80, rel=4e-4)


def test_the_encoder_of_ce_net_starts_from_random_weights_that_a_seed_decides():
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(build("cenet").stem[0][0].weight.detach().clone())
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])


def test_an_unknown_network_is_refused_in_one_line():
    with pytest.raises(ConfigurationError, match="choose unet") as refusal:
        baselines.build("resnet")
    assert "\n" not in str(refusal.value)


#: Trains every network for a few steps; memory corruption shows when memory is freed.
STEPS = """
import torch
from lvnet.baselines import NETWORKS, build
from lvnet.building import channels_last
torch.manual_seed(0)
torch.set_num_threads(1)
for name, network in NETWORKS.items():
    narrow = channels_last(build(name, narrower=16)).train()
    x = torch.randn((32, 1, 32, 32) if network.planar else (2, 1, 16, 32, 32))
    for _ in range(6):
        narrow(x).square().mean().backward()
print("ended")
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="these instructions are those of x86")
def test_every_network_trains_with_the_instructions_of_a_processor_without_avx_512():
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    ran = subprocess.run([sys.executable, "-c", STEPS], env=environment, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout.strip()) == (0, "ended"), ran.stderr


def test_a_strided_convolution_of_single_pixels_is_pytorchs():
    torch.manual_seed(2)
    ours = StridedPointwise(3, 5, 1, 2)
    theirs = torch.nn.Conv2d(3, 5, 1, 2)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 9, 6)
    assert torch.allclose(ours(x), theirs(x), atol=1e-6) and ours(x).shape == theirs(x).shape
