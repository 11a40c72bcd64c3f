"""Rebuilding the training scans from public downloads: found, prepared according to the manifest, compared."""

import csv
import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from corpus.dicom_files import series
from lvnet.errors import ConfigurationError, ImageError, ResourceError
from lvnet.image_io import read_image, read_labels, write_image, write_labels
from lvnet.orientation import to_canonical
from lvnet.recipe import LabelClass
from lvnet.volume import Volume
from lvnet_training.cli import main
from lvnet_training.manifest import COLUMNS, DEFAULT, fill, measure, read_manifest
from lvnet_training.originals import KNOWN
from lvnet_training.preparation_steps import parse_steps, take_steps
from lvnet_training.rebuilding import rebuild

NAMES = [LabelClass(value, f"value {value}") for value in range(1, 256)]
TRAIN = "mean of 2 x 2 pixels, origin moved by half a pixel; HU clipped to [-200; 260], steps of 8 HU"
SHAPE = (13, 40, 48)


def scan_and_label(seed=0, shape=SHAPE, spacing=(2.0, 0.8, 0.7), direction=(1, 0, 0, 0, 1, 0, 0, 0, 1)):
    """A body with a liver in slices 2 to 9."""
    rng = np.random.default_rng(seed)
    image = np.full(shape, -1000, np.int16)
    image[:, 3:-3, 3:-3] = rng.integers(-60, 60, (shape[0], shape[1] - 6, shape[2] - 6))
    label = np.zeros(shape, np.uint8)
    label[2:10, 6:25, 7:30] = 1
    image[label > 0] += 120
    place = {"spacing": spacing, "origin": (-31.5, 12.25, 100.0), "direction": tuple(map(float, direction))}
    return Volume(image, **place), Volume(label, **place)


def put(scan, label, scan_path, label_path=None, value=1):
    for path in (scan_path, label_path):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
    write_image(scan, scan_path)
    if label_path is not None:
        write_labels(label.with_array(label.array * np.uint8(value)), label_path, NAMES)


def put_dicom(volume, folder, offset=1024):
    """A series on the volume's own grid (axial, upwards)."""
    heights = [volume.spacing[0] * index for index in range(volume.shape[0])]
    stored = (volume.array.astype(int) + offset).astype(np.uint16)
    series(folder, stored, heights=heights, PixelSpacing=[str(s) for s in volume.spacing[1:]],
           SliceThickness=str(volume.spacing[0]), RescaleIntercept=str(-offset))  # fmt: skip


def row(case, source, source_case, split="train", preparation=TRAIN, hu="true HU", label_origin="by hand", **more):
    plain = dict.fromkeys(COLUMNS, "")
    plain.update(split=split, case=case, patient=case, source=source, source_case=source_case, hu=hu,
                 label_origin=label_origin, preparation=preparation, address="https://example.org", licence="CC0",
                 liver_ml="10", size="13 x 20 x 24", spacing_mm="2 x 1.6 x 1.4", label_voxels="100")  # fmt: skip
    plain.update(more)
    return plain


