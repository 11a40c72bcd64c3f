"""Uncertain regions of the network are found, measured and given the right position in the patient."""

from __future__ import annotations

from dataclasses import replace

import lvnet
import numpy as np
import pytest
import torch
from lvnet.inference import Model
from lvnet.preprocessing import prepare
from lvnet.recipe import Architecture, Preprocessing, Recipe
from lvnet.selfcheck import doubtful_regions
from lvnet.volume import Volume
from scipy import ndimage
from torch import nn

STEPS = (4.0, 2.5, 2.5)
SHAPE = (30, 60, 70)
# A proper rotation by 90 degrees, and one by 30 degrees about the second axis, as direction cosines.
TURNED = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
TILTED = (0.866025403784, 0.0, 0.5, 0.0, 1.0, 0.0, -0.5, 0.0, 0.866025403784)
FLIPPED = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


def organ():
    """A ball with a blurred border, as every organ has."""
    z, y, x = np.ix_(*[(np.arange(n) - n / 2) * s for n, s in zip(SHAPE, STEPS)])
    ball = (z**2 + y**2 + x**2 < 40**2).astype(np.float32)
    return ndimage.gaussian_filter(ball, [1.5 / step for step in STEPS])


def found(probability, scan=None):
    scan = scan or Volume(np.zeros(SHAPE, np.int16), STEPS)
    settings = Preprocessing(slice_spacing=4.0, in_plane_spacing=(2.5, 2.5))
    prepared = prepare(scan, settings)
    assert prepared.array.shape == probability.shape
    scores = np.stack([1 - probability, probability]).astype(np.float32)
    return doubtful_regions(scan, prepared, scores, (1,), STEPS)


def test_the_blurred_border_of_an_organ_is_no_region():
    assert found(organ()).regions == ()
    assert found(organ()).on_scan() is None


def test_a_block_of_doubt_beside_the_organ_is_one_region_of_its_volume():
    probability = organ()
    probability[12:18, 26:34, 48:56] = 0.5
    (region,) = found(probability).regions
    assert region.volume_ml == pytest.approx(6 * 8 * 8 * 0.025, rel=0.35)
    x, y, z = region.centre_mm
    assert 48 * 2.5 <= x <= 56 * 2.5 and 26 * 2.5 <= y <= 34 * 2.5 and 12 * 4 <= z <= 18 * 4


def test_doubt_far_from_the_organ_belongs_to_something_else():
    probability = organ()
    probability[:, :8, :8] = 0.5
    assert found(probability).regions == ()


def test_regions_come_by_size_and_the_smallest_are_left_out():
    probability = organ()
    probability[13:17, 26:32, 48:54] = 0.4
    probability[12:18, 26:36, 16:26] = 0.6
    probability[2:5, 29:32, 34:37] = 0.5
    volumes = [region.volume_ml for region in found(probability).regions]
    assert len(volumes) == 2 and volumes == sorted(volumes, reverse=True)


@pytest.mark.parametrize("direction", [TURNED, TILTED, FLIPPED])
@pytest.mark.parametrize("spacing", [(2.0, 1.25, 1.25), (8.0, 2.5, 2.5)])
def test_a_region_lies_at_the_same_place_on_the_scans_own_grid_whatever_its_axes(direction, spacing):
    settings = Preprocessing(slice_spacing=4.0, in_plane_spacing=(2.5, 2.5))
    shape = [round(n * s / step) for n, s, step in zip(SHAPE, STEPS, spacing)]
    scan = Volume(np.zeros(shape, np.int16), spacing, (7.0, -30.0, 12.0), direction)
    prepared = prepare(scan, settings)
    middle = [n // 2 for n in prepared.array.shape]
    probability = np.zeros(prepared.array.shape, np.float32)
    probability[tuple(slice(m - 8, m + 8) for m in middle)] = 1.0
    probability[tuple(slice(m - 3, m + 3) for m in middle)] = 0.5
    regions = doubtful_regions(scan, prepared, np.stack([1 - probability, probability]), (1,), STEPS)
    (region,) = regions.regions
    box, numbers = regions.on_scan()
    index = np.linalg.inv(scan.direction_matrix) @ (np.array(region.centre_mm) - scan.origin)
    index = np.rint(index[::-1] / spacing).astype(int)
    assert all(side.start <= place < side.stop for side, place in zip(box, index))
    assert numbers[tuple(place - side.start for side, place in zip(box, index))] == 1
    assert [side.stop - side.start for side in box] == list(numbers.shape)
    assert np.count_nonzero(numbers) * scan.voxel_volume_ml == pytest.approx(region.volume_ml, rel=0.35)


@pytest.mark.parametrize("shape", [(1, 9, 9), (7, 2, 5), (2, 2, 2)])
def test_a_scan_that_is_smaller_than_any_region_has_none(shape):
    scan = Volume(np.zeros(shape, np.int16), STEPS)
    prepared = prepare(scan, Preprocessing(slice_spacing=4.0, in_plane_spacing=(2.5, 2.5)))
    scores = np.full((2, *prepared.array.shape), 0.5, np.float32)
    scores[1] = 0.6
    assert doubtful_regions(scan, prepared, scores, (1,), STEPS).regions == ()


class Unsure(nn.Module):
    """A network that is certain about bright voxels and undecided about grey ones."""

    def forward(self, x):
        organ = torch.where(x > 1.5, 8.0, torch.where(x > 0.3, 0.0, -8.0))
        return torch.cat([-organ, organ], dim=1) / 2


def test_a_result_says_where_the_network_was_unsure():
    hu = np.full((40, 80, 96), -150, np.int16)
    hu[10:30, 20:60, 20:60] = 200
    hu[14:26, 28:44, 60:76] = 60
    recipe = Recipe(Architecture(), Preprocessing(window=(-160.0, 240.0), mean=0.0, std=100.0))
    model = Model(Unsure(), recipe, torch.device("cpu"), "for the test")
    result = lvnet.segment(Volume(hu, (4.0, 2.5, 2.5)), model=model)
    (region,) = result.doubtful.regions
    assert region.to_dict()["value"] == 1
    x, y, z = region.to_dict()["centre_lps_mm"]
    assert 60 * 2.5 <= x <= 76 * 2.5 and 28 * 2.5 <= y <= 44 * 2.5 and 14 * 4 <= z <= 26 * 4
    assert replace(region, volume_ml=1.234567).to_dict()["volume_ml"] == 1.23
