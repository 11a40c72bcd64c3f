"""The recipe names the network: baselines and variants run wherever LV-Net's weights do."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from lvnet.acceleration import accelerate
from lvnet.building import build_network
from lvnet.checkpoint import load_checkpoint, save_checkpoint
from lvnet.cli import main
from lvnet.errors import CheckpointError, ConfigurationError
from lvnet.image_io import read_labels, write_image
from lvnet.phantom import make_phantom
from lvnet.recipe import Architecture, Preprocessing, Recipe

NARROW = {name: {"network": name, "narrower": 8} for name in ("unet", "cenet", "unet3d", "vnet")}
SMALL = {"widths": (4, 6, 8, 8, 10), "kernel_size": 3}
VARIANTS = {
    "vanilla": {**SMALL, "block": "vanilla"},
    "strided": {**SMALL, "down": "strided"},
    "transposed": {**SMALL, "up": "transposed"},
    **{f"eps-{eps}": {**SMALL, "expansion": eps} for eps in (1, 2, 6)},
}
SETTINGS = Preprocessing((-120, 240), 22.0, 86.0, (8.0, 8.0), slice_spacing=8.0, slab_depth=16)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("named") / "ct.nii.gz"
    write_image(make_phantom(3, size=(24, 48, 48))[0], path)
    return path


def saved(path, **architecture):
    torch.manual_seed(1)
    network = build_network(Architecture(**architecture))
    save_checkpoint(path, network.state_dict(), Recipe(Architecture(**architecture), SETTINGS, name="made"))
    return network.eval()


@pytest.mark.parametrize("name", [*NARROW, *VARIANTS])
def test_weights_of_every_network_segment_by_the_command_line(tmp_path, scan, name, capsys):
    weights, out = tmp_path / f"{name}.safetensors", tmp_path / "out.nii.gz"
    saved(weights, **{**NARROW, **VARIANTS}[name])
    command = ["segment", str(scan), "-o", str(out), "--weights", str(weights), "--device", "cpu"]
    assert main([*command, "--no-postprocessing", "--quiet", "--overlap", "0"]) == 0, capsys.readouterr().err
    assert read_labels(out).shape == (24, 48, 48)
    assert main(["info", "--weights", str(weights)]) == 0
    assert (f"network: {name}," in capsys.readouterr().out) == (name in NARROW)
    assert main(["info", "--weights", str(weights), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["weights"]
    assert facts["parameters"] > 1000 and facts["macs"] > facts["parameters"]


@pytest.mark.parametrize("name", ["unet", "cenet"])
def test_a_network_of_slices_computes_every_slice_by_itself(name):
    network = build_network(Architecture(**NARROW[name])).eval()
    slab = torch.randn(1, 1, 5, 64, 32)
    with torch.inference_mode():
        whole = network(slab)
        for z in range(5):
            assert torch.allclose(whole[:, :, z : z + 1], network(slab[:, :, z : z + 1]), atol=1e-5)


@pytest.mark.parametrize("name", [*NARROW, "vanilla", "strided", "transposed"])
def test_the_fast_paths_leave_other_networks_alone(name):
    network = build_network(Architecture(**{**NARROW, **VARIANTS}[name])).eval()
    assert accelerate(network) is network


@pytest.mark.parametrize("eps", [1, 2, 6])
def test_the_fast_paths_give_the_logits_of_every_expansion(eps):
    torch.manual_seed(eps)
    network = build_network(Architecture(expansion=eps)).eval()
    fast, slab = accelerate(network), torch.randn(1, 1, 16, 32, 32)
    assert fast is not network
    with torch.inference_mode():
        assert torch.allclose(fast(slab), network(slab), atol=1e-3)


def test_a_file_that_names_no_network_is_lv_net_and_says_nothing_new():
    recipe = Recipe()
    assert set(recipe.to_dict()["architecture"]) == {"in_channels", "classes", "widths", "expansion", "kernel_size"}
    assert Recipe.from_dict(recipe.to_dict()).architecture.plain
    named = Recipe(Architecture(network="vnet"))
    assert Recipe.from_dict(json.loads(json.dumps(named.to_dict()))).architecture.network == "vnet"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": "resnet"}, "no network 'resnet'; choose lvnet, unet"),
        ({"block": "dense"}, "no block 'dense'"),
        ({"network": "vnet", "up": "transposed"}, "vnet does not have them"),
        ({"narrower": 2}, "set `widths` for LV-Net"),
        ({"network": "vnet", "narrower": 3}, "1, 2, 4, 8 or 16"),
        ({"network": "vnet", "in_channels": 65536}, "too large"),
        ({"block": "vanilla", "widths": (512, 512)}, "too large"),
    ],
)
def test_networks_that_there_are_not_are_refused_in_one_line(changes, words):
    with pytest.raises(ConfigurationError, match=words) as refusal:
        Architecture(**changes)
    assert "\n" not in str(refusal.value)


def test_a_file_with_an_unknown_network_or_other_weights_is_refused(tmp_path, scan, capsys):
    path = tmp_path / "x.safetensors"
    network = build_network(Architecture(**SMALL))
    recipe = Recipe(Architecture(**SMALL))
    data = recipe.to_dict()
    data["architecture"]["network"] = "resnet"

    class Forged:
        def to_dict(self):
            return data

    save_checkpoint(path, network.state_dict(), Forged())
    assert main(["segment", str(scan), "-o", str(tmp_path / "o.nii.gz"), "--weights", str(path)]) == 2
    error = capsys.readouterr().err
    assert "no network 'resnet'" in error and error.count("\n") == 1
    save_checkpoint(path, network.state_dict(), Recipe(Architecture(network="vnet")))
    with pytest.raises(CheckpointError, match="do not match the architecture"):
        load_checkpoint(path).build()


def test_baselines_are_imported_only_where_a_recipe_names_them():
    code = "import sys, lvnet; lvnet.load_model(device='cpu'); print(any('baselines' in m for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_small_slice_leaves_ce_nets_poolings_what_there_is():
    network = build_network(Architecture(**NARROW["cenet"])).eval()
    with torch.inference_mode():
        assert np.isfinite(network(torch.randn(1, 1, 2, 32, 32)).numpy()).all()
