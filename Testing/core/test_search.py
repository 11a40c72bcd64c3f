"""The organ search: only the part of a scan that may contain the organ is computed, with the same result."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lvnet import search
from lvnet.cli.parser import build_parser
from lvnet.errors import Cancelled, ConfigurationError
from lvnet.image_io import read_image, read_labels
from lvnet.inference import Model, load_model
from lvnet.phantom import make_phantom
from lvnet.pipeline.options import SegmentOptions
from lvnet.pipeline.python import segment
from lvnet.preprocessing import prepare
from lvnet.recipe import Architecture, LabelClass, Preprocessing, Recipe
from lvnet.slabs import Selection, predict
from lvnet.volume import Volume
from torch import nn

DATA = Path(os.environ.get("LVNET_DATA_DIR") or "/nonexistent") / "val"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="LVNET_DATA_DIR names no folder with val/CASE/ct.nii.gz")
SETTINGS = Preprocessing(
    window=(-120.0, 240.0), mean=0.0, std=100.0, in_plane_spacing=(2.0, 2.0), slice_spacing=4.0,
    search_spacing=(8.0, 6.0, 6.0),
)  # fmt: skip


class Brightness(nn.Module):
    """Replaces a trained network: labels voxels brighter than 100 HU as the organ, and counts the voxels it gets."""

    def __init__(self):
        super().__init__()
        self.planes = []

    def forward(self, x):
        self.planes.append(tuple(x.shape[2:]))
        organ = (x - 1.0) * 40
        return torch.cat([-organ, organ], dim=1)

    @property
    def voxels(self):
        return sum(int(np.prod(plane)) for plane in self.planes)


class BlindWhereCoarse(Brightness):
    """Finds nothing in planes as small as those of the coarse grid."""

    def forward(self, x):
        logits = super().forward(x)
        return logits if x.shape[-1] > 64 else torch.stack([logits[:, 0] * 0, logits[:, 0] * 0 - 20], dim=1)


def model_of(network, settings=SETTINGS):
    return Model(network.eval(), Recipe(preprocessing=settings), torch.device("cpu"), "test")


def body(organs=((90, 110, 30, 60, 30, 60),), shape=(200, 100, 110), spacing=(4.0, 2.0, 2.0), **place):
    """A long body with bright boxes in it; 20 x 30 x 30 voxels of them are 288 ml."""
    array = np.full(shape, -1000, np.int16)
    array[:, 5:-5, 5:-5] = 0
    for z0, z1, y0, y1, x0, x1 in organs:
        array[z0:z1, y0:y1, x0:x1] = 180
    return Volume(array, spacing, **place)


def both(volume, network=None, **more):
    """Results with and without the search, each followed by its network, which has counted its voxels."""
    results = []
    for wanted in (True, False):
        network = type(network)() if network is not None else Brightness()
        found = segment(volume, model=model_of(network), search=wanted, **more)
        results += [found, network]
    return results


def test_of_a_whole_body_only_the_organs_part_is_computed_and_the_result_is_the_same():
    part, few, whole, many = both(body())
    assert part.labels.array.any() and np.array_equal(part.labels.array, whole.labels.array)
    assert part.checks == whole.checks and part.volumes_ml == whole.volumes_ml
    assert part.measured == whole.measured and part.notes == whole.notes
    assert few.voxels < 0.25 * many.voxels


@pytest.mark.parametrize("spacing", [(4.0, 2.0, 2.0), (8.0, 2.0, 2.0), (2.5, 2.7, 1.4)])
@pytest.mark.parametrize(
    "direction",
    [(1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0), (-1.0, 0, 0, 0, -1.0, 0, 0, 0, -1.0), (0, 1.0, 0, 1.0, 0, 0, 0, 0, -1.0)],
)
def test_the_part_is_the_right_one_at_any_voxel_size_and_orientation(spacing, direction):
    volume = body([(120, 150, 12, 50, 10, 48)], spacing=spacing, direction=direction)
    part, few, whole, many = both(volume)
    assert whole.labels.array.any() and np.array_equal(part.labels.array, whole.labels.array)
    assert few.voxels < many.voxels


def test_islands_far_from_each_other_are_all_computed():
    volume = body([(20, 40, 30, 60, 30, 60), (160, 175, 50, 80, 60, 90)])
    part, _, whole, _ = both(volume, postprocess=False)
    assert np.array_equal(part.labels.array, whole.labels.array)
    assert part.labels.array[20:40].any() and part.labels.array[160:175].any()


@pytest.mark.parametrize("organs", [(), ((90, 98, 30, 50, 30, 50),)], ids=["none", "51 ml"])
def test_where_no_organ_is_found_at_first_or_a_small_one_the_whole_scan_is_computed(organs):
    part, looked, whole, many = both(body(organs))
    assert np.array_equal(part.labels.array, whole.labels.array)
    assert part.labels.array.any() == bool(organs)
    assert looked.voxels > many.voxels


def test_an_organ_that_the_coarse_grid_does_not_show_is_found_all_the_same():
    part, _, whole, _ = both(body(), BlindWhereCoarse())
    assert whole.labels.array.any() and np.array_equal(part.labels.array, whole.labels.array)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("end", ["low", "high"])
def test_an_organ_that_reaches_out_of_the_part_makes_the_whole_scan_be_computed(monkeypatch, axis, end):
    """The coarse grid shows a third of the organ: the missed part is beyond the margin."""
    possible = search._possible

    def a_third(scores, steps):
        sides = list(possible(scores, steps))
        side = sides[axis]
        third = (side.stop - side.start) // 3
        low = end == "high"
        sides[axis] = slice(side.start, side.start + third) if low else slice(side.stop - third, side.stop)
        return tuple(sides)

    # Each side is longer than the margin, the context and a step of sixteen voxels together.
    volume = body([(25, 85, 15, 105, 15, 105)], (110, 120, 120))
    whole = segment(volume, model=model_of(Brightness()), search=False)
    monkeypatch.setattr(search, "_possible", a_third)
    seen = []
    part = segment(volume, model=model_of(Brightness()), progress=lambda share, stage: seen.append((share, stage)))
    assert whole.labels.array.any() and np.array_equal(part.labels.array, whole.labels.array)
    assert any("the whole of it" in stage for _, stage in seen)
    shares = [share for share, _ in seen]
    assert shares == sorted(shares) and shares[-1] == 1.0


def test_where_the_network_is_unsure_about_much_the_whole_scan_is_computed():
    """Pieces elsewhere, which the coarse grid does not show, then count in the self-check."""

    class Unsure(Brightness):
        def forward(self, x):
            organ = super().forward(x)[:, 1:].clamp(max=0.5)
            return torch.cat([-organ, organ], dim=1)

    part, looked, whole, many = both(body(), Unsure())
    assert np.array_equal(part.labels.array, whole.labels.array)
    assert part.measured == whole.measured and part.measured[1]["doubtful"] > 0.15
    assert looked.voxels > many.voxels


def test_a_short_scan_is_computed_at_once():
    part, few, whole, many = both(body([(10, 30, 30, 60, 30, 60)], (45, 100, 110)))
    assert np.array_equal(part.labels.array, whole.labels.array)
    assert few.planes == many.planes


def test_weights_that_name_no_coarse_grid_are_never_searched_with():
    network = Brightness()
    segment(body(), model=model_of(network, replace(SETTINGS, search_spacing=None)))
    everything = Brightness()
    segment(body(), model=model_of(everything), search=False)
    assert network.planes == everything.planes


def test_every_class_has_to_be_found_on_the_coarse_grid():
    class TwoOrgans(Brightness):
        def forward(self, x):
            super().forward(x)
            # Background, above 100 HU, above 200 HU.
            return torch.cat([torch.zeros_like(x), (x - 1) * 40, (x - 1.5) * 80 - 20 + 20 * (x - 1.5)], dim=1)

    recipe = Recipe(Architecture(classes=3), SETTINGS, (LabelClass(4, "spleen"), LabelClass(9, "kidney")))
    volume = body([(90, 110, 30, 60, 30, 60)])
    for second, less in (((115, 140, 25, 70, 25, 70), True), ((115, 119, 30, 40, 30, 40), False)):
        array = volume.array.copy()
        z0, z1, y0, y1, x0, x1 = second
        array[z0:z1, y0:y1, x0:x1] = 240
        results = []
        for wanted in (True, False):
            network = TwoOrgans()
            model = Model(network.eval(), recipe, torch.device("cpu"), "")
            results.append((segment(volume.with_array(array), model=model, search=wanted).labels.array, network.voxels))
        (part, few), (whole, many) = results
        assert set(np.unique(whole)) == {0, 4, 9} and np.array_equal(part, whole)
        assert (few < many) == less


def test_a_map_of_probabilities_is_of_the_whole_scan():
    network, everything = Brightness(), Brightness()
    found = segment(body(), model=model_of(network), probabilities=True)
    segment(body(), model=model_of(everything), search=False)
    assert network.planes == everything.planes
    assert np.array_equal(found.probabilities.array > 0.5, found.labels.array > 0)


def test_the_search_tells_what_it_does_and_stops_when_it_is_cancelled():
    seen = []
    segment(body(), model=model_of(Brightness()), progress=lambda share, stage: seen.append((share, stage)))
    shares = [share for share, _ in seen]
    assert shares == sorted(shares) and shares[-1] == 1.0
    stages = list(dict.fromkeys(stage for _, stage in seen))
    assert stages[:2] == ["reading the scan", "checking the scan"]
    assert stages[2:5] == ["looking for the organ", "preparing the scan", "segmenting"]
    stop = []

    def progress(share, stage):
        stop.append(stage)

    with pytest.raises(Cancelled):
        segment(body(), model=model_of(Brightness()), progress=progress, cancelled=lambda: len(stop) > 3)
    assert stop[-1] == "looking for the organ" and "preparing the scan" not in stop


def test_slices_of_the_networks_grid_are_prepared_as_they_are_in_the_whole():
    rng = np.random.default_rng(3)
    volume = Volume(rng.integers(-200, 300, (90, 40, 50)).astype(np.int16), (1.7, 2.3, 1.9))
    whole, part = prepare(volume, SETTINGS, multiple=16), prepare(volume, SETTINGS, slices=slice(11, 29), multiple=16)
    assert part.box == (slice(11, 29), *whole.box[1:])
    assert np.array_equal(part.array, whole.array[11:29])


def test_a_part_beside_the_body_is_no_reason_to_fail():
    prepared = prepare(body(), SETTINGS, slices=slice(20, 60), multiple=16)
    part = search.Part(slice(20, 60), (0, 8, 16, 24), (slice(-90, -60), slice(200, 230)))
    selection = part.over(prepared, 16)
    assert (selection.rows, selection.columns) == tuple(slice(0, size) for size in prepared.array.shape[1:])


def test_the_bodys_box_begins_at_the_same_multiples_whatever_part_is_looked_at():
    array = np.full((30, 300, 300), -1000, np.int16)
    array[:, 60:200, 80:250] = 40
    array[20:] = -1000
    array[20:, 20:220, 30:290] = 40
    for slices in (None, slice(0, 10), slice(10, 15)):
        prepared = prepare(Volume(array, (4.0, 2.0, 2.0)), SETTINGS, slices=slices, multiple=16)
        for side, axis in zip(prepared.box[1:], prepared.axes[1:]):
            assert side.start % 16 == 0 and (side.stop % 16 == 0 or side.stop == axis.new_size)


def test_a_part_comes_back_to_the_scan_as_it_does_in_the_whole():
    rng = np.random.default_rng(4)
    prepared = prepare(body(shape=(40, 70, 80), spacing=(3.0, 1.3, 1.7)), SETTINGS)
    values = np.zeros((1, *prepared.array.shape), np.float32)
    box = (slice(4, 9), slice(7, 20), slice(11, 30))
    values[0][box] = rng.random((5, 13, 19), np.float32)
    everything = np.stack([plane[0] for _, plane in prepared.restore(values)])
    within = prepared.reach(box)
    part = np.zeros_like(everything)
    for z, plane in prepared.restore(values, within):
        part[z, within[1], within[2]] = plane[0]
    assert everything.any() and np.array_equal(part, everything)


def test_what_is_not_computed_is_background():
    array = np.full((40, 64, 80), 2.0, np.float32)
    selection = Selection((8, 16), slice(16, 48), slice(0, 32))
    spread = np.zeros((1, *array.shape), np.float32)
    scores = predict(array, model_of(Brightness()), selection=selection, spread=spread)
    np.testing.assert_allclose(scores.sum(axis=0), 1, atol=1e-6)
    computed = np.zeros(array.shape, bool)
    computed[8:32, 16:48, 0:32] = True
    assert np.array_equal(scores[1] > 0.5, computed) and (scores[1][~computed] == 0).all()
    assert (spread == 0).all()


@pytest.mark.parametrize("missing", ["mean", "slice_spacing", "in_plane_spacing"])
def test_a_coarse_grid_needs_a_fine_one_and_a_fixed_normalisation(missing):
    without = {missing: None, **({"std": None} if missing == "mean" else {})}
    with pytest.raises(ConfigurationError, match="search_spacing needs"):
        replace(SETTINGS, **without)
    with pytest.raises(ConfigurationError, match="spacings must lie between"):
        replace(SETTINGS, search_spacing=(0.0, 4.0, 4.0))


def test_a_recipe_keeps_its_coarse_grid_and_one_without_says_nothing_of_it():
    for settings in (SETTINGS, replace(SETTINGS, search_spacing=None)):
        recipe = Recipe(preprocessing=settings)
        text = json.dumps(recipe.to_dict())
        assert Recipe.from_dict(json.loads(text)) == recipe
        assert ("search_spacing" in text) == (settings.search_spacing is not None)


def test_the_command_line_can_ask_for_the_whole_scan():
    for more, wanted in (([], True), (["--whole"], False)):
        given = build_parser().parse_args(["segment", "ct.nii.gz", "-o", "liver.nii.gz", *more])
        assert SegmentOptions.from_request(vars(given)).search is wanted


def dice(a, b):
    a, b = np.asarray(a) > 0, np.asarray(b) > 0
    return 2 * np.count_nonzero(a & b) / max(1, np.count_nonzero(a) + np.count_nonzero(b))


def test_the_bundled_weights_find_the_same_liver_in_a_part_of_a_long_phantom():
    model = load_model(device="cpu")
    assert model.recipe.preprocessing.search_spacing is not None
    volume, liver = make_phantom(9001, size=(96, 80, 80), spacing=(5.0, 4.5, 4.5))
    part, whole = (segment(volume, model=model, search=wanted) for wanted in (True, False))
    assert dice(part.labels.array, whole.labels.array) > 0.9993
    assert abs(dice(part.labels.array, liver.array) - dice(whole.labels.array, liver.array)) < 0.0005
    assert part.expected[1].dice == pytest.approx(whole.expected[1].dice, abs=0.002)
    assert [check.verdict for check in part.checks] == [check.verdict for check in whole.checks]


@pytest.mark.slow
@needs_data
@pytest.mark.parametrize("case", sorted(path.name for path in DATA.iterdir()) if DATA.is_dir() else [])
def test_no_validation_label_changes_by_more_than_half_a_thousandth(case):
    model = load_model(device="cpu")
    scan, label = read_image(DATA / case / "ct.nii.gz"), read_labels(DATA / case / "liver.nii.gz")
    if scan.shape[0] * scan.spacing[0] < 200:
        # Too short to be searched: the whole scan is always computed.
        assert search.find_part(scan, model, SegmentOptions.overlap) is None
        return
    part, whole = (segment(scan, model=model, search=wanted) for wanted in (True, False))
    assert dice(part.labels.array, whole.labels.array) > 0.9995
    assert abs(dice(part.labels.array, label.array) - dice(whole.labels.array, label.array)) < 0.0005
    assert part.expected[1].dice == pytest.approx(whole.expected[1].dice, abs=0.001)
