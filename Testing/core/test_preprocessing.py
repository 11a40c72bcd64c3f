"""Orientation, voxel size and window: the network always gets the same anatomy in the same form."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lvnet.errors import Cancelled, GeometryError
from lvnet.orientation import orientation_of, to_canonical
from lvnet.preprocessing import body_box, normalise, prepare
from lvnet.recipe import Preprocessing
from lvnet.resampling import Axis
from lvnet.volume import Volume

PAPER = Preprocessing()
BY_SPACING = Preprocessing(window=(-120.0, 240.0), mean=20.0, std=80.0, in_plane_spacing=(2.0, 2.0), slice_spacing=4.0)


def place(volume, index_zyx):
    """LPS position of a voxel, computed as in ITK."""
    return np.array(volume.origin) + volume.direction_matrix @ (
        np.array(index_zyx[::-1]) * np.array(volume.spacing[::-1])
    )


def turned(axes, flips, oblique=0.0):
    """A volume of 3 x 4 x 5 voxels whose index axes run along the given patient axes."""
    c, s = np.cos(oblique), np.sin(oblique)
    matrix = np.zeros((3, 3))
    for column, (row, flip) in enumerate(zip(axes, flips)):
        matrix[row, column] = -1.0 if flip else 1.0
    matrix = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ matrix
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    return Volume(array, (3.0, 2.0, 1.5), (10.0, -20.0, 30.0), tuple(matrix.ravel()))


@pytest.mark.parametrize(("axes", "flips"), list(product(permutations(range(3)), product([False, True], repeat=3))))
def test_every_orientation_becomes_lps_and_every_voxel_stays_in_its_place(axes, flips):
    volume = turned(axes, flips)
    moved, orientation = to_canonical(volume)
    np.testing.assert_allclose(moved.direction_matrix, np.eye(3), atol=1e-12)
    for index in product(*(range(n) for n in moved.shape)):
        source = tuple(np.argwhere(volume.array == moved.array[index])[0])
        np.testing.assert_allclose(place(moved, index), place(volume, source), atol=1e-9)
    assert np.array_equal(orientation.undo(moved.array), volume.array)


@pytest.mark.parametrize("degrees", [-30, 10, 30, 44])
def test_an_oblique_header_moves_no_voxel(degrees):
    straight, oblique = turned((0, 1, 2), (False,) * 3), turned((0, 1, 2), (False,) * 3, np.deg2rad(degrees))
    assert np.array_equal(to_canonical(straight)[0].array, to_canonical(oblique)[0].array)


def test_a_singular_direction_is_refused():
    with pytest.raises(GeometryError, match="singular"):
        orientation_of(Volume(np.zeros((2, 2, 2)), direction=(1.0, 0, 0, 1.0, 0, 0, 0, 0, 1.0)))


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 70), spacing=st.floats(0.4, 10), new=st.floats(0.4, 10))
def test_resampling_keeps_constants_and_never_overshoots(size, spacing, new):
    axis = Axis.of_spacing(size, spacing, new)
    for matrix in (axis.forward(), axis.backward()):
        np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-5)
        assert matrix.min() >= 0
    assert axis.forward().shape == (axis.new_size, size)
    assert axis.backward().shape == (size, axis.new_size)


def test_resampling_keeps_a_ramp_in_its_place():
    axis = Axis.of_spacing(100, 0.7, 2.0)
    there = axis.forward() @ np.arange(100, dtype=np.float32)
    back = axis.backward() @ there
    np.testing.assert_allclose(back[6:-6], np.arange(100)[6:-6], atol=0.05)


def test_averaging_takes_noise_away_where_thin_slices_become_thick():
    noise = np.random.default_rng(1).standard_normal(400).astype(np.float32)
    assert (Axis.of_spacing(400, 0.5, 4.0).forward() @ noise).std() < 0.4


def test_an_axis_of_the_same_spacing_is_left_alone():
    assert np.array_equal(Axis.of_spacing(9, 4.0, 4.0).forward(), np.eye(9, dtype=np.float32))


def test_the_papers_recipe_windows_resizes_to_256_and_takes_the_scans_own_mean_and_variance():
    rng = np.random.default_rng(1)
    scan = Volume(rng.integers(-1000, 1000, (20, 128, 160)).astype(np.int16), (2.5, 0.8, 0.8))
    prepared = prepare(scan, PAPER)
    assert [axis.new_size for axis in prepared.axes] == [20, 256, 256]
    whole = normalise(np.clip(scan.array, -200, 200), PAPER)
    assert whole.mean() == pytest.approx(0, abs=1e-3)
    assert whole.std() == pytest.approx(1, abs=1e-3)


def test_the_window_comes_before_the_resampling_so_that_metal_does_not_bleed():
    array = np.full((4, 16, 16), 50, np.int16)
    metal = array.copy()
    array[:, 8, 8], metal[:, 8, 8] = 240, 30_000
    a, b = (prepare(Volume(x, (4.0, 1.0, 1.0)), BY_SPACING).array for x in (array, metal))
    assert np.array_equal(a, b)


@pytest.mark.parametrize("spacing", [0.4, 0.7, 4.0, 6.0, 10.0])
def test_an_organ_has_the_same_size_at_any_slice_spacing(spacing):
    slices = round(200 / spacing)
    array = np.full((slices, 40, 40), -1000, np.int16)
    array[:, 8:32, 8:32] = 60
    prepared = prepare(Volume(array, (spacing, 2.0, 2.0)), BY_SPACING)
    assert prepared.array.shape[0] == pytest.approx(50, abs=1)


def test_a_crop_of_a_scan_has_the_same_voxels():
    rng = np.random.default_rng(2)
    array = rng.integers(0, 100, (24, 60, 60)).astype(np.int16)
    whole = prepare(Volume(array, (4.0, 2.0, 2.0)), BY_SPACING).array
    part = prepare(Volume(array[4:20, 10:50, 10:50], (4.0, 2.0, 2.0)), BY_SPACING).array
    np.testing.assert_allclose(part, whole[4:20, 10:50, 10:50], atol=1e-5)


def test_the_box_leaves_out_air_and_table_but_no_body():
    array = np.full((6, 100, 100), -120.0, np.float32)
    array[:, 30:70, 20:80] = 40
    array[:, 90, 49:51] = 300
    z, y, x = body_box(array, -120.0)
    assert (z.start, z.stop) == (0, 6)
    assert y.start <= 30 and 70 <= y.stop < 90
    assert x.start <= 20 and 80 <= x.stop < 90


def test_a_scan_of_air_keeps_its_whole_plane():
    assert body_box(np.full((3, 20, 20), -120.0), -120.0)[1:] == (slice(0, 20), slice(0, 20))


def test_what_comes_back_lies_where_it_was():
    array = np.full((30, 90, 110), -1000, np.int16)
    array[:, 10:80, 10:100] = 0
    array[10:20, 40:60, 30:70] = 200
    prepared = prepare(Volume(array, (4.0, 0.9, 0.9)), BY_SPACING)
    organ = (prepared.array * 80 + 20 > 100).astype(np.float32)
    back = np.stack([plane[0] for _, plane in prepared.restore(organ[None])])
    assert back.shape == array.shape
    mask, truth = back > 0.5, array == 200
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.9


def test_preparing_can_be_cancelled():
    with pytest.raises(Cancelled):
        prepare(Volume(np.zeros((4, 8, 8), np.int16)), BY_SPACING, cancelled=lambda: True)


def test_normalisation_does_not_change_its_input():
    array = np.array([-500.0, 0.0, 500.0], np.float32)
    normalise(array, BY_SPACING)
    assert array.tolist() == [-500.0, 0.0, 500.0]


def test_a_constant_scan_has_no_variance_to_divide_by():
    assert np.isfinite(normalise(np.full((2, 2, 2), 50.0), PAPER)).all()
