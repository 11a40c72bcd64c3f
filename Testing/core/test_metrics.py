"""The metrics: definitions, edge cases, and closed-form solutions."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from lvnet.errors import ConfigurationError, GeometryError, ImageError
from lvnet.metrics import PRESETS, compare
from lvnet.metrics import bits as bits_module
from lvnet.metrics import nearest as nearest_module
from lvnet.metrics import surfaces as surfaces_module
from scipy import ndimage

SPACING = (2.5, 0.7, 0.8)


def box(shape, *sides, dtype=bool):
    mask = np.zeros(shape, dtype)
    mask[tuple(slice(a, b) for a, b in sides)] = 1
    return mask


def ball(radius_mm, spacing, shape, centre):
    grids = np.meshgrid(*[np.arange(n) * s - c for n, s, c in zip(shape, spacing, centre)], indexing="ij")
    return sum(g**2 for g in grids) <= radius_mm**2


def brute_force(prediction, reference, spacing, connectivity, outside):
    """Surfaces from SciPy's erosion, and all distances to all surface voxels."""
    structure = ndimage.generate_binary_structure(3, connectivity)
    points = []
    for mask in (prediction, reference):
        surface = mask & ~ndimage.binary_erosion(mask, structure, border_value=outside)
        points.append(np.argwhere(surface) * np.asarray(spacing))
    gaps = np.sqrt(((points[0][:, None] - points[1][None]) ** 2).sum(-1))
    return gaps.min(axis=1), gaps.min(axis=0)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_mask_is_perfectly_like_itself(preset):
    mask = box((9, 10, 11), (2, 6), (3, 9), (1, 8))
    result = compare(mask, mask, SPACING, preset=preset, hd95=True, surface_dice_tolerance_mm=0.0)
    assert (result.dice, result.voe, result.rvd, result.absolute_rvd) == (1, 0, 0, 0)
    assert (result.assd_mm, result.mssd_mm, result.hd95_mm, result.surface_dice) == (0, 0, 0, 1)
    assert result.reference_ml == pytest.approx(4 * 6 * 7 * 2.5 * 0.7 * 0.8 / 1000)
    assert result.preset == preset


def test_overlap_metrics_follow_their_formulas():
    prediction, reference = box((8, 8, 8), (0, 4), (0, 4), (0, 4)), box((8, 8, 8), (0, 4), (0, 4), (1, 7))
    result = compare(prediction, reference, SPACING)
    assert result.dice == pytest.approx(2 * 48 / (64 + 96))
    assert result.voe == pytest.approx(1 - 48 / 112)
    assert result.rvd == pytest.approx((64 - 96) / 96)
    assert result.absolute_rvd == pytest.approx(32 / 96)
    assert result.prediction_ml == pytest.approx(64 * 1.4 / 1000)


def test_the_chaos_preset_gives_rvd_as_absolute_percentage():
    prediction, reference = box((8, 8, 8), (2, 4), (2, 4), (2, 4)), box((8, 8, 8), (2, 6), (2, 4), (2, 4))
    result = compare(prediction, reference, SPACING, preset="chaos")
    assert result.rvd == pytest.approx(50)
    assert result.absolute_rvd == pytest.approx(0.5)


def test_the_signed_rvd_says_who_is_larger():
    small, large = box((8, 8, 8), (2, 4), (2, 4), (2, 4)), box((8, 8, 8), (2, 6), (2, 4), (2, 4))
    assert compare(small, large, SPACING).rvd == pytest.approx(-0.5)
    assert compare(large, small, SPACING).rvd == pytest.approx(1.0)


