"""DICOM SEG export: voxels, position, codes and references are correct when read by an archive or a viewer."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from dciodvfy import MISSING, TOOL, errors_of
from lvnet import __version__
from lvnet.cli import main
from lvnet.errors import DependencyError, ImageError
from lvnet.image_io import dicom_seg, read_image
from lvnet.image_io.dicom_seg import open_seg_source, write_dicom_seg
from lvnet.recipe import LIVER, Recipe

pydicom = pytest.importorskip("pydicom", reason="pydicom writes the test series")
highdicom = pytest.importorskip("highdicom", reason="highdicom writes DICOM SEG")
from dicom_scans import (  # noqa: E402
    SECRETS,
    SHAPE,
    TILTED,
    TWO,
    labels_for,
    place,
    write_enhanced,
    write_series,
)


@pytest.fixture
def series(tmp_path):
    """Writes a series, with file names in reverse order of position, and returns its folder."""

    def write(heights=None, folder="ct", **options):
        return write_series(tmp_path / folder, heights, **options)

    return write


def write(folder, recipe=TWO, name="seg.dcm", labels=None, **options):
    labels = labels_for(folder, recipe) if labels is None else labels
    target = Path(folder).parent / name
    write_dicom_seg(labels, target, open_seg_source(folder), recipe, **options)
    assert errors_of(target) == []
    return labels, highdicom.seg.segread(target)


def voxel_positions(volume):
    """LPS of every slice's first voxel, from the volume's grid."""
    normal = volume.direction_matrix[:, 2]
    return [np.asarray(volume.origin) + z * volume.spacing[0] * normal for z in range(volume.shape[0])]


def frames_of(seg):
    """(segment, position) and the mask of every frame, unpacked with pydicom alone."""
    pixels = pydicom.dcmread(seg.filename).pixel_array.reshape(-1, seg.Rows, seg.Columns)
    found = []
    for mask, group in zip(pixels, seg.PerFrameFunctionalGroupsSequence):
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        position = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        found.append((number, position, mask.astype(bool), group))
    return found


def assert_frames_match(seg, labels, positions, values=(1, 9)):
    frames = frames_of(seg)
    seen = dict.fromkeys(values, 0)
    for number, position, mask, _ in frames:
        value = values[number - 1]
        z = int(np.argmin([np.linalg.norm(position - p) for p in positions]))
        assert np.allclose(position, positions[z], atol=1e-4)
        assert np.array_equal(mask, labels.array[z] == value)
        seen[value] += int(mask.sum())
    assert seen == {value: int((labels.array == value).sum()) for value in values}


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), (-1, 0, 0, 0, 1, 0), TILTED])
def test_voxels_and_positions_come_back(series, orientation):
    folder = series(orientation=orientation)
    labels, seg = write(folder)
    assert_frames_match(seg, labels, voxel_positions(labels))
    volume = seg.get_volume(combine_segments=True)
    assert volume.spacing == pytest.approx(labels.spacing)


@pytest.mark.skipif(TOOL is None, reason=MISSING)
def test_objects_are_valid_by_dciodvfy_which_sees_what_is_wrong(series):
    _, seg = write(series(), Recipe(), checksum="ab" * 32)
    data = pydicom.dcmread(seg.filename)
    assert data.file_meta.MediaStorageSOPClassUID == "1.2.840.10008.5.1.4.1.1.66.4"
    assert errors_of(seg.filename) == []
    del data.ContentLabel, data.SegmentSequence[0].SegmentAlgorithmType
    data.save_as(seg.filename)
    assert len(errors_of(seg.filename)) == 2


def test_highdicom_reads_each_slice_of_the_series_back(series):
    folder = series()
    labels, seg = write(folder)
    ordered = [pydicom.dcmread(path) for path in sorted(folder.iterdir(), reverse=True)]
    uids = [data.SOPInstanceUID for data in ordered]
    masks = seg.get_pixels_by_source_instance(
        uids, ignore_spatial_locations=False, assert_missing_frames_are_empty=True
    )
    assert np.array_equal(masks[..., 0] > 0, labels.array == 1)
    assert np.array_equal(masks[..., 1] > 0, labels.array == 9)


def test_simpleitk_reads_the_object(series):
    labels, seg = write(series(), Recipe())
    image = sitk.ReadImage(str(seg.filename))
    found = sitk.GetArrayFromImage(image) > 0
    used = np.flatnonzero(labels.array.any(axis=(1, 2)))
    assert found.shape == (len(used), *SHAPE[1:])
    assert image.GetSpacing() == pytest.approx((0.7, 0.8, 2.5))
    # Frames may be stored in either direction along the patient, as long as the header says so.
    heights = [image.TransformIndexToPhysicalPoint((0, 0, z)) for z in range(len(used))]
    for mask, position in zip(found, heights):
        z = round((position[2] - 20) / 2.5)
        assert position == pytest.approx((-100, -50, 20 + 2.5 * z))
        assert np.array_equal(mask, labels.array[z] == 1)


def test_segments_carry_label_codes_colour_and_algorithm(series):
    _, seg = write(series(), checksum="ab" * 32)
    liver, other = seg.SegmentSequence
    assert (liver.SegmentNumber, liver.SegmentLabel, other.SegmentLabel) == (1, "liver", "mystery")
    kind = liver.SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodeValue, kind.CodingSchemeDesignator, kind.CodeMeaning) == ("10200004", "SCT", "Liver")
    category = liver.SegmentedPropertyCategoryCodeSequence[0]
    assert (category.CodeValue, category.CodeMeaning) == ("123037004", "Anatomical Structure")
    assert other.SegmentedPropertyTypeCodeSequence[0].CodeValue == "85756007"
    assert liver.SegmentAlgorithmType == "AUTOMATIC"
    algorithm = liver.SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("LV-Net", __version__)
    assert "two" in algorithm.AlgorithmParameters and "ab" * 32 in algorithm.AlgorithmParameters
    colour = highdicom.color.CIELabColor.from_dicom_value(liver.RecommendedDisplayCIELabValue)
    assert np.allclose(colour.to_rgb(), LIVER.colour, atol=2)


def test_the_series_and_each_slice_are_referenced(series):
    folder = series()
    _, seg = write(folder)
    reference = seg.ReferencedSeriesSequence[0]
    assert reference.SeriesInstanceUID == "1.2.3.4.5"
    known = {pydicom.dcmread(path).SOPInstanceUID: pydicom.dcmread(path) for path in folder.iterdir()}
    assert {item.ReferencedSOPInstanceUID for item in reference.ReferencedInstanceSequence} == set(known)
    for _, position, _, group in frames_of(seg):
        source = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        assert np.allclose(position, np.array(known[source].ImagePositionPatient, float))


def test_the_patient_and_the_study_are_those_of_the_series_and_the_object_is_new(series):
    _, seg = write(series())
    assert (str(seg.PatientName), seg.PatientID, seg.PatientBirthDate, seg.AccessionNumber) == SECRETS
    assert (seg.StudyInstanceUID, seg.StudyDate, seg.FrameOfReferenceUID) == ("1.2.3.4", "20200102", "1.2.3.4.6")
    assert seg.SeriesInstanceUID != "1.2.3.4.5"
    assert (seg.Modality, seg.SeriesNumber, seg.SegmentationType) == ("SEG", 1003, "BINARY")
    elsewhere = " ".join(str(e.value) for e in seg.iterall() if e.keyword not in (
        "PatientName", "PatientID", "PatientBirthDate", "AccessionNumber") and e.VR != "SQ")  # fmt: skip
    assert not any(secret in elsewhere for secret in SECRETS)


def test_a_series_without_optional_fields_gets_empty_ones(series):
    missing = dict.fromkeys(("PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID",
                             "StudyDate", "StudyTime", "SeriesNumber"))  # fmt: skip
    labels, seg = write(series(**missing))
    assert seg.SeriesNumber == 1000
    assert_frames_match(seg, labels, voxel_positions(labels))


def test_slices_that_were_filled_in_lie_between_their_neighbours(series):
    folder = series([0, 2.5, 5, 10, 12.5, 15, 17.5])
    labels, seg = write(folder)
    assert labels.shape[0] == 8
    assert_frames_match(seg, labels, voxel_positions(labels))


def test_frames_of_a_tilted_gantry_lie_on_their_slices_not_on_the_upright_grid(series):
    folder = series(shift=0.2)
    labels, seg = write(folder)
    assert any("tilt" in note for note in read_image(folder).notes)
    assert_frames_match(seg, labels, [place(2.5 * z, shift=0.2) for z in range(SHAPE[0])])


def test_a_repeated_slice_leaves_the_references_right(series):
    folder = series([0, 2.5, 5, 7.5, 10])
    copy = pydicom.dcmread(sorted(folder.iterdir())[1])
    copy.SOPInstanceUID, copy.InstanceNumber = "1.2.3.4.99", 9
    copy.save_as(folder / "copy.dcm")
    labels, seg = write(folder)
    assert labels.shape[0] == 5
    assert_frames_match(seg, labels, voxel_positions(labels))


def test_the_largest_series_of_a_folder_is_taken_as_for_reading(series, tmp_path):
    folder = series()
    (folder / "small").mkdir()
    series([0, 2.5, 5], "ct/small", SeriesInstanceUID="1.2.3.4.77")
    labels, seg = write(folder)
    assert labels.shape[0] == SHAPE[0]
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3.4.5"


def test_of_one_file_the_series_it_belongs_to_is_taken(series):
    folder = series()
    series([0, 2.5, 5], SeriesInstanceUID="1.2.3.4.77")
    path = next(p for p in sorted(folder.iterdir()) if pydicom.dcmread(p).SeriesInstanceUID.endswith("77"))
    labels = labels_for(path)
    target = folder.parent / "seg.dcm"
    write_dicom_seg(labels, target, open_seg_source(path), TWO)
    assert pydicom.dcmread(target).ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3.4.77"


def test_an_enhanced_file_with_frames_in_any_order_is_segmented(tmp_path):
    path = write_enhanced(tmp_path / "enhanced" / "file.dcm")
    labels = labels_for(path)
    target = tmp_path / "seg.dcm"
    write_dicom_seg(labels, target, open_seg_source(path), TWO)
    seg = highdicom.seg.segread(target)
    assert_frames_match(seg, labels, [place(2.5 * z) for z in range(SHAPE[0])])
    assert errors_of(target) == []
    source = pydicom.dcmread(path)
    (instance,) = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert instance.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert instance.ReferencedSOPClassUID == source.SOPClassUID
    for _, position, _, group in frames_of(seg):
        (image,) = group.DerivationImageSequence[0].SourceImageSequence
        assert image.ReferencedSOPInstanceUID == source.SOPInstanceUID
        of_source = source.PerFrameFunctionalGroupsSequence[image.ReferencedFrameNumber - 1].PlanePositionSequence[0]
        assert np.allclose(position, np.array(of_source.ImagePositionPatient, float))


def test_each_segment_has_a_tracking_identifier_of_its_own(series):
    _, seg = write(series())
    _, again = write(series(), name="again.dcm")
    identifiers = [segment.TrackingUID for one in (seg, again) for segment in one.SegmentSequence]
    assert len(set(identifiers)) == 4
    assert [segment.TrackingID for segment in seg.SegmentSequence] == ["liver by LV-Net", "mystery by LV-Net"]


def test_an_empty_result_is_a_valid_object(series):
    folder = series()
    scan = read_image(folder)
    labels = scan.with_array(np.zeros(scan.shape, np.uint8))
    _, seg = write(folder, Recipe(), labels=labels)
    assert not pydicom.dcmread(seg.filename).pixel_array.any()


def test_labels_that_do_not_fit_are_a_bug_not_a_message(series):
    folder = series()
    labels = labels_for(folder)
    with pytest.raises(ValueError, match="grid of the series"):
        write(folder, labels=type(labels)(labels.array[:3], labels.spacing))
    with pytest.raises(ValueError, match="none of the classes"):
        dicom_seg._numbered(np.full((1, 2, 2), 5, np.uint8), TWO)


def one_line(error, *words):
    text = str(error)
    assert "\n" not in text and all(word in text for word in words)
    assert not any(secret in text for secret in (*SECRETS, "1.2.3.4"))


@pytest.mark.parametrize("keyword", ["FrameOfReferenceUID", "StudyInstanceUID"])
def test_a_series_that_no_seg_can_refer_to_is_refused_before_any_work(series, keyword):
    with pytest.raises(ImageError) as refusal:
        open_seg_source(series(**{keyword: None}))
    one_line(refusal.value, "needs", ".seg.nrrd")


def test_headers_that_contradict_each_other_are_one_line_without_names(series, capfd):
    folder = series([0, 2.5, 5, 7.5])
    path = sorted(folder.iterdir())[0]
    data = pydicom.dcmread(path)
    data.StudyInstanceUID = "1.2.3.4.9"
    data.save_as(path)
    with pytest.raises(ImageError) as refusal:
        write(folder)
    one_line(refusal.value, "headers", ".seg.nrrd")
    assert capfd.readouterr().err == ""


def test_odd_values_in_the_headers_are_never_printed(series, capfd, recwarn, caplog):
    folder = series(PatientBirthDate="ONCE UPON A TIME DOE^JANE", AccessionNumber="4711-SECRET" * 9)
    before = [logging.getLogger(name).level for name in ("pydicom", "highdicom")]
    labels = labels_for(folder)
    source = open_seg_source(folder)
    target = folder.parent / "seg.dcm"
    recwarn.clear()
    caplog.clear()  # messages from writing the series
    capfd.readouterr()
    try:
        write_dicom_seg(labels, target, source, TWO)
    except ImageError as error:
        one_line(error, "headers")
    said = capfd.readouterr()
    assert not any(s in said.out + said.err + caplog.text + "".join(str(w.message) for w in recwarn) for s in SECRETS)
    assert [logging.getLogger(name).level for name in ("pydicom", "highdicom")] == before


def test_nothing_half_written_stays_when_writing_fails(series, monkeypatch):
    folder = series()
    labels, source = labels_for(folder), open_seg_source(folder)
    target = folder.parent / "seg.dcm"
    target.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(ImageError, match="disk is full"):
        write_dicom_seg(labels, target, source, TWO)
    assert target.read_bytes() == b"old"
    assert sorted(p.name for p in folder.parent.iterdir()) == ["ct", "seg.dcm"]


# The command line


@pytest.fixture
def no_network(monkeypatch):
    """Fails the test if weights are loaded."""
    if importlib.util.find_spec("torch") is None:
        pytest.skip("the command needs torch")
    from lvnet.pipeline import scan

    monkeypatch.setattr(scan, "load_model", lambda *_: pytest.fail("the network was loaded"))


def test_a_missing_package_is_one_line_before_the_network_runs(series, tmp_path, no_network, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    folder = series()
    assert main(["segment", str(folder), "-o", str(tmp_path / "liver.dcm")]) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said and "lvnet-segmentation[dicom]" in said
    with pytest.raises(DependencyError):
        open_seg_source(folder)


def test_an_input_that_is_no_dicom_is_refused_before_the_network_runs(tmp_path, no_network, capsys):
    sitk.WriteImage(sitk.Image(8, 8, 8, sitk.sitkInt16), str(tmp_path / "ct.nii.gz"))
    assert main(["segment", str(tmp_path / "ct.nii.gz"), "-o", str(tmp_path / "liver.dcm")]) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said and "is not DICOM" in said and ".seg.nrrd" in said


def test_the_command_line_writes_dicom_seg_and_says_what_to_look_at(series, tmp_path, everything_is_liver, capsys):
    import json

    folder = series()
    target = tmp_path / "liver.dcm"
    assert main(["segment", str(folder), "-o", str(target), "--json"]) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    seg = highdicom.seg.segread(target)
    assert errors_of(target) == []
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3.4.5"
    assert pydicom.dcmread(target).pixel_array.all()
    checks = {check["name"]: check for check in result["checks"]}
    assert checks["liver volume"]["verdict"] == "ok"  # the liver may be cut off and small
    assert checks["liver edge"]["verdict"] == "look"
    assert "lvnet: look: the liver is cut off" in said.err
    assert not any(secret in said.err + said.out for secret in SECRETS)


def test_a_batch_of_series_becomes_a_folder_of_objects(series, tmp_path, everything_is_liver):
    one, two = series(folder="one"), series(folder="two")
    code = main(["segment", str(one), str(two), "-o", str(tmp_path / "out"), "--format", ".dcm", "--quiet"])
    assert code == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["one.dcm", "two.dcm"]
    assert [errors_of(file) for file in (tmp_path / "out").iterdir()] == [[], []]


def test_the_worker_writes_dicom_seg_of_a_folder_too(series, tmp_path, everything_is_liver, monkeypatch):
    from lvnet.pipeline import SegmentOptions
    from lvnet.worker import tasks
    from lvnet.worker.messages.requests import FolderRequest

    monkeypatch.setattr("lvnet.acceleration.allocator.keep_pages", lambda: False)
    monkeypatch.setitem(tasks._loaded, "key", None)
    (tmp_path / "all").mkdir()
    series(folder="all/one")
    request = FolderRequest(str(tmp_path / "all"), str(tmp_path / "out"), ".dcm", SegmentOptions())
    (scan,) = tasks.folder_task(request, lambda *_: None, lambda: False).scans
    monkeypatch.setitem(tasks._loaded, "key", None)
    assert scan["error"] is None
    assert errors_of(scan["output"]) == []
    assert pydicom.dcmread(scan["output"]).pixel_array.all()
