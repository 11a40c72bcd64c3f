"""Properties of the metrics that hold for every pair of masks (tested with hypothesis)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lvnet.metrics import PRESETS, compare

FLIPPABLE = tuple(PRESETS)
#: The image border is not a surface for `chaos`, so padding changes its result.
PADDABLE = tuple(name for name in PRESETS if PRESETS[name].outside_is_background)


@st.composite
def pairs(draw):
    """Two blocky masks, mostly similar, with a spacing."""
    shape = tuple(draw(st.integers(1, 12)) for _ in range(3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    coarse = rng.random((2, *(-(-n // 2) for n in shape))) < draw(st.floats(0.1, 0.9))
    fine = coarse.repeat(2, 1).repeat(2, 2).repeat(2, 3)[:, : shape[0], : shape[1], : shape[2]]
    one = fine[0]
    other = one ^ (rng.random(shape) < 0.1) if draw(st.booleans()) else fine[1]
    spacing = tuple(draw(st.sampled_from([0.5, 0.7, 1.0, 1.5, 3.0, 5.0])) for _ in range(3))
    return one, other, spacing


def numbers(one, other, spacing, preset):
    result = compare(one, other, spacing, preset=preset, hd95=True, surface_dice_tolerance_mm=1.1)
    names = ("dice", "voe", "assd_mm", "mssd_mm", "hd95_mm", "surface_dice")
    return np.array([getattr(result, name) for name in names])


same = pytest.approx


@settings(max_examples=60, deadline=None, derandomize=True)
@given(pairs(), st.sampled_from(FLIPPABLE))
def test_prediction_and_reference_may_be_swapped(pair, preset):
    one, other, spacing = pair
    np.testing.assert_allclose(
        numbers(one, other, spacing, preset), numbers(other, one, spacing, preset), rtol=0, atol=1e-9
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(pairs())
def test_voe_follows_from_dice(pair):
    result = compare(*pair)
    assert result.voe == same(1 - result.dice / (2 - result.dice), abs=1e-12)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(pairs(), st.sampled_from(PADDABLE), st.tuples(*[st.integers(0, 5)] * 6))
def test_padding_and_cropping_change_nothing(pair, preset, widths):
    one, other, spacing = pair
    padding = (widths[:2], widths[2:4], widths[4:])
    padded = numbers(np.pad(one, padding), np.pad(other, padding), spacing, preset)
    np.testing.assert_array_equal(numbers(one, other, spacing, preset), padded)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(pairs(), st.sampled_from(FLIPPABLE), st.sets(st.sampled_from([0, 1, 2])))
def test_flips_change_nothing(pair, preset, axes):
    one, other, spacing = pair
    flipped = numbers(np.flip(one, tuple(axes)), np.flip(other, tuple(axes)), spacing, preset)
    np.testing.assert_allclose(numbers(one, other, spacing, preset), flipped, rtol=0, atol=1e-9)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(pairs(), st.sampled_from(FLIPPABLE), st.permutations([0, 1, 2]))
def test_axes_may_be_permuted_with_their_spacing(pair, preset, order):
    one, other, spacing = pair
    turned = numbers(one.transpose(order), other.transpose(order), [spacing[axis] for axis in order], preset)
    np.testing.assert_allclose(numbers(one, other, spacing, preset), turned, rtol=0, atol=1e-9)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(pairs(), st.sampled_from(FLIPPABLE), st.sampled_from([0.25, 2.0, 10.0]))
def test_distances_grow_with_the_spacing(pair, preset, factor):
    one, other, spacing = pair
    if one.any() != other.any():
        return
    result = compare(one, other, spacing, preset=preset)
    scaled = compare(one, other, [factor * step for step in spacing], preset=preset)
    assert scaled.assd_mm == same(factor * result.assd_mm, rel=1e-9)
    assert scaled.mssd_mm == same(factor * result.mssd_mm, rel=1e-9)
    assert scaled.dice == result.dice


@settings(max_examples=60, deadline=None, derandomize=True)
@given(pairs(), st.sampled_from(FLIPPABLE))
def test_every_value_lies_in_its_range(pair, preset):
    one, other, spacing = pair
    dice, voe, assd, mssd, hd95, surface_dice = numbers(one, other, spacing, preset)
    assert 0 <= dice <= 1
    assert 0 <= voe <= 1
    assert 0 <= surface_dice <= 1
    assert 0 <= assd <= mssd + 1e-12
    assert 0 <= hd95 <= mssd