@pytest.mark.parametrize("preset", PRESETS)
def test_two_empty_masks_agree(preset):
    nothing = np.zeros((4, 5, 6), bool)
    result = compare(nothing, nothing, SPACING, preset=preset, hd95=True, surface_dice_tolerance_mm=1.0)
    assert result.to_dict() == {
        "dice": 1.0, "voe": 0.0, "rvd": 0.0, "absolute_rvd": 0.0, "assd_mm": 0.0, "mssd_mm": 0.0,
        "prediction_ml": 0.0, "reference_ml": 0.0, "preset": preset, "hd95_mm": 0.0, "surface_dice": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize("preset", PRESETS)
def test_one_empty_mask_leaves_distances_undefined_and_says_why(preset):
    nothing, something = np.zeros((4, 5, 6), bool), box((4, 5, 6), (1, 2), (1, 3), (1, 3))
    missed = compare(nothing, something, SPACING, preset=preset, hd95=True, surface_dice_tolerance_mm=1.0)
    assert (missed.dice, missed.voe, missed.absolute_rvd, missed.surface_dice) == (0, 1, 1, 0)
    assert missed.rvd == (100 if preset == "chaos" else -1)
    assert missed.assd_mm == missed.mssd_mm == missed.hd95_mm == math.inf

    invented = compare(something, nothing, SPACING, preset=preset, hd95=True)
    assert (invented.dice, invented.voe) == (0, 1)
    assert math.isnan(invented.rvd)
    written = json.loads(json.dumps(invented.to_dict(), allow_nan=False))
    assert written["rvd"] is None
    assert written["rvd_reason"] == "the reference is empty"
    assert written["assd_mm"] is None
    assert written["assd_mm_reason"] == written["hd95_mm_reason"] == "the reference is empty"
    assert missed.to_dict()["mssd_mm_reason"] == "the prediction is empty"


def test_extras_that_were_not_asked_for_are_left_out():
    mask = box((4, 4, 4), (1, 3), (1, 3), (1, 3))
    assert set(compare(mask, mask, SPACING).to_dict()) == {
        "dice", "voe", "rvd", "absolute_rvd", "assd_mm", "mssd_mm", "prediction_ml", "reference_ml", "preset",
    }  # fmt: skip


@pytest.mark.parametrize("step", [(1, 0, 0), (0, 2, 0), (0, 0, 3), (2, 1, 2)])
def test_a_shifted_voxel_is_as_far_as_it_was_shifted(step):
    one, other = np.zeros((9, 9, 9), bool), np.zeros((9, 9, 9), bool)
    one[3, 3, 3] = True
    other[tuple(3 + n for n in step)] = True
    length = math.sqrt(sum((n * s) ** 2 for n, s in zip(step, SPACING)))
    for preset in ("lits", "chaos", "medpy"):
        result = compare(one, other, SPACING, preset=preset, hd95=True)
        assert result.assd_mm == pytest.approx(length, abs=1e-12)
        assert result.mssd_mm == pytest.approx(length, abs=1e-12)
        assert result.hd95_mm == pytest.approx(length, abs=1e-12)


def test_a_box_shifted_along_one_axis_has_the_distance_of_its_ends():
    one, other = box((20, 20, 30), (5, 15), (5, 15), (5, 15)), box((20, 20, 30), (5, 15), (5, 15), (9, 19))
    assert compare(one, other, SPACING).mssd_mm == pytest.approx(4 * 0.8)


@pytest.mark.parametrize(("radii", "spacing"), [((20, 23), (1, 1, 1)), ((18, 24), (1.5, 0.8, 0.8))])
@pytest.mark.parametrize("preset", PRESETS)
def test_concentric_spheres_are_as_far_as_their_radii(preset, radii, spacing):
    shape = tuple(int(60 / s) for s in spacing)
    centre = tuple(n * s / 2 for n, s in zip(shape, spacing))
    small, large = (ball(radius, spacing, shape, centre) for radius in radii)
    result = compare(small, large, spacing, preset=preset, hd95=True)
    gap, voxel = radii[1] - radii[0], max(spacing)
    # Surfels form a layer two corners thick, whose inner sides face each other.
    assert result.assd_mm == pytest.approx(gap, abs=(0.5 if preset == "surfel" else 0.35) * voxel)
    assert gap - voxel < result.hd95_mm <= result.mssd_mm < gap + voxel
    assert result.dice == pytest.approx(2 * radii[0] ** 3 / (radii[0] ** 3 + radii[1] ** 3), rel=0.01)
    assert result.reference_ml == pytest.approx(4 / 3 * math.pi * radii[1] ** 3 / 1000, rel=0.01)


def test_surfels_of_a_sphere_weigh_about_its_area():
    from lvnet.metrics.bits import Lattice, pack
    from lvnet.metrics.surfaces import surface_of

    spacing, radius = (1.5, 0.8, 1.1), 20.0
    shape = tuple(int(50 / s) for s in spacing)
    mask = ball(radius, spacing, shape, tuple(n * s / 2 for n, s in zip(shape, spacing)))
    lattice = Lattice(shape, (2, 2, 2))
    surface = surface_of(pack(mask, lattice), lattice, PRESETS["surfel"], spacing, ((False,) * 2,) * 3)
    # Marching cubes on a binary mask overestimates the area of a smooth surface by up to a tenth.
    assert 4 * math.pi * radius**2 < surface.areas.sum() < 1.12 * 4 * math.pi * radius**2


def test_a_surfel_between_two_half_spaces_weighs_one_voxel_face():
    from lvnet.metrics.surfels import CORNERS, areas_by_code

    for axis, face in enumerate((0.7 * 0.8, 2.5 * 0.8, 2.5 * 0.7)):
        code = sum(1 << bit for bit, corner in enumerate(CORNERS) if corner[axis])
        assert areas_by_code(SPACING)[code] == pytest.approx(face)


def test_surfel_areas_are_the_same_for_a_pattern_its_opposite_and_its_mirror_images():
    from lvnet.metrics.surfels import CORNERS, areas_by_code

    areas = areas_by_code(SPACING)
    assert areas[0] == areas[255] == 0
    assert (areas[1:255] > 0).all()
    np.testing.assert_allclose(areas, areas[::-1])
    for axis in range(3):
        mirrored = [CORNERS.index(tuple(1 - v if a == axis else v for a, v in enumerate(c))) for c in CORNERS]
        codes = np.arange(256)
        images = sum((codes >> bit & 1) << image for bit, image in enumerate(mirrored))
        np.testing.assert_allclose(areas, areas[images])


@pytest.mark.parametrize(
    ("preset", "connectivity", "outside"), [("lits", 2, 0), ("medpy", 1, 0), ("chaos", 1, 1)]
)  # fmt: skip
@pytest.mark.parametrize("seed", range(6))
def test_distances_equal_those_of_every_point_to_every_point(preset, connectivity, outside, seed):
    rng = np.random.default_rng(seed)
    shape, spacing = rng.integers(6, 15, 3), rng.uniform(0.4, 5, 3)
    noise = rng.normal(size=(2, *shape))
    prediction, reference = (ndimage.gaussian_filter(n, 1.2) > 0.05 for n in noise)
    there, back = brute_force(prediction, reference, spacing, connectivity, outside)
    both = np.concatenate([there, back])
    result = compare(prediction, reference, spacing, preset=preset, hd95=True, surface_dice_tolerance_mm=1.0)
    assert result.assd_mm == pytest.approx(both.mean(), abs=1e-9)
    assert result.mssd_mm == pytest.approx(both.max(), abs=1e-9)
    assert result.hd95_mm == pytest.approx(np.percentile(both, 95), abs=1e-9)
    assert result.surface_dice == pytest.approx((both <= 1.0).mean())


def test_far_islands_are_measured_exactly():
    reference = box((20, 40, 150), (6, 14), (6, 20), (5, 25))
    prediction = reference | box((20, 40, 150), (2, 5), (30, 38), (125, 149))
    there, back = brute_force(prediction, reference, SPACING, 2, 0)
    result = compare(prediction, reference, SPACING)
    assert result.assd_mm == pytest.approx(np.concatenate([there, back]).mean(), abs=1e-9)
    assert result.mssd_mm == pytest.approx(there.max(), abs=1e-9)


@pytest.mark.parametrize("preset", PRESETS)
def test_pieces_of_a_large_scan_give_the_same_as_the_whole(monkeypatch, preset):
    rng = np.random.default_rng(3)
    prediction, reference = (ndimage.gaussian_filter(n, 2) > 0.02 for n in rng.normal(size=(2, 30, 40, 50)))
    whole = compare(prediction, reference, SPACING, preset=preset)
    monkeypatch.setattr(nearest_module, "_PIECE", 20_000)
    monkeypatch.setattr(surfaces_module, "_PIECE", 1)
    assert compare(prediction, reference, SPACING, preset=preset) == whole


def test_a_large_scan_takes_little_memory():
    prediction, reference = np.zeros((2, 120, 300, 300), bool)
    prediction[10:60, 80:200, 60:200] = reference[12:60, 80:205, 60:200] = True
    prediction[110:118, 2:9, 280:290] = True
    tracemalloc.start()
    compare(prediction, reference, (1.5, 0.8, 0.8))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Nearest neighbours are searched in bounded chunks; the masks take one bit per voxel.
    assert peak < 60e6


def test_the_image_border_is_surface_but_for_chaos():
    # Both touch the image border in front; they differ only at the back.
    shallow, deep = box((20, 9, 9), (0, 4), (3, 6), (3, 6)), box((20, 9, 9), (0, 10), (3, 6), (3, 6))
    assert compare(shallow, deep, (1, 1, 1), preset="medpy").mssd_mm == 6
    long, short = box((20, 3, 3), (0, 12), (0, 3), (0, 3)), box((20, 3, 3), (0, 4), (0, 3), (0, 3))
    chaos = compare(long, short, (1, 1, 1), preset="chaos")
    # The only surface of each is one plane of voxels.
    assert chaos.assd_mm == chaos.mssd_mm == 8
    assert compare(long, short, (1, 1, 1), preset="medpy").assd_mm < 8


def test_masks_that_fill_the_image_have_no_surface_for_chaos():
    full, half = np.ones((4, 4, 4), bool), box((4, 4, 4), (0, 2), (0, 4), (0, 4))
    assert compare(full, full, SPACING, preset="chaos").assd_mm == 0
    missing = compare(full, half, SPACING, preset="chaos", surface_dice_tolerance_mm=5)
    assert missing.assd_mm == math.inf
    assert missing.surface_dice == 0
    assert "the prediction fills the whole image" in missing.to_dict()["assd_mm_reason"]
    assert "the reference fills" in compare(half, full, SPACING, preset="chaos").to_dict()["assd_mm_reason"]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint16, np.int64])
