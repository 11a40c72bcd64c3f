"""Inference: from a volume to labels on its own grid."""

import numpy as np
import pytest
import torch
from lvnet import inference
from lvnet.checkpoint import save_checkpoint
from lvnet.devices import list_devices, select_device
from lvnet.errors import Cancelled, CheckpointError, ConfigurationError, DeviceError
from lvnet.inference import Model, load_model
from lvnet.network import LVNet
from lvnet.pipeline.python import segment
from lvnet.recipe import Architecture, LabelClass, Preprocessing, Recipe
from lvnet.slabs import predict, slab_starts, slab_weights
from lvnet.volume import Volume
from torch import nn

SETTINGS = Preprocessing(window=(-120.0, 240.0), mean=0.0, std=100.0, in_plane_spacing=(2.0, 2.0), slice_spacing=4.0)


class Brightness(nn.Module):
    """Replaces a trained network: labels voxels brighter than 100 HU as the organ."""

    def forward(self, x):
        organ = (x - 1.0) * 40
        return torch.cat([-organ, organ], dim=1)


class TwoOrgans(nn.Module):
    """Replaces a network with three classes: above 100 HU the first organ, above 200 the second."""

    def forward(self, x):
        return torch.cat([torch.zeros_like(x), (x - 1) * 40, (x - 1.5) * 80 - 20 + 20 * (x - 1.5)], dim=1)


@pytest.fixture
def model():
    return Model(Brightness().eval(), Recipe(preprocessing=SETTINGS), torch.device("cpu"), "test")


