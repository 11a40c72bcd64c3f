"""LV-Net is the paper's network: parameter counts, outputs, and rejected inputs."""

import pytest
import torch
from lvnet.complexity import count_macs, count_parameters, measure
from lvnet.errors import ConfigurationError, GeometryError
from lvnet.network import DEEP_SUPERVISION_WEIGHTS, DownSampling, IRBBlock, LVNet, UpSampling
from lvnet.recipe import Architecture
from torch import nn

TINY = Architecture(widths=(4, 6, 8, 8, 10), expansion=2, kernel_size=3)


def convolution_weights(module):
    return sum(m.weight.numel() for m in module.modules() if isinstance(m, nn.Conv3d))


def test_an_irb_block_has_the_papers_64768_convolution_weights():
    block = IRBBlock(64, expansion=4, kernel_size=5)
    assert convolution_weights(block) == 5**3 * 64 * 4 + 2 * 64**2 * 4 == 64_768
    assert convolution_weights(block) / (5**3 * 64 * 64) == pytest.approx(0.1265, abs=5e-5)


@pytest.mark.parametrize("channels", [16, 64, 128])
def test_down_and_up_sampling_have_the_papers_weights(channels):
    assert convolution_weights(DownSampling(channels, 2 * channels)) == 2 * channels**2
    assert convolution_weights(UpSampling(channels, channels // 2)) == channels**2 // 2


def test_the_default_has_1663026_parameters_within_a_quarter_percent_of_the_paper():
    assert count_parameters(LVNet()) == 1_663_026
    assert pytest.approx(1.0023, abs=5e-5) == 1_663_026 / 1_659_282


def test_auxiliary_heads_are_not_counted():
    with_heads = LVNet(deep_supervision=True)
    assert count_parameters(with_heads) == 1_663_026 < sum(p.numel() for p in with_heads.parameters())
    assert measure(with_heads, (1, 1, 16, 32, 32)) == measure(LVNet(), (1, 1, 16, 32, 32))


def test_a_slab_costs_the_papers_operations_and_the_state_its_megabytes():
    complexity = measure(LVNet())
    assert complexity.macs == pytest.approx(58.07e9, rel=0.005)
    assert 6.4 <= complexity.megabytes <= 6.5
    assert complexity.input_size == (1, 1, 16, 256, 256)


def test_operations_are_counted_as_the_profiler_does():
    layers = nn.Sequential(
        nn.Conv3d(2, 6, 3, padding=1, groups=2), nn.BatchNorm3d(6), nn.ConvTranspose3d(6, 4, 2, stride=2)
    )
    voxels = 4 * 4 * 4
    expected = voxels * 6 * 1 * 27 + 2 * voxels * 6 + (8 * voxels) * 4 * 6 * 8
    assert count_macs(layers, (1, 2, 4, 4, 4)) == expected
    assert count_macs(nn.Upsample(scale_factor=2, mode="trilinear"), (1, 3, 2, 2, 2)) == 31 * 3 * 64
    assert count_macs(nn.Conv2d(3, 5, 1), (1, 3, 8, 8)) == 64 * 15


def test_counting_leaves_the_network_as_it_was():
    network = LVNet(TINY).train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    measure(network, (1, 1, 16, 16, 16))
    assert network.training
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())


def test_evaluation_gives_logits_of_full_size():
    network = LVNet(TINY, deep_supervision=True).eval()
    assert network(torch.zeros(2, 1, 16, 32, 16)).shape == (2, 2, 16, 32, 16)


def test_training_gives_four_auxiliary_outputs_of_full_size_from_the_coarsest_stage_to_the_finest():
    network = LVNet(deep_supervision=True).train()
    seen = []
    for head in network.heads:
        head.register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape[1:])))
    main, auxiliary = network(torch.zeros(2, 1, 16, 32, 32))
    assert [tuple(a.shape) for a in (main, *auxiliary)] == [(2, 2, 16, 32, 32)] * 5
    # Widths 256, 128, 64, 32 at an eighth to the whole of each side, as the paper's L1 to L4.
    assert seen == [(256, 2, 4, 4), (128, 4, 8, 8), (64, 8, 16, 16), (32, 16, 32, 32)]
    assert DEEP_SUPERVISION_WEIGHTS == (0.2, 0.4, 0.6, 0.8)


def test_the_finest_auxiliary_output_has_a_head_of_its_own_beside_the_main_output():
    network = LVNet(TINY, deep_supervision=True).train()
    main, auxiliary = network(torch.randn(2, 1, 16, 16, 16))
    assert not torch.equal(main, auxiliary[-1])


def test_without_heads_training_gives_logits_only():
    assert LVNet(TINY).train()(torch.zeros(2, 1, 16, 16, 16)).shape == (2, 2, 16, 16, 16)


@pytest.mark.parametrize(
    ("architecture", "size"),
    [
        (Architecture(in_channels=3, classes=5, widths=(4, 8), expansion=1, kernel_size=3), (1, 3, 6, 10, 14)),
        (Architecture(classes=2, widths=(4, 6, 8, 10, 12, 14), expansion=3, kernel_size=7), (1, 1, 32, 32, 64)),
        (Architecture(classes=3, widths=(5, 7, 9), expansion=6, kernel_size=1), (2, 1, 4, 8, 12)),
    ],
)
def test_other_channels_classes_widths_and_depths_work(architecture, size):
    out = LVNet(architecture).eval()(torch.zeros(size))
    assert out.shape == (size[0], architecture.classes, *size[2:])


@pytest.mark.parametrize(
    "size", [(1, 1, 15, 32, 32), (1, 1, 16, 40, 32), (1, 2, 16, 32, 32), (1, 1, 16, 32), (1, 1, 0, 16, 16)]
)
def test_slabs_that_do_not_fit_are_refused_in_one_line(size):
    with pytest.raises(GeometryError) as refusal:
        LVNet(TINY)(torch.zeros(size))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"classes": 1},
        {"kernel_size": 4},
        {"widths": (16,)},
        {"widths": (16,) * 9},
        {"expansion": 0},
        {"in_channels": 1.5},
        {"widths": (16, -1)},
    ],
)
def test_impossible_architectures_are_refused(wrong):
    with pytest.raises(ConfigurationError):
        Architecture(**wrong)


def test_every_weight_learns():
    network = LVNet(TINY, deep_supervision=True).train()
    main, auxiliary = network(torch.randn(2, 1, 16, 16, 16))
    sum(out.square().mean() for out in (main, *auxiliary)).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