def test_whole_numbers_count_as_mask_where_they_are_not_zero(dtype):
    one, other = box((9, 9, 70), (2, 6), (3, 9), (1, 68)), box((9, 9, 70), (3, 6), (3, 8), (1, 66))
    as_numbers = one.astype(dtype) * dtype(5)
    assert compare(as_numbers, other.astype(dtype), SPACING) == compare(one, other, SPACING)


def test_views_in_any_memory_order_give_the_same():
    rng = np.random.default_rng(0)
    one, other = rng.random((2, 12, 13, 14)) < 0.5
    expected = compare(one, other, SPACING)
    assert compare(np.asfortranarray(one), other[::-1][::-1], SPACING) == expected
    turned = compare(one.transpose(2, 0, 1), other.transpose(2, 0, 1), (0.8, 2.5, 0.7))
    assert turned.assd_mm == pytest.approx(expected.assd_mm, abs=1e-12)


def test_three_steps_of_0_8_mm_are_within_2_4_mm():
    one, other = box((3, 3, 9), (1, 2), (1, 2), (1, 2)), box((3, 3, 9), (1, 2), (1, 2), (4, 5))
    assert compare(one, other, SPACING, surface_dice_tolerance_mm=2.4).surface_dice == 1
    assert compare(one, other, SPACING, surface_dice_tolerance_mm=2.39).surface_dice == 0


