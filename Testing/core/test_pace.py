"""The run time is estimated from one slab, before the first scan."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from lvnet.errors import Cancelled, ConfigurationError
from lvnet.inference import Model, predict
from lvnet.pace import seconds_per_litre
from lvnet.preprocessing import prepare
from lvnet.recipe import Architecture, Preprocessing, Recipe
from lvnet.volume import Volume
from torch import nn

SETTINGS = Preprocessing(mean=0.0, std=100.0, in_plane_spacing=(5.0, 5.0), slice_spacing=4.0, slab_depth=16)


class Slow(nn.Module):
    """A network of known speed: seconds per million voxels, and much more for the first call."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds, self.calls = seconds, 0

    def forward(self, x):
        time.sleep(self.seconds * x.numel() / 1e6 + (0 if self.calls else 0.3))
        self.calls += 1
        return torch.cat([torch.zeros_like(x), x], dim=1)


def model(seconds: float = 1.0, settings: Preprocessing = SETTINGS) -> Model:
    recipe = Recipe(architecture=Architecture(widths=(4, 8)), preprocessing=settings)
    return Model(Slow(seconds).eval(), recipe, torch.device("cpu"), "test")


def test_one_slab_foretells_how_long_a_scan_takes():
    slow = model(4.0)
    foretold = seconds_per_litre(slow)
    scan = Volume(np.zeros((100, 60, 60), np.int16), (4.0, 5.0, 5.0))
    prepared = prepare(scan, slow.recipe.preprocessing)
    began = time.perf_counter()
    predict(prepared.array, slow)
    took = time.perf_counter() - began
    litres = prepared.array.size * 100 / 1e6
    assert took / litres == pytest.approx(foretold, rel=0.5)


def test_slabs_that_overlap_more_take_longer():
    assert seconds_per_litre(model(8.0), overlap=0.75) > 1.5 * seconds_per_litre(model(8.0), overlap=0.5)


def test_what_only_the_first_slab_takes_is_not_counted():
    assert seconds_per_litre(model(0.0)) < 0.1


def test_there_is_no_estimate_for_a_network_without_a_voxel_size():
    assert seconds_per_litre(model(settings=replace(SETTINGS, slice_spacing=None))) is None
    assert seconds_per_litre(model(settings=replace(SETTINGS, in_plane_spacing=None))) is None


def test_it_can_be_cancelled_and_refuses_an_overlap_that_is_none():
    with pytest.raises(Cancelled):
        seconds_per_litre(model(), cancelled=lambda: True)
    with pytest.raises(ConfigurationError, match="overlap"):
        seconds_per_litre(model(), overlap=1.0)
