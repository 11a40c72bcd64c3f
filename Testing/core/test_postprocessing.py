"""Postprocessing of a label map."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lvnet.postprocessing import fill_holes, largest_component, postprocess
from scipy import ndimage


def labels(shape=(12, 14, 16), **boxes):
    """A label map; l1=((z, z), (y, y), (x, x)) sets a box to 1."""
    array = np.zeros(shape, np.uint8)
    for name, sides in boxes.items():
        array[tuple(slice(*side) for side in sides)] = int(name[1:].split("_")[0])
    return array


@st.composite
def maps(draw):
    shape = tuple(draw(st.integers(1, 11)) for _ in range(3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.choice(
        [0, 1, 7, 255], size=shape, p=draw(st.sampled_from([(0.3, 0.5, 0.1, 0.1), (0.6, 0.4, 0, 0)]))
    ).astype(np.uint8)


def test_only_the_largest_component_stays():
    array = labels(l1=((2, 8), (2, 8), (2, 8)), l1_far=((9, 11), (10, 13), (12, 15)))
    np.testing.assert_array_equal(largest_component(array), labels(l1=((2, 8), (2, 8), (2, 8))))


def test_every_class_keeps_a_component_of_its_own():
    array = labels(l1=((0, 4), (0, 4), (0, 4)), l2=((4, 6), (4, 6), (4, 6)), l2_small=((8, 9), (8, 9), (8, 9)))
    kept = largest_component(array)
    assert (kept == 1).sum() == 64
    assert (kept == 2).sum() == 8


def test_pieces_that_touch_by_an_edge_or_a_corner_are_two():
    for step in ((0, 1, 1), (1, 1, 1)):
        array = labels(l1=((2, 5), (2, 5), (2, 5)))
        array[tuple(4 + n for n in step)] = 1
        assert (largest_component(array) == 1).sum() == 27


def test_pieces_that_touch_by_a_face_are_one():
    for step in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
        array = labels(l1=((2, 5), (2, 5), (2, 5)))
        array[tuple(4 + n for n in step)] = 1
        assert (largest_component(array) == 1).sum() == 28


def test_of_equal_components_the_first_stays():
    array = labels(l1=((1, 3), (1, 3), (1, 3)), l1_other=((6, 8), (6, 8), (6, 8)))
    np.testing.assert_array_equal(largest_component(array), labels(l1=((1, 3), (1, 3), (1, 3))))


def test_enclosed_holes_are_filled_and_other_classes_in_them_stay():
    array = labels(l1=((1, 9), (1, 9), (1, 9)), l0=((3, 7), (3, 7), (3, 7)), l2=((4, 5), (4, 5), (4, 5)))
    filled = fill_holes(array)
    expected = labels(l1=((1, 9), (1, 9), (1, 9)), l2=((4, 5), (4, 5), (4, 5)))
    np.testing.assert_array_equal(filled, expected)


def test_a_tunnel_to_the_outside_is_no_hole():
    array = labels(l1=((1, 9), (1, 9), (1, 9)), l0=((4, 5), (4, 5), (4, 16)))
    np.testing.assert_array_equal(fill_holes(array), array)


def test_a_gap_at_the_edge_of_the_scan_is_no_hole():
    array = labels(l1=((0, 6), (2, 9), (2, 9)), l0=((0, 3), (4, 6), (4, 6)))
    np.testing.assert_array_equal(fill_holes(array), array)


def test_a_wall_that_touches_by_its_edges_is_closed():
    array = labels(shape=(3, 5, 5))
    array[1, 1:4, 1:4] = [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    array[[0, 2], 2, 2] = 1
    assert fill_holes(array)[1, 2, 2] == 1


def test_a_hole_left_by_a_dropped_component_is_filled_too():
    array = labels(l1=((1, 9), (1, 9), (1, 9)), l2=((10, 12), (10, 13), (10, 13)), l2_inside=((4, 5), (4, 5), (4, 5)))
    tidy = postprocess(array)
    assert tidy[4, 4, 4] == 1
    assert tidy[10, 10, 10] == 2


@pytest.mark.parametrize("tool", [largest_component, fill_holes, postprocess])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 4, 5), (0, 4, 4)])
def test_empty_maps_stay_empty(tool, shape):
    result = tool(np.zeros(shape, np.uint8))
    assert result.shape == shape
    assert result.dtype == np.uint8
    assert not result.any()


@pytest.mark.parametrize("tool", [largest_component, fill_holes, postprocess])
def test_the_input_is_left_alone_and_views_are_welcome(tool):
    array = labels(l1=((1, 9), (1, 9), (1, 9)), l0=((4, 5), (4, 5), (4, 5)), l1_far=((10, 11), (11, 12), (12, 13)))
    before = array.copy()
    expected = tool(array)
    np.testing.assert_array_equal(array, before)
    np.testing.assert_array_equal(tool(array[::-1].transpose(2, 0, 1)), expected[::-1].transpose(2, 0, 1))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(maps())
def test_components_and_holes_are_those_of_scipy(array):
    largest, filled = array.copy(), array.copy()
    for value in np.unique(array[array > 0]):
        numbered, _ = ndimage.label(array == value)
        largest[(array == value) & (numbered != 1 + np.argmax(np.bincount(numbered.ravel())[1:]))] = 0
        filled[ndimage.binary_fill_holes(filled == value) & (filled == 0)] = value
    np.testing.assert_array_equal(largest_component(array), largest)
    np.testing.assert_array_equal(fill_holes(array), filled)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(maps())
def test_tidying_twice_changes_nothing_more_for_one_class(array):
    tidy = postprocess((array > 0).astype(np.uint8))
    np.testing.assert_array_equal(postprocess(tidy), tidy)


def test_memory_is_a_few_bytes_a_voxel_whatever_the_map_holds():
    """The largest scans, 512 x 512 x 800 voxels, take less than 1.5 GB in addition to the map."""
    array = np.zeros((60, 128, 128), np.uint8)
    array[5:55, 15:110, 15:110] = 1
    array[25:30, 50:60, 50:60] = 0
    array[::7, ::9, 125] = 1
    noise = (np.random.default_rng(1).random(array.shape) < 0.5).astype(np.uint8)
    for labels_map in (array, noise):
        tracemalloc.start()
        postprocess(labels_map)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 7 * labels_map.nbytes


@pytest.mark.parametrize("array", [np.zeros((3, 3), np.uint8), np.zeros((3, 3, 3), np.float32)])
def test_what_is_no_label_map_is_refused(array):
    with pytest.raises(ValueError, match="uint8"):
        postprocess(array)