def test_bad_input_is_refused_in_one_line():
    mask = np.ones((3, 3, 3), bool)
    for arguments, options, error, words in (
        ((mask, np.ones((3, 3, 4), bool), SPACING), {}, GeometryError, "3 x 3 x 3 .* 3 x 3 x 4"),
        ((mask[0], mask[0], SPACING), {}, GeometryError, "2 dimensions"),
        ((mask, mask.astype(float), SPACING), {}, ImageError, "the reference contains float64"),
        ((mask, mask, (1, 1)), {}, GeometryError, "spacing"),
        ((mask, mask, (1, 0, 1)), {}, GeometryError, "spacing"),
        ((mask, mask, (1, math.nan, 1)), {}, GeometryError, "spacing"),
        ((mask, mask, SPACING), {"preset": "nnunet"}, ConfigurationError, "lits, chaos, medpy, surfel"),
        ((mask, mask, SPACING), {"surface_dice_tolerance_mm": -1.0}, ConfigurationError, "tolerance"),
    ):
        with pytest.raises(error, match=words) as caught:
            compare(*arguments, **options)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("old_numpy", [False, True])
def test_bits_are_counted_and_listed_as_numpy_would(old_numpy, monkeypatch):
    if old_numpy:
        monkeypatch.setattr(bits_module, "_count_bits", None)
    rng = np.random.default_rng(1)
    mask = rng.random((5, 6, 131)) < 0.3
    lattice = bits_module.Lattice(mask.shape, (1, 2, 3))
    words = bits_module.pack(mask, lattice)
    assert bits_module.count(words) == np.count_nonzero(mask)
    np.testing.assert_array_equal(lattice.coordinates(bits_module.places_of(words)), np.argwhere(mask))


def test_importing_the_metrics_is_quick_and_needs_neither_torch_nor_simpleitk():
    code = (
        "import sys, time\n"
        "import numpy\n"
        "for name in ('torch', 'SimpleITK', 'numba'): sys.modules[name] = None\n"
        "start = time.process_time(); import lvnet.metrics; print(time.process_time() - start)\n"
        "import numpy as np; m = np.ones((3, 3, 3), bool); print(lvnet.metrics.compare(m, m, (1, 1, 1)).dice)\n"
    )
    seconds, dice = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment()
    ).stdout.split()
    assert float(seconds) < 0.5
    assert float(dice) == 1


def environment():
    import os

    import lvnet

    return {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(lvnet.__file__))}