def write_manifest(path, *rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def made(data, case, split="train"):
    return read_image(data / split / case / "ct.nii.gz"), read_labels(data / split / case / "liver.nii.gz")


def rebuilt(tmp_path, folders, *rows, **options):
    entries = read_manifest(write_manifest(tmp_path / "manifest.csv", *rows))
    return rebuild(entries, folders, tmp_path / "data", **options)


# Contents of the manifest


def test_every_row_of_the_manifest_is_understood_and_its_source_known():
    entries = read_manifest(DEFAULT)
    assert len(entries) == 73
    assert {entry.source for entry in entries} <= set(KNOWN)
    assert {entry.same_scan_as.rpartition(" case ")[0] for entry in entries} <= {"", "3D-IRCADb-01"}
    for entry in entries:
        assert len(entry.made.ct_digest) == len(entry.made.label_digest) == 64
        ml = entry.made.label_voxels * np.prod(entry.made.spacing) / 1000
        assert ml == pytest.approx(entry.made.liver_ml, abs=1)


@pytest.mark.parametrize(
    ("preparation", "hu"),
    [
        ("every fourth slice; own grid", "true HU"),
        ("own grid; sharpened", "true HU"),
        ("own grid steps of 8 HU", "true HU"),
        ("steps of 8 HU and more", "true HU"),
        ("HU clipped to [-200, 260]", "true HU"),
        ("", "true HU"),
        ("own grid", "HU known in [-160, 240] or so"),
        ("own grid", ""),
    ],
)
def test_words_that_are_not_known_are_refused_in_one_line(tmp_path, preparation, hu):
    with pytest.raises(ConfigurationError) as refusal:
        parse_steps(preparation, hu)
    assert "\n" not in str(refusal.value)
    path = write_manifest(tmp_path / "m.csv", row("a", "BTCV", "img0001", preparation=preparation, hu=hu))
    with pytest.raises(ConfigurationError, match="line 2"):
        read_manifest(path)


@pytest.mark.parametrize("change", [{"split": "test"}, {"case": "../x"}, {"size": "3 by 3"}, {"label_voxels": "many"}])
def test_a_manifest_that_is_none_is_refused_in_one_line(tmp_path, change):
    with pytest.raises(ConfigurationError, match="line 2"):
        read_manifest(write_manifest(tmp_path / "m.csv", {**row("a", "BTCV", "img0001"), **change}))
    (tmp_path / "n.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ConfigurationError, match="no column split"):
        read_manifest(tmp_path / "n.csv")
    with pytest.raises(ConfigurationError, match="cannot read"):
        read_manifest(tmp_path / "absent.csv")


def test_the_first_slice_is_kept_of_every_two():
    """The number of slices of 3D-IRCADb-01's scans is known: halves of odd numbers are rounded up."""
    slices = {2: 172, 3: 200, 5: 139, 6: 135, 8: 124, 9: 111, 10: 122, 12: 260, 13: 122, 14: 113, 15: 125, 16: 155,
              19: 124, 20: 225}  # fmt: skip
    found = {
        int(entry.same_scan_as.split()[-1]): entry.made.size[0]
        for entry in read_manifest(DEFAULT)
        if entry.same_scan_as
    }
    assert found == {case: (count + 1) // 2 for case, count in slices.items()}


# The preparation steps

TILTED = (0.96, -0.28, 0.0, 0.28, 0.96, 0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize("direction", [(1, 0, 0, 0, 1, 0, 0, 0, 1), (-1, 0, 0, 0, -1, 0, 0, 0, -1), TILTED])
@pytest.mark.parametrize("preparation", [TRAIN, f"every second slice; {TRAIN}", f"slices with liver only; {TRAIN}",
                                         f"without the lowest 2 slices; {TRAIN}"])  # fmt: skip
def test_a_landmark_keeps_its_place_in_the_patient(direction, preparation):
    scan, label = scan_and_label(direction=direction)
    array = np.full_like(scan.array, -200)
    array[4, 12:14, 20:22] = 200
    pair = take_steps(parse_steps(preparation, "true HU"), scan.with_array(array), label)

    def centre(volume):
        z, y, x = (float(v.mean()) for v in np.nonzero(volume.array > 100))
        step = np.array([x, y, z]) * np.array(volume.spacing)[::-1]
        return np.array(volume.origin) + volume.direction_matrix @ step

    assert centre(pair.scan) == pytest.approx(centre(scan.with_array(array)), abs=1e-3)
    assert pair.scan.same_grid(pair.label)
    assert pair.scan.array.dtype == np.int16 and pair.label.array.dtype == np.uint8
    assert pair.scan.spacing[1:] == (1.6, 1.4)


def test_thinning_keeps_the_first_slice_and_widens_the_spacing():
    scan, label = scan_and_label()
    scan = scan.with_array(np.broadcast_to(np.arange(13, dtype=np.int16)[:, None, None] * 8, SHAPE))
    once = take_steps(parse_steps("every second slice of the whole scan; own grid", "true HU"), scan, label)
    assert once.scan.array[:, 0, 0].tolist() == [0, 16, 32, 48, 64, 80, 96]
    steps = parse_steps("every second slice of the whole scan; thinned to every second slice; own grid", "true HU")
    twice = take_steps(steps, scan, label)
    assert twice.scan.array[:, 0, 0].tolist() == [0, 32, 64, 96]
    assert twice.scan.spacing[0] == 8.0 and twice.scan.origin == scan.origin
    third = take_steps(parse_steps("every third slice; own grid", "true HU"), scan, None)
    assert third.scan.array[:, 0, 0].tolist() == [0, 24, 48, 72, 96]
    only = take_steps(parse_steps("slices with liver only; thinned to every second slice; own grid", "true HU"), scan,
                      label)  # fmt: skip
    assert only.scan.array[:, 0, 0].tolist() == [16, 32, 48, 64]


def test_lowest_slices_are_those_at_the_feet_in_whichever_order_they_lie():
    steps = parse_steps("without the lowest 2 slices; own grid", "true HU")
    scan, _ = scan_and_label()
    scan = scan.with_array(np.broadcast_to(np.arange(13, dtype=np.int16)[:, None, None], SHAPE))
    assert take_steps(steps, scan, None).scan.array[:, 0, 0].tolist() == list(range(2, 13))
    down = dataclasses.replace(scan, direction=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0))
    assert take_steps(steps, down, None).scan.array[:, 0, 0].tolist() == list(range(11))


def test_hu_are_averaged_then_clipped_then_rounded_and_windowed_ones_clipped_first():
    scan, _ = scan_and_label()
    array = np.zeros(SHAPE, np.int16)
    array[0, :2, :2] = [[1000, 0], [0, 0]]
    array[1, :2, :2] = 400
    array[2, :2, :2] = [[4, 4], [4, 4]]
    array[3, :2, :2] = [[12, 12], [12, 12]]
    array[4, :2, :2] = -2000
    scan = scan.with_array(array)
    # 260 is not a multiple of 8; halves are rounded to the even multiple.
    true = take_steps(parse_steps(TRAIN, "true HU"), scan, None).scan.array[:5, 0, 0]
    assert true.tolist() == [248, 256, 0, 16, -200]
    window = take_steps(parse_steps(TRAIN, "HU known in [-160, 240]"), scan, None).scan.array[:5, 0, 0]
    assert window.tolist() == [64, 240, 0, 16, -160]
    rough = take_steps(parse_steps(TRAIN, "HU within +-5 in [-45, 160], rougher outside"), scan, None)
    assert rough.scan.array[:5, 0, 0].tolist() == true.tolist()
    val = "own grid; below -300 HU set to -1000, above 500 to 500, steps of 8 HU"
    array[5, 0, :4] = [-301, -300, 501, 500]
    kept = take_steps(parse_steps(val, "true HU"), scan.with_array(array), None).scan.array
    assert kept[5, 0, :4].tolist() == [-1000, -304, 496, 496]
    assert kept.shape == SHAPE


def test_a_pixel_is_liver_where_at_least_two_of_four_were():
    scan, label = scan_and_label()
    array = np.zeros(SHAPE, np.uint8)
    for pixel, count in enumerate(range(5)):
        block = np.zeros(4, np.uint8)
        block[:count] = 1
        array[0, :2, 2 * pixel : 2 * pixel + 2] = block.reshape(2, 2)
    pair = take_steps(parse_steps(TRAIN, "true HU"), scan, label.with_array(array))
    assert pair.label.array[0, 0, :5].tolist() == [0, 0, 1, 1, 1]


def test_a_scan_that_a_step_does_not_fit_is_refused():
    scan, label = scan_and_label()
    odd = Volume(scan.array[:, :39], scan.spacing)
    with pytest.raises(ImageError, match="39 x 48 pixels"):
        take_steps(parse_steps(TRAIN, "true HU"), odd, None)
    with pytest.raises(ImageError, match="there is none"):
        take_steps(parse_steps("slices with liver only; own grid", "true HU"), scan, None)
    with pytest.raises(ImageError, match="no slice shows liver"):
        take_steps(parse_steps("slices with liver only; own grid", "true HU"), scan, label.with_array(label.array * 0))


# The layouts of the data sets


def lay_lits(folder, scan, label):
    put(scan, label, folder / "Training Batch 1" / "volume-7.nii", folder / "Training Batch 1" / "segmentation-7.nii")
    return "LiTS", "volume-7"


def lay_lits_tumour(folder, scan, label):
    array = label.array.copy()
    array[4:6, 10:14, 10:14] = 2
    put(scan, label.with_array(array), folder / "volume-7.nii", folder / "segmentation-7.nii")
    return "LiTS", "volume-7"


def lay_decathlon(folder, scan, label):
    place = folder / "Task03_Liver"
    put(scan, label, place / "imagesTr" / "liver_7.nii.gz", place / "labelsTr" / "liver_7.nii.gz")
    (place / "dataset.json").write_text(json.dumps({"labels": {"0": "background", "1": "liver", "2": "cancer"}}))
    (place / "imagesTr" / "._liver_7.nii.gz").write_bytes(b"x")
    return "LiTS", "volume-7"


def lay_btcv(folder, scan, label):
    place = folder / "RawData" / "Training"
    array = label.array * np.uint8(6)
    array[0, 30:34, 30:34] = 1  # the spleen
    put(scan, label.with_array(array), place / "img" / "img0007.nii.gz", place / "label" / "label0007.nii.gz")
    return "BTCV", "img0007"


def lay_ircad(folder, scan, label):
    place = folder / "3Dircadb1" / "3Dircadb1.7"
    put_dicom(scan, place / "PATIENT_DICOM")
    put_dicom(label.with_array(label.array * np.uint8(255)), place / "MASKS_DICOM" / "liver", offset=0)
    put_dicom(label.with_array(label.array * 0), place / "MASKS_DICOM" / "bone", offset=0)
    return "3D-IRCADb-01", "case 7"


def lay_totalsegmentator(folder, scan, label):
    place = folder / "Totalsegmentator_dataset" / "s0007"
    put(scan, label, place / "ct.nii.gz", place / "segmentations" / "liver.nii.gz")
    put(scan, label, place.with_name("s0008") / "ct.nii.gz")
    return "TotalSegmentator", "s0007"


def lay_totalsegmentator_test(folder, scan, label):
    place = folder / "tests" / "reference_files"
    put(scan, label, place / "example_ct.nii.gz", place / "example_seg" / "liver.nii.gz")
    return "TotalSegmentator test data", "test case"


LAYOUTS = [lay_lits, lay_lits_tumour, lay_decathlon, lay_btcv, lay_ircad, lay_totalsegmentator,
           lay_totalsegmentator_test]  # fmt: skip


@pytest.mark.parametrize("lay", LAYOUTS)
def test_a_scan_and_its_label_are_found_as_they_were_downloaded(tmp_path, lay):
    scan, label = scan_and_label()
    source, case = lay(tmp_path / "downloads", scan, label)
    (verdict,) = rebuilt(tmp_path, {source: tmp_path / "downloads"}, row("seven", source, case))
    assert verdict.made, verdict.line
    image, liver = made(tmp_path / "data", "seven")
    wanted = take_steps(parse_steps(TRAIN, "true HU"), scan, label)
    assert image.array.dtype == np.int16 and np.array_equal(image.array, wanted.scan.array)
    assert np.array_equal(liver.array, wanted.label.array)
    assert image.same_grid(liver)
    if lay is not lay_ircad:
        # The DICOM files of this test have their own position.
        assert image.same_grid(wanted.scan)


def lay_chaos(folder, scan):
    put_dicom(scan, folder / "CHAOS_Test_Sets" / "Test_Sets" / "CT" / "3" / "DICOM_anon")
    put_dicom(scan_and_label(9)[0], folder / "CHAOS_Test_Sets" / "Test_Sets" / "CT" / "4" / "DICOM_anon")
    put_dicom(scan_and_label(9)[0], folder / "CHAOS_Test_Sets" / "Test_Sets" / "MR" / "3" / "DICOM_anon")
    return "CHAOS", "CT 3"


def lay_lidc(folder, scan):
    put_dicom(scan, folder / "LIDC-IDRI" / "LIDC-IDRI-0001" / "01-01-2000-30178" / "3000566.000000-03192")
    return "LIDC-IDRI", "LIDC-IDRI-0001"


def lay_pathology(folder, scan):
    put_dicom(scan, folder / "LungFCP-01-0001" / "study" / "series")
    return "Lung-Fused-CT-Pathology", "LungFCP-01-0001"


def lay_pyradiomics(folder, scan):
    put(scan, None, folder / "data" / "lung1_image.nrrd")
    return "PyRadiomics", "lung1"


def lay_single_dicom(folder, scan):
    put_dicom(scan, folder / "DICOM-RT-02")
    return "OnkoDICOM", "planning CT"


def lay_single_file(folder, scan):
    put(scan, None, folder / "IMAGES" / "one.nii.gz")
    return "PlatiPy", "planning CT, thorax and upper abdomen"


BARE = [lay_chaos, lay_lidc, lay_pathology, lay_pyradiomics, lay_single_dicom, lay_single_file]


@pytest.mark.parametrize("lay", BARE)
def test_a_scan_whose_label_is_not_public_is_made_without_one_and_says_so(tmp_path, lay):
    scan, _ = scan_and_label()
    source, case = lay(tmp_path / "downloads", scan)
    origin = "by another network (x)"
    (verdict,) = rebuilt(tmp_path, {source: tmp_path / "downloads"}, row("it", source, case, label_origin=origin))
    assert verdict.made and verdict.label == "none"
    assert "no label: the manifest's was made by another network (x)" in verdict.line
    assert not (tmp_path / "data" / "train" / "it" / "liver.nii.gz").exists()
    wanted = take_steps(parse_steps(TRAIN, "true HU"), scan, None).scan.array
    assert np.array_equal(read_image(tmp_path / "data" / "train" / "it" / "ct.nii.gz").array, wanted)


@pytest.mark.parametrize("lay", BARE)
def test_a_scan_without_liver_has_an_empty_label(tmp_path, lay):
    source, case = lay(tmp_path / "downloads", scan_and_label()[0])
    rebuilt(tmp_path, {source: tmp_path / "downloads"}, row("it", source, case, label_origin="empty, by eye"))
    image, liver = made(tmp_path / "data", "it")
    assert image.same_grid(liver) and not liver.array.any()


def test_a_label_of_another_origin_is_said_to_be_another(tmp_path):
    lay_totalsegmentator(tmp_path / "d", *scan_and_label())
    wanted = row("t", "TotalSegmentator", "s0007", label_origin="by another network (x), cleaned and looked at")
    (verdict,) = rebuilt(tmp_path, {"TotalSegmentator": tmp_path / "d"}, wanted)
    assert "the label differs: the manifest's was made by another network (x)" in verdict.line
    assert verdict.ratio == pytest.approx(made(tmp_path / "data", "t")[1].array.sum() / 100)


def test_labels_of_lits_whose_header_differs_are_taken_voxel_by_voxel_and_others_are_not(tmp_path):
    scan, label = scan_and_label()
    turned = dataclasses.replace(label, direction=(-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0))
    lay_lits(tmp_path / "lits", scan, turned)
    lay_btcv(tmp_path / "btcv", scan, turned)
    rows = row("a", "LiTS", "volume-7"), row("b", "BTCV", "img0007")
    first, second = rebuilt(tmp_path, {"LiTS": tmp_path / "lits", "BTCV": tmp_path / "btcv"}, *rows)
    assert "voxel by voxel" in first.line
    wanted = take_steps(parse_steps(TRAIN, "true HU"), scan, label).label.array
    assert np.array_equal(made(tmp_path / "data", "a")[1].array, wanted)
    assert not second.made and "another grid" in second.line


# Comparing


def test_the_same_voxels_are_known_again_whichever_way_a_file_holds_them(tmp_path):
    scan, label = scan_and_label()
    lay_btcv(tmp_path / "d", scan, label)
    entry = row("a", "BTCV", "img0007")
    (verdict,) = rebuilt(tmp_path, {"BTCV": tmp_path / "d"}, entry)
    assert verdict.scan == verdict.label == "other voxels"
    # The manifest is filled with measurements of the folder itself.
    assert fill(tmp_path / "manifest.csv", tmp_path / "data") == 1
    shutil.move(tmp_path / "data", tmp_path / "first")
    flipped = Volume(scan.array[:, ::-1, ::-1], scan.spacing, scan.origin, (-1, 0, 0, 0, -1, 0, 0, 0, 1))
    lay_btcv(tmp_path / "turned", flipped, Volume(label.array[:, ::-1, ::-1], *flipped_place(flipped)))
    entries = read_manifest(tmp_path / "manifest.csv")
    (verdict,) = rebuild(entries, {"BTCV": tmp_path / "turned"}, tmp_path / "data")
    assert (verdict.scan, verdict.label, verdict.remarks) == ("same voxels", "same voxels", ())
    assert not np.array_equal(made(tmp_path / "data", "a")[0].array, made(tmp_path / "first", "a")[0].array)
    changed = scan.with_array(scan.array + np.int16(1) * (scan.array == 7))
    lay_btcv(tmp_path / "changed", changed, label)
    shutil.rmtree(tmp_path / "data")
    (verdict,) = rebuild(entries, {"BTCV": tmp_path / "changed"}, tmp_path / "data")
    assert (verdict.scan, verdict.label) == ("other voxels", "same voxels")
    assert "should be the same" in verdict.line
    pictures = dataclasses.replace(entries[0], hu="HU known in [-125, 275]")
    shutil.rmtree(tmp_path / "data")
    (verdict,) = rebuild([pictures], {"BTCV": tmp_path / "changed"}, tmp_path / "data")
    assert "made from pictures (HU known in [-125, 275])" in verdict.line


def flipped_place(volume):
    return volume.spacing, volume.origin, volume.direction


def test_another_size_spacing_and_volume_are_reported(tmp_path):
    lay_btcv(tmp_path / "d", *scan_and_label())
    entry = {**row("a", "BTCV", "img0007"), "size": "9 x 20 x 24", "spacing_mm": "5 x 1.6 x 1.4"}
    (verdict,) = rebuilt(tmp_path, {"BTCV": tmp_path / "d"}, entry)
    assert "its size is 13 x 20 x 24, in the manifest 9 x 20 x 24" in verdict.line
    assert "its spacing is 2.000 x 1.600 x 1.400 mm, in the manifest 5.000" in verdict.line
    assert "4 ml, manifest 10 ml" in verdict.line
    with (tmp_path / "data" / "rebuilt.csv").open() as file:
        (line,) = csv.DictReader(file)
    assert (line["case"], line["made"], line["manifest_ml"]) == ("a", "True", "10.0")


# Missing data


def test_what_is_missing_is_named_and_the_rest_made(tmp_path):
    lay_lits(tmp_path / "lits", *scan_and_label())
    rows = (row("a", "LiTS", "volume-7"), row("b", "LiTS", "volume-8"), row("c", "BTCV", "img0001"),
            row("d", "TotalSegmentator test data", "test case"))  # fmt: skip
    verdicts = rebuilt(tmp_path, {"LiTS": tmp_path / "lits"}, *rows)
    lines = [verdict.line for verdict in verdicts]
    assert [verdict.made for verdict in verdicts] == [True, False, False, False]
    assert "volume-8.nii with segmentation-8.nii" in lines[1]
    assert "needs --from BTCV=FOLDER" in lines[2]
    assert 'needs --from "TotalSegmentator test data"=FOLDER' in lines[3]
    assert sorted(p.name for p in (tmp_path / "data" / "train").iterdir()) == ["a"]


def test_the_same_scan_of_another_data_set_takes_its_place(tmp_path):
    source, case = lay_ircad(tmp_path / "d", *scan_and_label())
    (verdict,) = rebuilt(tmp_path, {source: tmp_path / "d"},
                         row("l", "LiTS", "volume-34", same_scan_as=f"{source} {case}"))  # fmt: skip
    assert verdict.made and "from 3D-IRCADb-01 case 7, the same scan" in verdict.line


def test_a_damaged_original_is_named_and_the_rest_made(tmp_path):
    lay_lits(tmp_path / "d", *scan_and_label())
    put(*scan_and_label(1), tmp_path / "d" / "volume-8.nii", tmp_path / "d" / "segmentation-8.nii")
    (tmp_path / "d" / "volume-8.nii").write_bytes((tmp_path / "d" / "volume-8.nii").read_bytes()[:5000])
    rows = row("a", "LiTS", "volume-8"), row("b", "LiTS", "volume-7")
    verdicts = rebuilt(tmp_path, {"LiTS": tmp_path / "d"}, *rows)
    assert [verdict.made for verdict in verdicts] == [False, True]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--from", "Lits={tmp}"], "is not a source in the manifest"),
        (["--from", "LiTS"], "SOURCE=FOLDER"),
        (["--from", "LiTS={tmp}/nowhere"], "is not a folder"),
        (["--from", "LiTS={tmp}", "--from", "LiTS={tmp}"], "twice"),
        (["--from", "LiTS={tmp}", "--manifest", "{tmp}/none.csv"], "cannot read the manifest"),
        (["--from", "LiTS={tmp}"], "no case could be built"),
        (["--again"], "can only be used with --from"),
        (["--part", "val"], "can only be used with --from"),
    ],
)
def test_wrong_words_are_one_line_and_leave_nothing(tmp_path, capsys, arguments, words):
    given = [word.format(tmp=tmp_path) for word in arguments]
    assert main(["prepare", str(tmp_path / "data"), "--cache", str(tmp_path / "cache"), *given]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


# Resuming


def test_what_is_there_is_not_made_again_unless_it_is_asked_for(tmp_path):
    source, case = lay_btcv(tmp_path / "d", *scan_and_label())
    entry, folders = row("a", source, case), {source: tmp_path / "d"}
    (first,) = rebuilt(tmp_path, folders, entry)
    ct = tmp_path / "data" / "train" / "a" / "ct.nii.gz"
    inode = ct.stat().st_ino, ct.stat().st_mtime_ns
    assert rebuilt(tmp_path, folders, entry) == [first]
    assert (ct.stat().st_ino, ct.stat().st_mtime_ns) == inode
    assert rebuilt(tmp_path, folders, entry, again=True) == [first]
    assert ct.stat().st_mtime_ns != inode[1]
    # Another original, other steps, or damage cause a rebuild.
    ct.write_bytes(b"x")
    assert rebuilt(tmp_path, folders, entry) == [first] and ct.stat().st_size > 1000
    (other,) = rebuilt(tmp_path, folders, {**entry, "preparation": "own grid"})
    assert "its size is 13 x 40 x 48" in other.line
    lay_btcv(tmp_path / "d", *scan_and_label(5))
    rebuilt(tmp_path, folders, entry)
    assert np.array_equal(
        made(tmp_path / "data", "a")[0].array,
        take_steps(parse_steps(TRAIN, "true HU"), scan_and_label(5)[0], None).scan.array,
    )


def test_a_folder_that_somebody_else_made_is_left_alone(tmp_path):
    source, case = lay_btcv(tmp_path / "d", *scan_and_label())
    put(
        *scan_and_label(3), tmp_path / "data" / "train" / "a" / "ct.nii.gz", tmp_path / "data" / "train" / "a" / "x.nii"
    )
    before = (tmp_path / "data" / "train" / "a" / "ct.nii.gz").read_bytes()
    for again in (False, True):
        (verdict,) = rebuilt(tmp_path, {source: tmp_path / "d"}, row("a", source, case), again=again)
        assert not verdict.made and "move it away" in verdict.line
    assert (tmp_path / "data" / "train" / "a" / "ct.nii.gz").read_bytes() == before


def test_a_label_that_a_user_put_beside_a_bare_scan_is_not_thrown_away(tmp_path):
    source, case = lay_lidc(tmp_path / "d", scan_and_label()[0])
    entry = row("a", source, case, label_origin="by TotalSegmentator")
    rebuilt(tmp_path, {source: tmp_path / "d"}, entry)
    own = tmp_path / "data" / "train" / "a" / "liver.nii.gz"
    own.write_bytes(b"mine")
    rebuilt(tmp_path, {source: tmp_path / "d"}, entry)
    (verdict,) = rebuilt(tmp_path, {source: tmp_path / "d"}, entry, again=True)
    assert not verdict.made and "contains liver.nii.gz" in verdict.line
    assert own.read_bytes() == b"mine"


def test_a_case_is_whole_or_absent(tmp_path, monkeypatch):
    source, case = lay_btcv(tmp_path / "d", *scan_and_label())

    def full(*_):
        raise OSError(28, "No space left on device")

    for place, words in (("lvnet_training.rebuilding.write_labels", "No space left"), ("os.fsync", "disk is full")):
        with monkeypatch.context() as context:
            context.setattr(place, full)
            with pytest.raises(ResourceError, match=words):
                rebuilt(tmp_path, {source: tmp_path / "d"}, row("a", source, case))
        assert list((tmp_path / "data" / "train").iterdir()) == []


# Real scans, and the complete workflow

REAL = Path(os.environ.get("LVNET_DATA_DIR") or "none")


@pytest.mark.skipif(not (REAL / "val").is_dir(), reason="LVNET_DATA_DIR names no real scans")
@pytest.mark.parametrize(("case", "number"), [("ircad17", 17), ("btcv26", 26)])
def test_a_real_scan_keeps_its_liver_volume_when_it_is_prepared_for_training(tmp_path, case, number):
    """A validation scan on its own grid replaces an original scan of BTCV."""
    place = tmp_path / "d" / "Training"
    scan, label = (read(REAL / "val" / case / name) for read, name in
                   ((read_image, "ct.nii.gz"), (read_labels, "liver.nii.gz")))  # fmt: skip
    put(scan, label, place / "img" / f"img{number:04d}.nii.gz", place / "label" / f"label{number:04d}.nii.gz", 6)
    (verdict,) = rebuilt(tmp_path, {"BTCV": tmp_path / "d"}, row(case, "BTCV", f"img{number:04d}"))
    image, liver = made(tmp_path / "data", case)
    assert image.shape == (scan.shape[0], 256, 256) and image.same_grid(liver)
    assert verdict.liver_ml == pytest.approx(measure(scan, label).liver_ml, rel=0.02)
    assert image.array.min() >= -200 and image.array.max() <= 256 and not (image.array % 8).any()
    inside = to_canonical(scan)[0].array[to_canonical(label)[0].array > 0]
    assert image.array[liver.array > 0].mean() == pytest.approx(np.clip(inside, -200, 260).mean(), abs=4)


@pytest.mark.skipif(not (REAL / "train").is_dir(), reason="LVNET_DATA_DIR names no real scans")
def test_the_very_scans_of_the_manifest_are_known_as_such(tmp_path):
    entries = [entry for entry in read_manifest(DEFAULT) if entry.case in ("totalseg_example", "lung_negative")]
    for entry in entries:
        shutil.copytree(REAL / entry.split / entry.case, tmp_path / "data" / entry.split / entry.case)
        found = measure(*made(tmp_path / "data", entry.case))
        assert (found.ct_digest, found.label_digest) == (entry.made.ct_digest, entry.made.label_digest)
    verdicts = rebuild(entries, {}, tmp_path / "data")
    assert [(verdict.scan, verdict.label) for verdict in verdicts] == [("same voxels", "same voxels")] * 2


def spikes_and_notches(label):
    """Label pixels with only one neighbour in the label, and outside pixels with three."""
    around = np.pad(label.astype(np.int8), ((0, 0), (1, 1), (1, 1)))
    beside = around[:, :-2, 1:-1] + around[:, 2:, 1:-1] + around[:, 1:-1, :-2] + around[:, 1:-1, 2:]
    return int(((label == 1) & (beside == 1)).sum()), int(((label == 0) & (beside == 3)).sum())


@pytest.mark.skipif(not (REAL / "train").is_dir(), reason="LVNET_DATA_DIR names no real scans")
def test_outlines_of_the_labels_at_hand_are_as_halving_by_two_of_four_leaves_them():
    """Two of four gives more spikes than notches, three of four the reverse; checks labels from a single source."""
    for case in ("ircad17", "lits47_every2nd"):
        array = read_labels(REAL / "val" / case / "liver.nii.gz").array.astype(int)
        four = array[:, ::2, ::2] + array[:, ::2, 1::2] + array[:, 1::2, ::2] + array[:, 1::2, 1::2]
        spikes, notches = spikes_and_notches((four >= 2).astype(np.uint8))
        assert spikes > notches
        spikes, notches = spikes_and_notches((four >= 3).astype(np.uint8))
        assert spikes < notches
    found = [
        spikes_and_notches(read_labels(REAL / "train" / entry.case / "liver.nii.gz").array)
        for entry in read_manifest(DEFAULT)
        if entry.same_scan_as and entry.split == "train"
    ]
    assert len(found) == 13
    assert sum(spikes > notches for spikes, notches in found) >= 12


@pytest.mark.parametrize("layout", ["lits", "decathlon"])
def test_with_lits_or_the_decathlon_alone_the_bundled_configuration_runs_to_the_end(
    tmp_path, pytestconfig, capsys, layout
):
    """The commands of the README, with smaller numbers, so that they do not take hours."""
    downloads = tmp_path / "downloads"
    for number in (0, 2, 5, 47):
        scan, label = scan_and_label(number, shape=(24, 64, 64), spacing=(4.0, 2.0, 2.0))
        if layout == "lits":
            put(scan, label, downloads / f"volume-{number}.nii", downloads / f"segmentation-{number}.nii")
        else:
            put(scan, label, downloads / "imagesTr" / f"liver_{number}.nii.gz",
                downloads / "labelsTr" / f"liver_{number}.nii.gz")  # fmt: skip
    if layout == "decathlon":
        (downloads / "dataset.json").write_text(
            json.dumps({"labels": {"0": "background", "1": "liver", "2": "cancer"}})
        )
    data, run = tmp_path / "data", tmp_path / "run"
    assert main(["prepare", str(data), "--cache", str(tmp_path / "cache"), "--from", f"LiTS={downloads}"]) == 0
    out = capsys.readouterr().out
    assert "4 of 73 cases" in out and "69 left out" in out and "4 cases ready" in out
    bundled = yaml.safe_load((pytestconfig.rootpath / "training" / "configs" / "bundled.yaml").read_text())
    stages = [{**stage, "epochs": 1, "patch": [16, 32, 32]} for stage in bundled["stages"]]
    short = {"base": str(pytestconfig.rootpath / "training" / "configs" / "bundled.yaml"), "stages": stages,
             "samples_per_epoch": 2, "phantoms": 0,
             "architecture": {"widths": [4, 6, 8, 8, 10], "expansion": 1, "kernel_size": 3}}  # fmt: skip
    config = tmp_path / "short.yaml"
    config.write_text(yaml.safe_dump(short))
    assert main(["fit", "--config", str(config), "--data", str(data / "train"), "--validation", str(data / "val"),
                 "--output", str(run), "--device", "cpu", "--no-pictures"]) == 0  # fmt: skip
    weights = tmp_path / "my.safetensors"
    assert main(["export", str(run / "best.pt"), str(weights), "--config", str(config)]) == 0
    assert main(["evaluate", str(data / "val"), "--weights", str(weights), "--device", "cpu"]) == 0
    assert "mean dice" in capsys.readouterr().out
