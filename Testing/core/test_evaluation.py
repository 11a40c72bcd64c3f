"""Evaluation of one pair of prediction and reference."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from lvnet.errors import ConfigurationError, GeometryError, ImageError
from lvnet.evaluation import evaluate, write_csv
from lvnet.metrics import PRESETS, compare
from lvnet.volume import Volume

sitk = pytest.importorskip("SimpleITK")

SPACING = (2.5, 0.7, 0.8)


def label_map(*boxes, shape=(14, 16, 18), dtype=np.uint8, **fields):
    """A label map of boxes: (value, (z, y, x) of the low corner, (z, y, x) of the size)."""
    array = np.zeros(shape, dtype)
    for value, corner, size in boxes:
        array[tuple(slice(c, c + s) for c, s in zip(corner, size))] = value
    return Volume(array, **{"spacing": SPACING, "origin": (3.0, -4.0, 5.0), **fields})


def save(volume, path):
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing(volume.spacing[::-1])
    image.SetOrigin(volume.origin)
    image.SetDirection(volume.direction)
    sitk.WriteImage(image, str(path))
    return path


LIVER = label_map((1, (3, 3, 3), (8, 9, 10)))
GUESS = label_map((1, (3, 4, 3), (8, 9, 10)))


@pytest.mark.parametrize("preset", PRESETS)
def test_one_label_gives_the_numbers_of_compare(preset):
    result = evaluate(GUESS, LIVER, preset=preset)
    assert result == compare(GUESS.array, LIVER.array, SPACING, preset=preset).to_dict()
    assert result["preset"] == preset
    assert {"dice", "voe", "rvd", "assd_mm", "mssd_mm", "reference_ml", "prediction_ml"} <= set(result)


def test_files_and_volumes_give_the_same(tmp_path):
    prediction, reference = save(GUESS, tmp_path / "guess.nrrd"), save(LIVER, tmp_path / "liver.nii.gz")
    assert evaluate(prediction, str(reference)) == pytest.approx(evaluate(GUESS, LIVER))
    assert evaluate(prediction, LIVER) == pytest.approx(evaluate(GUESS, LIVER))


def test_several_labels_give_one_object_each():
    reference = label_map((1, (3, 3, 3), (8, 9, 10)), (2, (5, 5, 5), (2, 2, 2)))
    result = evaluate(GUESS, reference, labels="1,2")
    assert set(result["labels"]) == {"1", "2"}
    assert result["preset"] == "lits"
    assert result["labels"]["1"]["dice"] == pytest.approx(compare(GUESS.array == 1, reference.array == 1, SPACING).dice)
    assert result["labels"]["2"]["dice"] == 0
    assert result["labels"]["2"]["assd_mm"] is None
    assert result["labels"]["2"]["assd_mm_reason"] == "the prediction is empty"
    json.dumps(result, allow_nan=False)


def test_a_label_picks_one_of_several():
    reference = label_map((1, (3, 3, 3), (8, 9, 10)), (2, (5, 5, 5), (2, 2, 2)))
    assert evaluate(GUESS, reference, label=1) == evaluate(GUESS, reference, labels="1")


def test_a_label_that_nobody_has_is_said():
    result = evaluate(GUESS, LIVER, label=9)
    assert result["dice"] == 1
    assert result["notes"] == ["label 9 occurs in neither"]


def test_two_masks_with_one_value_each_are_compared_whatever_the_values():
    result = evaluate(GUESS, LIVER.with_array(LIVER.array * 255))
    assert result.pop("notes") == ["label 1 of the prediction is compared with label 255 of the reference"]
    assert result == evaluate(GUESS, LIVER)


def test_bool_volumes_are_label_maps():
    as_bool = Volume(GUESS.array.astype(bool), SPACING, GUESS.origin)
    assert evaluate(as_bool, LIVER) == evaluate(GUESS, LIVER)


def test_two_empty_label_maps_agree():
    result = evaluate(label_map(), label_map())
    assert (result["dice"], result["assd_mm"], result["reference_ml"]) == (1, 0, 0)


def test_the_image_border_is_where_the_image_ends_not_where_the_labels_end():
    reference, prediction = label_map((1, (0, 4, 4), (6, 5, 5))), label_map((1, (0, 4, 4), (8, 5, 5)))
    expected = compare(prediction.array, reference.array, SPACING, preset="chaos").to_dict()
    assert evaluate(prediction, reference, preset="chaos") == expected


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"spacing": (2.5, 0.7, 0.9)}, "spacing 0.8 x 0.7 x 2.5 and 0.9 x 0.7 x 2.5 mm"),
        ({"origin": (3.0, -4.0, 6.0)}, "origin 3 x -4 x 5 and 3 x -4 x 6 mm"),
        ({"direction": (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)}, "direction of the axes"),
        (
            {"array": np.ones((14, 16, 19), np.uint8), "spacing": (2.5, 0.7, 0.9)},
            "size 18 x 16 x 14 and 19 x 16 x 14 v",
        ),
    ],
)
def test_different_grids_are_refused_and_the_difference_named(change, words):
    with pytest.raises(GeometryError, match=words) as caught:
        evaluate(GUESS, replace(LIVER, **change))
    assert "\n" not in str(caught.value)


def cropped(volume, z, y, x):
    """A part of a label map at its original position."""
    first = np.array([z.start, y.start, x.start]) * volume.spacing
    origin = tuple(float(o + d) for o, d in zip(volume.origin, first[::-1]))
    return replace(volume, array=volume.array[z, y, x], origin=origin)


@pytest.mark.parametrize("resample", [False, True])
def test_what_a_prediction_of_smaller_extent_misses_counts(resample):
    part = cropped(GUESS, slice(2, 9), slice(3, 16), slice(1, 11))
    whole = replace(GUESS, array=np.zeros_like(GUESS.array))
    whole.array[2:9, 3:16, 1:11] = part.array
    expected = evaluate(whole, LIVER)
    for one, other, swapped in ((part, LIVER, False), (LIVER, part, True)):
        result = evaluate(one, other, resample=resample)
        assert "padded with background to their common extent" in result.pop("notes")[0]
        truth = evaluate(LIVER, whole) if swapped else expected
        assert result == pytest.approx(truth)


def test_a_resampled_reference_is_never_cut_to_the_predictions_extent():
    part = cropped(LIVER, slice(2, 9), slice(3, 16), slice(1, 11))
    off = replace(part, origin=tuple(o + 0.3 * s for o, s in zip(part.origin, SPACING[::-1])))
    result = evaluate(off, LIVER, resample=True)
    assert "padded with background to contain all of the reference" in result["notes"][0]
    assert result["reference_ml"] == pytest.approx(evaluate(LIVER, LIVER)["reference_ml"], rel=0.02)
    turned = replace(LIVER, direction=(0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0))
    assert evaluate(part, turned, resample=True)["reference_ml"] == pytest.approx(result["reference_ml"], rel=0.1)


def test_a_reference_on_a_finer_grid_is_resampled_when_asked():
    fine = Volume(
        LIVER.array.repeat(2, 0).repeat(2, 1).repeat(2, 2),
        tuple(step / 2 for step in SPACING),
        tuple(o - step / 4 for o, step in zip(LIVER.origin, SPACING[::-1])),
    )
    result = evaluate(GUESS, fine, resample=True)
    note = result.pop("notes")
    assert result == evaluate(GUESS, LIVER)
    assert "the reference was resampled to the prediction's grid" in note[0]
    assert evaluate(LIVER, replace(fine, array=fine.array.astype(bool)), resample=True)["dice"] == 1


def test_flipped_and_permuted_axes_need_no_resampling():
    rng = np.random.default_rng(0)
    prediction = GUESS.with_array((rng.random(GUESS.shape) < 0.5).astype(np.uint8))
    reference = LIVER.with_array((rng.random(GUESS.shape) < 0.5).astype(np.uint8))
    # Axis x runs to the right from the far end; y and z are swapped.
    turned = Volume(
        reference.array[:, :, ::-1].transpose(1, 0, 2),
        (SPACING[1], SPACING[0], SPACING[2]),
        (LIVER.origin[0] + (LIVER.shape[2] - 1) * SPACING[2], *LIVER.origin[1:]),
        (-1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0),
    )
    result = evaluate(prediction, turned)
    assert "orientations" in result.pop("notes")[0]
    assert result == pytest.approx(evaluate(prediction, reference))


def test_a_scan_given_for_a_label_map_is_noticed():
    scan = LIVER.with_array(np.arange(LIVER.array.size, dtype=np.int16).reshape(LIVER.shape) % 700)
    with pytest.raises(ImageError, match="more than 255 different values"):
        evaluate(GUESS, scan)
    with pytest.raises(ImageError, match="the prediction is not a label map: it contains float32"):
        evaluate(GUESS.with_array(GUESS.array.astype(np.float32)), LIVER)
    with pytest.raises(GeometryError, match="2 dimensions"):
        evaluate(Volume(np.ones((3, 3), np.uint8)), LIVER)


def test_missing_files_unknown_presets_and_the_background_are_refused(tmp_path):
    with pytest.raises(ImageError, match="does not exist"):
        evaluate(tmp_path / "nothing.nii.gz", LIVER)
    with pytest.raises(ConfigurationError, match="preset"):
        evaluate(GUESS, LIVER, preset="nothing")
    with pytest.raises(ConfigurationError, match="background"):
        evaluate(GUESS, LIVER, label=0)


def test_what_was_noticed_on_reading_is_passed_on_once():
    noted = replace(LIVER, notes=("a layer was merged",))
    assert evaluate(replace(GUESS, notes=noted.notes), noted)["notes"] == ["a layer was merged"]


def test_a_pair_becomes_a_table_of_one_row_or_one_a_label(tmp_path):
    write_csv(evaluate(GUESS, LIVER), tmp_path / "one.csv")
    heading, row = (tmp_path / "one.csv").read_text(encoding="utf-8").splitlines()
    assert heading.startswith("case,label,dice,voe,rvd,absolute_rvd,assd_mm,mssd_mm,prediction_ml,reference_ml,preset")
    assert float(row.split(",")[2]) == evaluate(GUESS, LIVER)["dice"]
    reference = label_map((1, (3, 3, 3), (8, 9, 10)), (2, (5, 5, 5), (2, 2, 2)))
    write_csv(evaluate(GUESS, reference, labels="1,2"), tmp_path / "two.csv")
    assert len((tmp_path / "two.csv").read_text(encoding="utf-8").splitlines()) == 3


def test_a_table_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    with pytest.raises(ImageError, match="cannot be written"):
        write_csv(evaluate(GUESS, LIVER), tmp_path / "absent" / "table.csv")
    assert list(tmp_path.iterdir()) == []
