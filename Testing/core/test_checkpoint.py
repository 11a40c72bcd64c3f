"""A checkpoint contains the complete recipe; a damaged one is rejected with a one-line error."""

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lvnet import checkpoint as checkpoints
from lvnet.checkpoint import load_checkpoint, save_checkpoint
from lvnet.errors import CheckpointError
from lvnet.network import LVNet
from lvnet.recipe import Architecture, LabelClass, Preprocessing, Recipe
from lvnet.safetensors_format import encode_safetensors, parse_safetensors, read_safetensors

ARCHITECTURE = Architecture(classes=3, widths=(4, 6, 8), expansion=2, kernel_size=3)
RECIPE = Recipe(
    architecture=ARCHITECTURE,
    preprocessing=Preprocessing(
        window=(-160.0, 240.0), mean=10.0, std=80.0, in_plane_spacing=(2.0, 2.0), slice_spacing=4.0
    ),
    classes=(LabelClass(1, "spleen", "78961009", "Spleen"), LabelClass(7, "kidney", colour=(1, 2, 3))),
    name="two organs",
    provenance={"data": "phantoms", "epochs": 3, "scores": {"dice": 0.5}, "note": "é"},
)


@pytest.fixture
def network():
    torch.manual_seed(3)
    return LVNet(ARCHITECTURE, deep_supervision=True).eval()


@pytest.fixture
def path(tmp_path, network):
    save_checkpoint(tmp_path / "w.safetensors", network.state_dict(), RECIPE)
    return tmp_path / "w.safetensors"


def test_weights_and_recipe_come_back(path, network):
    loaded = load_checkpoint(path)
    assert loaded.recipe == RECIPE
    x = torch.randn(1, 1, 8, 8, 8)
    # Stored in half precision, used in single precision.
    assert next(loaded.build().parameters()).dtype == torch.float32
    torch.testing.assert_close(loaded.build()(x), network(x), rtol=0.02, atol=0.02)


def test_auxiliary_heads_stay_behind_and_numbers_take_two_bytes(path):
    arrays, _ = read_safetensors(path)
    assert not any(name.startswith("heads.") for name in arrays)
    assert {a.dtype.str for name, a in arrays.items() if not name.endswith("num_batches_tracked")} == {"<f2"}


def test_the_default_network_takes_about_three_megabytes(tmp_path):
    save_checkpoint(tmp_path / "w.safetensors", LVNet().state_dict(), Recipe())
    assert 3.2e6 < (tmp_path / "w.safetensors").stat().st_size < 3.5e6


def test_saving_twice_gives_the_same_bytes(tmp_path, network, path):
    save_checkpoint(tmp_path / "again.safetensors", network.state_dict(), RECIPE)
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_the_safetensors_library_reads_what_we_write_and_we_read_what_it_writes(path, tmp_path):
    library = pytest.importorskip("safetensors.numpy", reason="the safetensors library is not installed")
    ours, _ = read_safetensors(path)
    theirs = library.load_file(path)
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    arrays = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.ones((), np.int64),
        "c": np.zeros((0, 2), np.float16),
    }
    library.save_file(arrays, tmp_path / "theirs.safetensors", {"key": "value"})
    back, metadata = read_safetensors(tmp_path / "theirs.safetensors")
    assert metadata == {"key": "value"}
    assert all(np.array_equal(arrays[name], back[name]) and arrays[name].dtype == back[name].dtype for name in arrays)


@pytest.mark.parametrize("keep", [0, 4, 8, 50, 0.3, 0.9, -1])
def test_a_truncated_file_is_refused(path, tmp_path, keep):
    data = path.read_bytes()
    (tmp_path / "cut").write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(CheckpointError) as refusal:
        load_checkpoint(tmp_path / "cut")
    assert "\n" not in str(refusal.value)


def test_pipes_and_devices_are_refused_and_not_read_for_ever(path, tmp_path):
    os.mkfifo(tmp_path / "pipe.safetensors")
    for place in (tmp_path / "pipe.safetensors", Path("/dev/zero")):
        with pytest.raises(CheckpointError, match="is a pipe or a device, not a file"):
            load_checkpoint(place)
    os.mkfifo(path.parent / checkpoints.SUMS_FILE)
    assert load_checkpoint(path).recipe == RECIPE


def test_one_changed_bit_is_noticed(path):
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="checksum"):
        load_checkpoint(path)


