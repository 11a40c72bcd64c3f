"""The program knows and reports how a network is computed, and says correctly what would make it faster."""

from __future__ import annotations

import platform
import sys

import pytest
import torch
from lvnet import acceleration
from lvnet.acceleration import ComputePath, accelerate, fastest, swapping
from lvnet.acceleration.compute_path import NUMBA, PLAIN, TILES
from lvnet.network import LVNet
from lvnet.recipe import Architecture

#: The kernels support the first architecture, not the second.
KNOWN, UNKNOWN = Architecture(widths=(16, 16)), Architecture(widths=(4, 8), kernel_size=3, expansion=1)


def network(architecture=KNOWN):
    torch.manual_seed(1)
    return LVNet(architecture).eval()


@pytest.fixture
def without_numba(monkeypatch):
    """An ordinary x86 computer without Numba."""
    monkeypatch.setattr(swapping, "numba_available", lambda: False)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")


def test_the_kernels_say_that_they_compute():
    pytest.importorskip("numba", reason="the [fast] extra is not installed")
    assert fastest(network())[1] == ComputePath(NUMBA)


@pytest.mark.parametrize("machine", ["x86_64", "AMD64"])
def test_without_numba_the_tiles_say_what_would_be_faster(without_numba, monkeypatch, machine):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert fastest(network())[1] == ComputePath(TILES, faster_with="numba")


def test_the_bundled_weights_would_be_faster_with_numba(without_numba):
    from lvnet.inference import load_model

    assert load_model(device="cpu").compute_path == ComputePath(TILES, faster_with="numba")


def test_what_the_kernels_were_never_measured_on_is_not_promised(without_numba, monkeypatch):
    assert fastest(network(UNKNOWN))[1] == ComputePath(TILES)
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert fastest(network())[1] == ComputePath(TILES)


def test_neither_numba_nor_llvmlite_is_needed_to_know_that_they_would_help(without_numba, monkeypatch):
    for package in ("numba", "llvmlite", "llvmlite.binding"):
        monkeypatch.setitem(sys.modules, package, None)
    assert fastest(network())[1].faster_with == "numba"


def test_what_is_left_out_is_said_with_its_reason(monkeypatch):
    def broken(*_):
        raise ImportError("DLL load failed\nand more")

    monkeypatch.setattr(swapping, "numba_available", lambda: True)
    monkeypatch.setattr("lvnet.acceleration.cpu_inference.fused_block.irb_kernels", broken)
    # Numba is already installed, so its installation must not be suggested.
    assert fastest(network())[1] == ComputePath(TILES, left_out="Numba kernels: DLL load failed")


def test_the_network_itself_promises_nothing(monkeypatch):
    assert fastest(network().double())[1] == ComputePath(PLAIN)
    monkeypatch.setenv(acceleration.SWITCH, "off")
    assert fastest(network())[1] == ComputePath(PLAIN)


def test_accelerate_gives_the_same_path(without_numba):
    assert type(accelerate(network())) is type(fastest(network())[0])


def test_a_path_comes_back_from_json_and_nothing_else_does():
    path = ComputePath(TILES, "Numba kernels: no such processor", "numba")
    assert ComputePath.from_dict(path.to_dict()) == path
    with pytest.raises(KeyError):
        ComputePath.from_dict({"name": TILES})
    with pytest.raises(TypeError):
        ComputePath.from_dict(None)


def test_the_command_line_says_how_it_computes_and_what_would_be_faster(without_numba, tmp_path, capsys):
    from lvnet.checkpoint import save_checkpoint
    from lvnet.cli import main
    from lvnet.phantom import make_phantom
    from lvnet.recipe import Preprocessing, Recipe

    recipe = Recipe(KNOWN, Preprocessing(in_plane_spacing=(8.0, 8.0), slice_spacing=8.0, slab_depth=4), name="small")
    weights, scan = str(tmp_path / "small.safetensors"), tmp_path / "ct.nrrd"
    save_checkpoint(weights, network().state_dict(), recipe)
    from lvnet.image_io import write_image

    write_image(make_phantom(1, size=(20, 48, 48), spacing=(10.0, 8.0, 8.0))[0], scan)
    main(["segment", str(scan), "-o", str(tmp_path / "out.nrrd"), "--weights", weights, "--device", "cpu"])
    said = capsys.readouterr().err
    assert "on CPU, as requested, with PyTorch tiles; the package numba would make it several times faster\n" in said
