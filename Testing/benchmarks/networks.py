"""The networks that are compared with each other, each in its fastest configuration."""

from __future__ import annotations

from typing import Any, Callable, Dict, Sequence, Tuple

#: Command-line name -> name in the table.  `lvnet` is ours, `lvnet-stock` the same with PyTorch's own operations.
TITLES: Dict[str, str] = {
    "lvnet": "LV-Net (ours)",
    "lvnet-tiles": "LV-Net (ours) without Numba",
    "lvnet-stock": "LV-Net, stock PyTorch",
    "vnet": "V-Net",
    "unet3d": "3D U-Net",
    "unet": "U-Net, slice by slice",
    "nnunet": "nnU-Net's default, 31 M",
}
#: Those that choose memory format and allocator themselves.
OURS = ("lvnet", "lvnet-tiles")
FORMATS = ("contiguous", "channels_last")
#: Environment variables of the child process by network.
EXTRA = {"lvnet-stock": {"LVNET_ACCELERATION": "off"}}


def build(name: str) -> Any:
    """A network with random weights, one channel and two classes.

    Raises:
        ImportError: nnU-Net's package is not installed.
    """
    import torch

    torch.manual_seed(1)
    if name == "nnunet":
        return _nnunet()
    from lvnet.baselines import build as build_baseline

    return build_baseline(name.partition("-")[0])


def _nnunet() -> Any:
    """nnU-Net's default 3D network for a large organ: 6 stages of 32 to 320 channels, 31 M parameters."""
    from dynamic_network_architectures.architectures.unet import PlainConvUNet
    from torch import nn

    stages = 6
    # Flat slabs: the depth is halved less often than the plane.
    strides = [(1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2)]
    return PlainConvUNet(
        input_channels=1, n_stages=stages, features_per_stage=[32, 64, 128, 256, 320, 320], conv_op=nn.Conv3d,
        kernel_sizes=[[3, 3, 3]] * stages, strides=strides, n_conv_per_stage=[2] * stages, num_classes=2,
        n_conv_per_stage_decoder=[2] * (stages - 1), conv_bias=True, norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True}, nonlin=nn.LeakyReLU, nonlin_kwargs={"inplace": True},
    )  # fmt: skip


def input_of(name: str, size: Sequence[int], memory_format: str, device: str = "cpu") -> Any:
    """Random input: a slab (N, 1, D, H, W), or its slices (N D, 1, H, W) for a 2D network."""
    import torch

    batch, depth, height, width = size
    shape: Tuple[int, ...] = (batch, 1, depth, height, width)
    if name == "unet":
        shape = (batch * depth, 1, height, width)
    return in_format(torch.randn(shape, generator=torch.Generator().manual_seed(2)).to(device), memory_format)


def in_format(tensor_or_network: Any, memory_format: str, planar: bool = False) -> Any:
    """The same tensor or network in another memory format."""
    import torch
    from torch import nn

    if memory_format == "contiguous":
        return tensor_or_network
    if isinstance(tensor_or_network, nn.Module):
        kind = torch.channels_last if planar else torch.channels_last_3d
        return tensor_or_network.to(memory_format=kind)
    kind = torch.channels_last if tensor_or_network.ndim == 4 else torch.channels_last_3d
    return tensor_or_network.contiguous(memory_format=kind)


def prepared(name: str, memory_format: str, device: str = "cpu") -> Any:
    """A network in evaluation mode, on a device and in a memory format."""
    return in_format(build(name).to(device).eval(), memory_format, name == "unet")


def for_inference(name: str, network: Any) -> Callable[[Any], Any]:
    """The callable that maps an input to logits; for our network, with the accelerations of `lvnet.acceleration`."""
    if name not in OURS:
        return network
    if name == "lvnet-tiles":
        from lvnet.acceleration.cpu_inference.network import CPUNetwork
        from lvnet.acceleration.folding import fold_network

        return CPUNetwork(fold_network(network))
    from lvnet.acceleration import accelerate

    return accelerate(network)


def keep_pages_as_ours_do(name: str) -> None:
    """Sets the allocator for our networks, as our own processes do."""
    if name in OURS:
        from lvnet.acceleration.allocator import keep_pages

        keep_pages()