def rewrite(path, **changes):
    """Rewrites a file with other metadata; the checksum is recomputed unless it is among the changes."""
    arrays, metadata = read_safetensors(path)
    metadata.update(changes)
    if "checksum" not in changes:
        metadata["checksum"] = checkpoints._checksum(metadata["recipe"], arrays)
    path.write_bytes(encode_safetensors(arrays, {k: v for k, v in metadata.items() if v is not None}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "another"}, "not an LV-Net checkpoint"),
        ({"format": None}, "not an LV-Net checkpoint"),
        ({"format_version": "99"}, "format version '99'"),
        ({"recipe": "{}"}, "recipe"),
        ({"recipe": "no json"}, "recipe"),
        ({"recipe": "[1]"}, "recipe"),
        ({"checksum": "0"}, "checksum"),
    ],
)
def test_other_formats_versions_and_recipes_are_refused(path, changes, words):
    rewrite(path, **changes)
    with pytest.raises(CheckpointError, match=words):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": {"classes": 2}},
        {"architecture": {"kernel": 5}},
        {"architecture": {"widths": "wide"}},
        {"preprocessing": {"window": [200, -200]}},
        {"preprocessing": {"slab_depth": 15}},
        {"preprocessing": {"mean": 3.0, "std": None}},
        {"preprocessing": {"std": -1.0, "mean": 0.0}},
        {"preprocessing": {"slice_spacing": 0.0}},
        {"classes": []},
        {"classes": [{"value": 0, "name": "x"}, {"value": 1, "name": "y"}]},
        {"classes": [{"value": 1, "name": "x"}, {"value": 1, "name": "y"}]},
    ],
)
def test_impossible_recipes_are_refused(path, change):
    recipe = RECIPE.to_dict()
    for key, value in change.items():
        recipe[key] = {**recipe[key], **value} if isinstance(value, dict) else value
    rewrite(path, recipe=json.dumps(recipe))
    with pytest.raises(CheckpointError):
        load_checkpoint(path)


def test_weights_of_another_architecture_are_refused(path):
    recipe = RECIPE.to_dict()
    recipe["architecture"]["expansion"] = 3
    rewrite(path, recipe=json.dumps(recipe))
    with pytest.raises(CheckpointError, match="do not match the architecture"):
        load_checkpoint(path).build()


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(CheckpointError, match="cannot read"):
            load_checkpoint(path)


def test_weights_that_went_astray_are_not_written(tmp_path, network):
    state = dict(network.state_dict())
    state["output.bias"] = torch.full_like(state["output.bias"], 1e6)
    with pytest.raises(CheckpointError, match=r"output\.bias"):
        save_checkpoint(tmp_path / "w.safetensors", state, RECIPE)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path, network):
    (tmp_path / "w.safetensors").mkdir()
    with pytest.raises(CheckpointError, match="cannot write"):
        save_checkpoint(tmp_path / "w.safetensors", network.state_dict(), RECIPE)
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def header(entries, buffer=b""):
    text = json.dumps(entries).encode() if not isinstance(entries, bytes) else entries
    return struct.pack("<Q", len(text)) + text + buffer


@pytest.mark.parametrize(
    "data",
    [
        header([1, 2]),
        header({"__metadata__": [1]}),
        header({"__metadata__": {"a": 1}}),
        header({"t": 3}),
        header({"t": {"dtype": "F32", "shape": [1], "data_offsets": [0, 8]}}, bytes(8)),
        header({"t": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}, bytes(4)),
        header({"t": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, bytes(4)),
        header({"t": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}}, bytes(4)),
        header({"t": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}, bytes(4)),
        header({"t": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
        header({"t": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, bytes(8)),
        header({"t": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(8)),
        header({"t": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], "more": 1}}, bytes(4)),
        header(
            {
                "t": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
                "u": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
            },
            bytes(4),
        ),
        header(b'{"t": 1, "t": 2}'),
        header(b"[" * 100_000),
        struct.pack("<Q", 2**63) + b"{}",
    ],
)
def test_every_crooked_header_is_refused(data):
    with pytest.raises(CheckpointError):
        parse_safetensors(data)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_makes_the_reader_do_anything_but_refuse_or_read(data):
    arrays = {"a": np.arange(4, dtype=np.float32), "b": np.zeros((2, 1), np.float16)}
    whole = bytearray(encode_safetensors(arrays, {"k": "v"}))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        result, _ = parse_safetensors(bytes(whole))
    except CheckpointError:
        return
    assert sum(a.nbytes for a in result.values()) <= len(whole)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_are_refused(data):
    with pytest.raises(CheckpointError):
        parse_safetensors(data)