def scan(shape=(40, 80, 96), spacing=(2.5, 1.5, 1.5), **place):
    """A body with a bright box in it."""
    array = np.full(shape, -1000, np.int16)
    d, h, w = shape
    array[:, h // 8 : -h // 8, w // 8 : -w // 8] = 0
    array[d // 4 : d // 2, h // 4 : h // 2, w // 4 : w // 2] = 180
    return Volume(array, spacing, **place)


def dice(a, b):
    a, b = np.asarray(a) > 0, np.asarray(b) > 0
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_the_result_lies_on_the_scans_own_grid_bit_for_bit(model):
    volume = scan(origin=(1.1, -2.2, 1 / 3), direction=(0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    labels = segment(volume, model=model).labels
    assert (labels.shape, labels.spacing, labels.origin, labels.direction) == (
        volume.shape,
        volume.spacing,
        volume.origin,
        volume.direction,
    )
    assert labels.array.dtype == np.uint8
    assert set(np.unique(labels.array)) == {0, 1}
    assert dice(labels.array, volume.array == 180) > 0.93


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((1, 64, 64), (5.0, 2.0, 2.0)),
        ((3, 64, 80), (10.0, 3.0, 3.0)),
        ((200, 70, 64), (0.4, 2.0, 2.0)),
        ((17, 33, 257), (4.0, 4.0, 0.7)),
        ((20, 300, 64), (4.0, 0.5, 3.0)),
    ],
)
def test_few_slices_odd_sides_and_any_spacing_work(model, shape, spacing):
    volume = scan(shape, spacing)
    result = segment(volume, model=model)
    assert result.labels.shape == shape
    if shape[0] > 3:
        assert dice(result.labels.array, volume.array == 180) > 0.8


def test_edges_are_smooth_at_full_resolution_rather_than_blocky(model):
    z, y, x = np.ogrid[:32, :200, :200]
    disc = ((y - 100) ** 2 + (x - 100) ** 2 < 55**2) & (z >= 0)
    volume = Volume(np.where(disc, 200, 0).astype(np.int16), (4.0, 0.5, 0.5))
    edge = segment(volume, model=model).labels.array[16]
    columns = np.flatnonzero(edge.any(axis=0))
    tops = np.array([np.flatnonzero(edge[:, column])[0] for column in columns])
    # Blocks of four pixels would give steps of four; a smooth circle has steps of one near its top.
    middle = tops[len(tops) // 2 - 25 : len(tops) // 2 + 25]
    assert np.abs(np.diff(middle)).max() <= 2
    assert dice(edge, disc[0] if disc.shape[0] == 1 else disc[16]) > 0.97


def test_probabilities_are_between_zero_and_one_and_agree_with_the_labels(model):
    result = segment(scan(), model=model, probabilities=True, postprocess=False)
    soft = result.probabilities.array
    assert soft.dtype == np.float32
    assert soft.min() >= 0 and soft.max() <= 1.0001
    assert np.array_equal(soft > 0.5, result.labels.array == 1)


def test_several_classes_take_their_values_from_the_recipe():
    recipe = Recipe(
        Architecture(classes=3), SETTINGS, (LabelClass(4, "spleen"), LabelClass(9, "kidney")), name="two organs"
    )
    volume = scan((40, 80, 96))
    array = volume.array.copy()
    array[22:30, 40:60, 50:70] = 240
    volume = volume.with_array(array)
    result = segment(volume, model=Model(TwoOrgans().eval(), recipe, torch.device("cpu"), ""), postprocess=False)
    assert set(np.unique(result.labels.array)) == {0, 4, 9}
    assert set(result.volumes_ml) == {"spleen", "kidney"}
    assert dice(result.labels.array == 9, array == 240) > 0.8


def test_small_islands_go_unless_postprocessing_is_off(model):
    volume = scan()
    array = volume.array.copy()
    array[34:37, 60:64, 70:74] = 230
    volume = volume.with_array(array)
    kept, cleaned = (segment(volume, model=model, postprocess=flag).labels.array for flag in (False, True))
    assert kept[34:37, 60:64, 70:74].any()
    assert not cleaned[34:37, 60:64, 70:74].any()


def test_volumes_are_in_millilitres(model):
    result = segment(scan(), model=model)
    expected = result.labels.array.sum() * 2.5 * 1.5 * 1.5 / 1000
    assert result.volumes_ml["liver"] == pytest.approx(expected)


def test_an_empty_result_is_an_answer_and_is_said(model):
    result = segment(Volume(np.full((20, 64, 64), -1000, np.int16)), model=model)
    assert not result.labels.array.any()
    assert any("nothing was found" in note for note in result.notes)


def test_progress_grows_to_one_and_names_its_stages(model):
    seen = []
    segment(scan(), model=model, progress=lambda share, stage: seen.append((share, stage)))
    shares = [share for share, _ in seen]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert len({stage for _, stage in seen}) >= 4


@pytest.mark.parametrize("after", [0, 1, 3, 6])
def test_work_stops_when_it_is_cancelled(model, after):
    asked = []

    def cancelled():
        asked.append(1)
        return len(asked) > after

    with pytest.raises(Cancelled):
        segment(scan((80, 64, 64)), model=model, cancelled=cancelled)


@pytest.mark.parametrize(
    ("length", "overlap"), [(1, 0.5), (16, 0.5), (17, 0.5), (40, 0.0), (100, 0.5), (33, 0.9), (20, 0.25)]
)
def test_slabs_cover_every_slice_with_the_overlap_asked_for(length, overlap):
    starts = slab_starts(length, 16, overlap)
    covered = np.zeros(max(length, 16), int)
    for start in starts:
        covered[start : start + 16] += 1
    assert covered.min() >= 1
    assert starts[0] == 0 and starts[-1] == max(0, length - 16)
    assert max(np.diff(starts), default=0) <= max(1, round(16 * (1 - overlap)))


def test_an_impossible_overlap_is_refused():
    for overlap in (-0.1, 0.95, float("nan")):
        with pytest.raises(ConfigurationError):
            slab_starts(30, 16, overlap)


def test_slab_weights_are_a_smooth_hill_that_never_reaches_zero():
    weights = slab_weights(16)
    assert weights.min() > 0
    assert np.array_equal(weights, weights[::-1])
    assert (np.diff(weights[:8]) > 0).all()


def test_probabilities_of_a_real_network_do_not_depend_on_the_padding(tmp_path):
    torch.manual_seed(1)
    architecture = Architecture(widths=(4, 6, 8, 8, 10), expansion=2, kernel_size=3)
    model = Model(LVNet(architecture).eval(), Recipe(architecture, SETTINGS), torch.device("cpu"), "")
    scores = predict(np.random.default_rng(1).standard_normal((7, 33, 47)).astype(np.float32), model)
    assert scores.shape == (2, 7, 33, 47)
    np.testing.assert_allclose(scores.sum(axis=0), 1, atol=1e-5)


def test_a_model_is_loaded_from_a_file_onto_the_cpu(tmp_path):
    architecture = Architecture(widths=(4, 6, 8, 8, 10), expansion=2, kernel_size=3)
    recipe = Recipe(architecture, SETTINGS)
    save_checkpoint(tmp_path / "w.safetensors", LVNet(architecture).state_dict(), recipe)
    model = load_model(tmp_path / "w.safetensors", "cpu")
    assert model.recipe == recipe
    assert not model.network.training
    assert segment(scan((16, 64, 64)), weights=tmp_path / "w.safetensors", device="cpu").labels.shape == (16, 64, 64)


def test_weights_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(CheckpointError):
        segment(scan(), weights=tmp_path / "none.safetensors", device="cpu")


def test_automatic_takes_the_cpu_only_with_a_reason():
    device, reason = select_device("auto")
    if device.type == "cpu":
        assert "CUDA:" in reason and "\n" not in reason
    assert select_device("cpu")[0].type == "cpu"


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:-1", "mps:1", "", "cpu:0", "cuda:99"])
def test_a_device_that_does_not_exist_is_refused_in_one_line(name):
    with pytest.raises(DeviceError) as refusal:
        select_device(name)
    assert "\n" not in str(refusal.value)


def test_a_gpu_that_computes_nonsense_is_not_taken(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    device, reason = select_device("auto")
    if torch.version.cuda is None:
        assert device.type == "cpu"
        assert "CUDA:" in reason


def test_devices_are_listed_with_the_cpu_first():
    assert list_devices()[0]["name"] == "cpu"


def test_running_out_of_memory_is_one_readable_line(model):
    class Greedy(nn.Module):
        def forward(self, x):
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            )

    greedy = Model(Greedy().eval(), model.recipe, torch.device("cpu"), "")
    with pytest.raises(DeviceError, match="too little memory"):
        segment(scan(), model=greedy)


def test_other_failures_of_the_network_keep_their_traceback(model):
    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        segment(scan(), model=Model(Broken().eval(), model.recipe, torch.device("cpu"), ""))


def test_settings_are_given_by_their_names(model):
    seen = []

    class Watched(Brightness):
        def forward(self, x):
            seen.append(torch.get_num_threads())
            return super().forward(x)

    before = torch.get_num_threads()
    segment(scan(), model=Model(Watched().eval(), model.recipe, torch.device("cpu"), ""), threads=before + 1)
    assert set(seen) == {before + 1} and torch.get_num_threads() == before
    with pytest.raises(TypeError, match="no setting 'overlapp'; the settings are weights, device, overlap"):
        segment(scan(), model=model, overlapp=0.5)
    with pytest.raises(ConfigurationError, match=r"between 0 and 0.9"):
        segment(scan(), model=model, overlap=2)


def test_what_the_input_checks_find_comes_first_in_the_notes(model):
    thin = segment(scan((4, 80, 96)), model=model)
    assert "the usual height of the liver" in thin.notes[0]


def test_the_package_offers_its_names_lazily():
    import lvnet

    assert lvnet.load_model is inference.load_model
    assert {"segment", "segment_file", "evaluate", "load_model"} <= set(dir(lvnet))
    with pytest.raises(AttributeError):
        lvnet.nothing  # noqa: B018
