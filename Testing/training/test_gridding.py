"""Resampling scans to a grid: fewer voxels, borders in place, and a cache that depends on the grid."""

import dataclasses

import numpy as np
import pytest
from lvnet import phantom
from lvnet.errors import ConfigurationError
from lvnet.image_io import write_image, write_labels
from lvnet.recipe import LIVER
from lvnet_training.augmentation import draw_patch
from lvnet_training.case import FULL_SHARE, make_case
from lvnet_training.config import Augmentation, Config, Stage
from lvnet_training.dataset import load_cases
from lvnet_training.gridding import on_grid
from lvnet_training.materials import gather
from lvnet_training.sources import find_cases

STILL = Augmentation(rotation=0, scale=(1.0, 1.0), bend=0, shift=0, contrast=0, noise=0, floor=(-200, -200), blur=0)


@pytest.fixture(scope="module")
def pair():
    return phantom.make_phantom(7, size=(60, 160, 160), spacing=(3.0, 2.2, 2.2))


@pytest.fixture(scope="module")
def case(pair):
    return make_case("phantom", *pair)


def dice(a, b):
    return 2 * np.count_nonzero((a > 0) & (b > 0)) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_a_case_on_a_grid_has_its_voxels_and_its_volume(case):
    coarse = on_grid(case, (2.0, 4.0, 5.0))
    assert coarse.spacing == pytest.approx((3.0, 4.0, 5.0)), "an axis that is coarser already stays"
    assert coarse.image.dtype == np.int16 and coarse.label.dtype == np.uint8
    assert coarse.label.shape == (1, *coarse.image.shape)
    before = np.count_nonzero(case.label) * np.prod(case.spacing)
    after = coarse.label.sum() / FULL_SHARE * np.prod(coarse.spacing)
    assert after == pytest.approx(before, rel=0.01)
    assert coarse.box is not None and coarse.shares


def test_an_empty_label_stays_empty(case):
    nothing = dataclasses.replace(case, label=np.zeros_like(case.label), box=None)
    assert on_grid(nothing, (5.0, 5.0, 5.0)).box is None


@pytest.mark.parametrize("spacing", [(4.0, 2.5, 2.5), (4.5, 3.5, 3.5)])
def test_patches_from_the_grid_are_those_from_the_scan(case, spacing):
    """The same random stream gives the same position, interpolated from fewer voxels."""
    coarse = on_grid(case, (2.0, 2.4, 2.4))
    full = draw_patch(np.random.default_rng(1), case, (16, 64, 64), spacing, STILL, 0.0)
    # The centre is drawn uniformly in voxels: the same fraction of the scan is the same position.
    fast = draw_patch(np.random.default_rng(1), coarse, (16, 64, 64), spacing, STILL, 0.0)
    assert dice(full[1], fast[1]) > 0.97
    inside = (full[1] > 0) & (fast[1] > 0)
    assert np.abs(full[0][inside] - fast[0][inside]).mean() < 12
    assert full[0].shape == fast[0].shape


def test_several_classes_keep_their_numbers(case):
    two = dataclasses.replace(case, classes=3, label=np.where(case.label > 0, 2, 0).astype(np.uint8))
    coarse = on_grid(two, (4.0, 4.0, 4.0))
    assert coarse.label[0].max() == 0 and coarse.label[1].max() == FULL_SHARE
    _, labels = draw_patch(np.random.default_rng(1), coarse, (16, 64, 64), (4.0, 2.5, 2.5), STILL, 1.0)
    assert set(np.unique(labels)) == {0, 2}


def test_the_cache_is_made_anew_for_another_grid_and_kept_for_the_same(pair, tmp_path):
    (tmp_path / "data" / "a").mkdir(parents=True)
    write_image(pair[0], tmp_path / "data" / "a" / "ct.nii.gz")
    write_labels(pair[1], tmp_path / "data" / "a" / "liver.nii.gz", (LIVER,))
    sources = find_cases(tmp_path / "data")
    cache = tmp_path / "cache"
    shapes = []
    for grid in (None, (5.0, 5.0, 5.0), (4.0, 4.0, 4.0), (5.0, 5.0, 5.0)):
        (found,), _ = load_cases(sources, cache, grid=grid)
        shapes.append(found.image.shape)
        assert found.shares == (grid is not None)
    assert shapes[1] == shapes[3] != shapes[2] != shapes[0]
    assert len(list(cache.iterdir())) == 3


def test_a_run_with_a_grid_gathers_scans_and_phantoms_on_it(tmp_path):
    stage = Stage(epochs=1, spacing=(5.0, 5.0, 5.0), patch=(16, 32, 32))
    plain = Config(stages=(stage,), phantoms=1)
    coarse = Config(stages=(stage,), phantoms=1, grid=(4.0, 4.0, 4.0))
    (full,) = gather(plain, tmp_path / "run").phantoms
    (small,) = gather(coarse, tmp_path / "run").phantoms
    assert small.shares and small.image.size < 0.6 * full.image.size
    assert plain.digest != coarse.digest


def test_the_papers_slabs_take_scans_as_they_are():
    stage = Stage(epochs=1, spacing=None, patch=(16, 256, 256))
    with pytest.raises(ConfigurationError, match="stage without spacing: omit it"):
        Config(stages=(stage,), grid=(2.0, 2.0, 2.0))
