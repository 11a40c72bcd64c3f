"""The pictures and charts of the evaluation report."""

from __future__ import annotations

import base64
import re

import numpy as np
import pytest
from lvnet.metrics import PRESETS, compare, surface_distances
from lvnet.report.charts import Axis, bland_altman, box_plot, fences
from lvnet.report.distance_map import distance_map
from lvnet.report.panel import outline, panel
from lvnet.report.png import png
from lvnet.report.scan import Backdrop
from lvnet.report.slices import worst_slices
from lvnet.report.solid import SIDES, Solid
from lvnet.volume import Volume

sitk = pytest.importorskip("SimpleITK")


def decoded(data, tmp_path):
    (tmp_path / "picture.png").write_bytes(data)
    return sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "picture.png")))


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 3), (1, 9, 4)])
def test_a_png_holds_the_pixels(shape, tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    np.testing.assert_array_equal(decoded(png(pixels), tmp_path), pixels)


def test_an_outline_runs_along_every_edge_and_nowhere_else():
    mask = np.random.default_rng(3).random((11, 13)) < 0.5
    drawn = set()
    for x, y, way, length in re.findall(r"M(\d+) (\d+)([hv])(\d+)", outline(mask)):
        for step in range(int(length)):
            drawn.add((int(x) + step, int(y), "h") if way == "h" else (int(x), int(y) + step, "v"))
    padded = np.pad(mask, 1)
    expected = set()
    for y in range(mask.shape[0] + 1):
        for x in range(mask.shape[1] + 1):
            if x < mask.shape[1] and padded[y, x + 1] != padded[y + 1, x + 1]:
                expected.add((x, y, "h"))
            if y < mask.shape[0] and padded[y + 1, x] != padded[y + 1, x + 1]:
                expected.add((x, y, "v"))
    assert drawn == expected


def test_a_panel_is_true_to_scale():
    svg = panel(np.zeros((20, 100), np.uint8), (3.0, 0.5), ("R", "L", "A", "P"), "words")
    width, height = map(float, re.search(r'<image [^>]*width="([\d.]+)" height="([\d.]+)"', svg).groups())
    assert width / height == pytest.approx(50.0 / 60.0, abs=1e-3)
    length = float(re.search(r'd="M[\d.]+ [\d.]+v4h([\d.]+)v-4"', svg).group(1))
    millimetres = int(re.search(r">(\d+) mm<", svg).group(1))
    assert length / width == pytest.approx(millimetres / 50.0, abs=1e-3)
    assert re.findall(r">([RLAP])<", svg) == ["R", "L", "A", "P"]


def test_the_slices_with_the_largest_disagreement_lie_apart():
    reference = np.zeros((40, 20, 20), bool)
    reference[:, 5:15, 5:15] = True
    prediction = reference.copy()
    for z, columns in ((10, 9), (11, 8), (12, 7), (20, 5), (30, 2)):
        prediction[z, 5:15, 5 : 5 + columns] = False
    found = worst_slices(prediction, reference, (2.0, 1.0, 3.0))
    assert [entry.z for entry in found] == [10, 20, 30]
    assert [entry.missed_mm2 for entry in found] == [270.0, 150.0, 60.0]
    assert all(entry.extra_mm2 == 0 for entry in found)
    prediction[19:] = reference[19:]
    assert [entry.z for entry in worst_slices(prediction, reference, (2.0, 1.0, 3.0))] == [10, 11, 12]


def test_masks_that_agree_show_one_slice_from_the_middle():
    mask = np.zeros((9, 4, 4), bool)
    assert worst_slices(mask, mask, (1.0, 1.0, 1.0)) == []
    mask[2:7] = True
    (entry,) = worst_slices(mask, mask, (1.0, 1.0, 1.0))
    assert (entry.z, entry.wrong_mm2) == (4, 0.0)


def test_a_scan_on_another_grid_is_seen_at_the_same_place():
    z, y, x = np.mgrid[:12, :20, :24]
    scan = Volume((5 * x + 3 * y + z - 60).astype(np.int16), (4.0, 2.0, 2.0), (10.0, -20.0, 30.0))
    scan.array[0, 0, 0] = -1000  # a CT contains air
    same = Backdrop(scan, scan)
    assert same.same_grid
    half = Volume(np.zeros((12, 10, 12), np.uint8), (4.0, 4.0, 4.0), (10.0, -20.0, 30.0))
    other = Backdrop(scan, half)
    assert not other.same_grid
    whole, some = same.plane(5, slice(0, 20), slice(0, 24)), other.plane(5, slice(0, 10), slice(0, 12))
    assert np.abs(whole[::2, ::2].astype(int) - some).max() <= 1


# A marker at one end of each patient axis, and its expected position in the view.
@pytest.mark.parametrize("side", SIDES, ids=lambda side: side.name)
def test_each_side_shows_the_patient_the_right_way_round(side):
    ends = {"L": (2, 1), "R": (2, 0), "P": (1, 1), "A": (1, 0), "S": (0, 1), "I": (0, 0)}
    left, right, top, bottom = side.letters
    for letter, horizontal, sign in ((left, True, -1), (right, True, 1), (top, False, -1), (bottom, False, 1)):
        axis, high = ends[letter]
        mask = np.zeros((40, 40, 40), bool)
        mask[16:24, 16:24, 16:24] = True
        stretch = [slice(18, 22)] * 3
        stretch[axis] = slice(20, 38) if high else slice(2, 20)
        mask[tuple(stretch)] = True
        hit, shade, points = Solid(mask, (1.0, 1.0, 1.0), 40.0).seen_from(side)
        rows, columns = np.nonzero(hit)
        where, middle = (columns, hit.shape[1] / 2) if horizontal else (rows, hit.shape[0] / 2)
        assert np.sign(where.mean() - middle) == sign, letter
        # The points belong to the visible voxels.
        far = points[np.argmax(where * sign)]
        assert far[axis] > 34 if high else far[axis] < 5
        assert (shade[hit] > 0.4).all() and (shade[~hit] == 0).all()


def test_the_nearest_face_is_the_one_that_is_seen():
    mask = np.zeros((30, 30, 30), bool)
    mask[10:20, 5:25, 8:22] = True
    faces = {"from the front": (1, 4.5), "from behind": (1, 24.5), "from the right": (2, 7.5),
             "from the left": (2, 21.5), "from above": (0, 19.5), "from below": (0, 9.5)}  # fmt: skip
    solid = Solid(mask, (1.0, 1.0, 1.0), 30.0)
    for side in SIDES:
        axis, face = faces[side.name]
        _, _, points = solid.seen_from(side)
        assert np.median(points[:, axis]) == pytest.approx(face, abs=0.5), side.name


@pytest.mark.parametrize("preset", PRESETS)
def test_surface_distances_are_those_that_the_metrics_sum_up(preset):
    rng = np.random.default_rng(4)
    one, other = np.zeros((2, 14, 16, 18), bool)
    one[3:10, 4:12, 5:13] = True
    other[4:11, 4:13, 3:12] = True
    other ^= rng.random(other.shape) < 0.02
    spacing = (2.5, 0.8, 1.1)
    here, there = surface_distances(one, other, spacing, preset=preset)
    result = compare(one, other, spacing, preset=preset)
    every = np.concatenate([here.distances, there.distances])
    assert every.max() == pytest.approx(result.mssd_mm, abs=1e-9)
    if preset != "surfel":  # only there do points have areas
        assert every.mean() == pytest.approx(result.assd_mm, abs=1e-9)
        z, y, x = here.points.astype(int).T
        assert one[z, y, x].all()
    mm = np.array(spacing)
    nearest = [np.linalg.norm((there.points - point) * mm, axis=1).min() for point in here.points[::17]]
    np.testing.assert_allclose(here.distances[::17], nearest, atol=1e-9)


def warmth(svg, tmp_path):
    """Mean of red minus blue over the body."""
    data = base64.b64decode(re.search(r"base64,([^\"]+)", svg).group(1))
    pixels = decoded(data, tmp_path).astype(float)
    seen = pixels[..., 3] > 0
    return (pixels[..., 0] - pixels[..., 2])[seen].mean()


@pytest.mark.parametrize(("grow", "sign"), [(4, 1), (-4, -1)])
def test_too_much_is_orange_and_missed_is_blue_on_both_surfaces(grow, sign, tmp_path):
    z, y, x = np.mgrid[:40, :40, :40] - 20
    distance = np.sqrt(z * z + y * y + x * x)
    reference, prediction = distance < 12, distance < 12 + grow
    drawn = distance_map(prediction, reference, Volume(prediction.view(np.uint8)), "lits")
    assert drawn.limit_mm == 5.0
    assert 4.0 <= drawn.largest_mm <= 5.0
    for pictures in (drawn.prediction, drawn.reference):
        assert [name for name, _ in pictures] == [side.name for side in SIDES]
        assert all(np.sign(warmth(svg, tmp_path)) == sign for _, svg in pictures)


@pytest.mark.parametrize(("low", "high"), [(0.87, 0.955), (-7.0, 12.0), (3.0, 3.0), (0.0, 0.0), (749.0, 1641.0)])
def test_an_axis_covers_its_values_with_a_few_round_ticks(low, high):
    axis = Axis.covering(low, high, 200.0, 20.0)
    assert axis.ticks[0] <= low and axis.ticks[-1] >= high
    assert 2 <= len(axis.ticks) <= 8
    assert axis.at(axis.ticks[0]) == 200.0 and axis.at(axis.ticks[-1]) == 20.0
    assert [float(axis.label(tick).replace("−", "-")) for tick in axis.ticks] == pytest.approx(axis.ticks)


def test_the_bland_altman_plot_says_bias_and_limits_of_agreement():
    pairs = [("a", 1510.0, 1500.0), ("b", 1190.0, 1200.0), ("c", 1740.0, 1700.0), ("d", 980.0, 1000.0)]
    svg = bland_altman("Volumes", pairs)
    differences = np.array([one - other for _, one, other in pairs])
    spread = 1.96 * differences.std(ddof=1)
    for words in (f"mean +{differences.mean():.1f} ml", f"+1.96 sd +{differences.mean() + spread:.1f} ml",
                  f"−1.96 sd −{spread - differences.mean():.1f} ml"):  # fmt: skip
        assert words in svg
    assert svg.count("<circle") == 4
    assert "c: 1740.0 ml, reference 1700.0 ml, difference +40.0 ml" in svg


def test_a_box_plot_has_a_dot_for_every_case_and_spares_outliers_the_whiskers():
    values = [1.0, 2.0, 3.0, 4.0, 5.0, 20.0]
    svg = box_plot("ASSD (mm)", [("", [(f"c{i}", value) for i, value in enumerate(values)])])
    assert svg.count("<circle") == 6
    low, high = fences(values)
    assert low < 1.0 and 5.0 < high < 20.0
    axis = Axis.covering(1.0, 20.0, 230.0 - 26, 26)
    assert f'y1="{axis.at(5.0):.1f}"' in svg and f'y1="{axis.at(20.0):.1f}" x2="125' not in svg
