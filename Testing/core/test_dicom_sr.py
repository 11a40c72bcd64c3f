"""DICOM SR export: the measurements of a result are correct when read by an archive or a viewer."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from dciodvfy import MISSING, TOOL, errors_of
from lvnet import __version__
from lvnet.cli import main
from lvnet.errors import ImageError
from lvnet.image_io import read_image
from lvnet.recipe import LIVER, Recipe

pydicom = pytest.importorskip("pydicom", reason="pydicom writes the test series")
highdicom = pytest.importorskip("highdicom", reason="highdicom writes DICOM SR")
from dicom_scans import SECRETS, SHAPE, TWO, labels_for, write_enhanced, write_series  # noqa: E402
from lvnet.image_io.dicom_seg import open_seg_source, write_dicom_seg  # noqa: E402
from lvnet.image_io.dicom_sr import Findings, write_dicom_sr  # noqa: E402
from pydicom.sr.codedict import codes  # noqa: E402

HU = {"mean": 61.25, "sd": 14.5, "p50": 60.0, "min": -31.0, "max": 140.0}
DICE = {"dice": 0.95, "low": 0.93, "high": 0.965}
LIVER_FOUND = Findings(LIVER, 1432.75, HU, DICE, (("volume", "ok"), ("edge", "look"), ("expected dice", "wrong")))


def written(path, *, seg=True, recipe=None, findings=(LIVER_FOUND,), labels=None, checksum="ab" * 32):
    """The report, read back with highdicom, and its segmentation."""
    recipe = recipe or Recipe()
    labels = labels_for(path, recipe) if labels is None else labels
    source = open_seg_source(path)
    folder = path if path.is_dir() else path.parent
    segmentation = None
    if seg:
        segmentation = write_dicom_seg(labels, folder.parent / "seg.dcm", source, recipe, checksum)
    target = folder.parent / "sr.dcm"
    write_dicom_sr(findings, labels, target, source, recipe, checksum, segmentation)
    assert errors_of(target) == []
    return highdicom.sr.srread(target), segmentation


def groups_of(report, seg=True):
    found = report.content
    return found.get_volumetric_roi_measurement_groups() if seg else found.get_image_measurement_groups()


def numbers_of(group):
    """Values by meaning, derivation and unit."""
    found = {}
    for measurement in group.get_measurements():
        derivation = measurement.derivation.meaning if measurement.derivation is not None else ""
        found[measurement.name.meaning, derivation, measurement.unit.value] = float(measurement.value)
    return found


@pytest.mark.parametrize("seg", [True, False])
def test_volume_hu_expected_dice_and_verdicts_come_back(tmp_path, seg):
    report, _ = written(write_series(tmp_path / "ct"), seg=seg)
    (group,) = groups_of(report, seg)
    assert group.finding_type == codes.SCT.Liver
    assert group.finding_category.value == "123037004"
    assert [site.value for site in group.finding_sites] == [codes.SCT.Liver]
    assert numbers_of(group) == {
        ("Volume", "", "mL"): 1432.75,
        ("Attenuation Coefficient", "Mean", "[hnsf'U]"): 61.25,
        ("Attenuation Coefficient", "Standard Deviation", "[hnsf'U]"): 14.5,
        ("Attenuation Coefficient", "Median", "[hnsf'U]"): 60.0,
        ("Attenuation Coefficient", "Minimum", "[hnsf'U]"): -31.0,
        ("Attenuation Coefficient", "Maximum", "[hnsf'U]"): 140.0,
        ("expected Dice", "", "1"): 0.95,
        ("lower bound of the expected Dice", "", "1"): 0.93,
        ("upper bound of the expected Dice", "", "1"): 0.965,
    }
    verdicts = {e.name.meaning: e.value.meaning for e in group.get_qualitative_evaluations()}
    assert {name: verdict for name, verdict in verdicts.items() if name.startswith("self-check")} == {
        "self-check of the volume": "as expected",
        "self-check of the edge": "to be looked at",
        "self-check of the expected dice": "probably wrong",
    }


@pytest.mark.skipif(TOOL is None, reason=MISSING)
def test_dciodvfy_sees_what_is_wrong_with_a_report(tmp_path):
    written(write_series(tmp_path / "ct"))
    data = pydicom.dcmread(tmp_path / "sr.dcm")
    assert data.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.33"
    del data.CompletionFlag
    data.save_as(tmp_path / "sr.dcm")
    assert len(errors_of(tmp_path / "sr.dcm")) > 0


def test_the_algorithm_and_its_weights_are_identified(tmp_path):
    report, _ = written(write_series(tmp_path / "ct"))
    text = json.dumps(report.to_json_dict())
    assert '"LV-Net"' in text
    assert f'"{__version__}"' in text
    assert f"sha256={'ab' * 32}" in text
    (device,) = [item for item in report.content.get_observer_contexts() if item.observer_type == codes.DCM.Device]
    assert device.observer_identifying_attributes.name == "LV-Net"


def test_a_group_bears_the_tracking_identifier_of_its_segment_and_refers_to_it(tmp_path):
    findings = [LIVER_FOUND, Findings(TWO.classes[1], 3.5)]
    report, seg = written(write_series(tmp_path / "ct"), recipe=TWO, findings=findings)
    groups = groups_of(report)
    assert [group.tracking_uid for group in groups] == [segment.TrackingUID for segment in seg.SegmentSequence]
    assert [group.tracking_identifier for group in groups] == [segment.TrackingID for segment in seg.SegmentSequence]
    for number, group in enumerate(groups, 1):
        segment = group.referenced_segment
        assert segment.referenced_sop_instance_uid == seg.SOPInstanceUID
        assert segment.referenced_segment_numbers == [number]
    evidence = {
        item.ReferencedSOPInstanceUID
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert seg.SOPInstanceUID in evidence


@pytest.mark.parametrize("seg", [True, False])
def test_the_slices_that_the_organ_is_on_are_referenced(tmp_path, seg):
    folder = write_series(tmp_path / "ct")
    report, _ = written(folder, seg=seg)
    (group,) = groups_of(report, seg)
    images = group.referenced_segment.source_images_for_segmentation if seg else group.source_images
    known = {data.SOPInstanceUID: data for data in map(pydicom.dcmread, folder.iterdir())}
    heights = [float(known[image.referenced_sop_instance_uid].ImagePositionPatient[2]) for image in images]
    assert sorted(heights) == [20 + 2.5 * z for z in range(1, 5)]
    assert all(image.referenced_frame_numbers is None for image in images)


@pytest.mark.parametrize("seg", [True, False])
def test_of_multi_frame_ct_every_frame_that_the_organ_is_on_is_referenced(tmp_path, seg):
    path = write_enhanced(tmp_path / "enhanced" / "file.dcm")
    report, _ = written(path, seg=seg)
    (group,) = groups_of(report, seg)
    (image,) = group.referenced_segment.source_images_for_segmentation if seg else group.source_images
    source = pydicom.dcmread(path)
    assert image.referenced_sop_instance_uid == source.SOPInstanceUID
    places = [group.PlanePositionSequence[0] for group in source.PerFrameFunctionalGroupsSequence]
    heights = [float(places[number - 1].ImagePositionPatient[2]) for number in image.referenced_frame_numbers]
    assert sorted(heights) == [20 + 2.5 * z for z in range(1, 5)]


def test_slices_that_were_filled_in_refer_to_both_neighbours(tmp_path):
    folder = write_series(tmp_path / "ct", [0, 2.5, 5, 10, 12.5, 15, 17.5])
    labels = labels_for(folder, Recipe())
    only = labels.array.copy()
    only[[z for z in range(len(only)) if z != 3]] = 0
    report, _ = written(folder, labels=labels.with_array(only))
    (group,) = groups_of(report)
    known = {data.SOPInstanceUID: data for data in map(pydicom.dcmread, folder.iterdir())}
    images = group.referenced_segment.source_images_for_segmentation
    heights = [float(known[image.referenced_sop_instance_uid].ImagePositionPatient[2]) for image in images]
    assert sorted(heights) == [25, 30]


@pytest.mark.parametrize("seg", [True, False])
def test_an_organ_that_was_not_found_has_no_volume_and_refers_to_all_slices(tmp_path, seg):
    folder = write_series(tmp_path / "ct")
    scan = read_image(folder)
    labels = scan.with_array(np.zeros(scan.shape, np.uint8))
    report, _ = written(folder, seg=seg, labels=labels, findings=[Findings(LIVER, 0.0)])
    (group,) = groups_of(report, seg)
    assert numbers_of(group) == {("Volume", "", "mL"): 0.0}
    images = group.referenced_segment.source_images_for_segmentation if seg else group.source_images
    assert len(images) == SHAPE[0]


def test_the_patient_is_that_of_the_series_and_stands_nowhere_else(tmp_path):
    report, _ = written(write_series(tmp_path / "ct"))
    assert (str(report.PatientName), report.PatientID, report.PatientBirthDate, report.AccessionNumber) == SECRETS
    assert (report.StudyInstanceUID, report.Modality, report.SeriesNumber) == ("1.2.3.4", "SR", 2003)
    assert (report.VerificationFlag, report.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    elsewhere = " ".join(
        str(e.value)
        for e in report.iterall()
        if e.keyword not in ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber") and e.VR != "SQ"
    )
    assert not any(secret in elsewhere for secret in SECRETS)


def test_headers_that_go_into_no_report_are_one_line_without_names(tmp_path, monkeypatch):
    def refuse(*_arguments, **_options):
        raise ValueError("the name DOE^JANE makes no sense")

    monkeypatch.setattr(highdicom.sr, "ComprehensiveSR", refuse)
    with pytest.raises(ImageError, match="headers of the series") as refusal:
        written(write_series(tmp_path / "ct"))
    assert "\n" not in str(refusal.value) and ".json" in str(refusal.value)
    assert not any(secret in str(refusal.value) for secret in SECRETS)
    assert not (tmp_path / "sr.dcm").exists()


# The command line


def volume_of(folder):
    scan = read_image(folder)
    return scan.array.size * scan.voxel_volume_ml


@pytest.mark.parametrize("output", ["liver.dcm", "liver.nii.gz"])
def test_segment_writes_the_report_beside_any_result(tmp_path, everything_is_liver, capsys, output):
    folder = write_series(tmp_path / "ct")
    target = tmp_path / "sr.dcm"
    command = ["segment", str(folder), "-o", str(tmp_path / output), "--measurements", str(target), "--json"]
    assert main(command) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["measurements"] == str(target)
    report = highdicom.sr.srread(target)
    (group,) = groups_of(report, output.endswith(".dcm"))
    numbers = numbers_of(group)
    assert numbers["Volume", "", "mL"] == pytest.approx(volume_of(folder), abs=1e-3)
    assert numbers["Attenuation Coefficient", "Mean", "[hnsf'U]"] == pytest.approx(30)
    assert numbers["Attenuation Coefficient", "Standard Deviation", "[hnsf'U]"] == pytest.approx(20)
    verdicts = {e.name.meaning: e.value.meaning for e in group.get_qualitative_evaluations()}
    assert verdicts["self-check of the edge"] == "to be looked at"
    if output.endswith(".dcm"):
        seg = pydicom.dcmread(tmp_path / output)
        assert group.tracking_uid == seg.SegmentSequence[0].TrackingUID
        assert group.referenced_segment.referenced_sop_instance_uid == seg.SOPInstanceUID


def test_measurements_may_be_plain_json_of_any_scan(tmp_path, everything_is_liver, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    folder = write_series(tmp_path / "ct")
    target = tmp_path / "m.json"
    assert (
        main(["segment", str(folder), "-o", str(tmp_path / "a.nii.gz"), "--measurements", str(target), "--quiet"]) == 0
    )
    found = json.loads(target.read_text(encoding="utf-8"))
    assert found["labels"]["liver"]["volume_ml"] == pytest.approx(volume_of(folder), abs=1e-3)
    assert found["labels"]["liver"]["hu"]["mean"] == pytest.approx(30)
    assert {check["name"] for check in found["checks"]} >= {"liver volume", "liver edge"}


@pytest.mark.parametrize(
    ("source", "measurements", "words"),
    [
        ("ct", "m.txt", ".json"),
        ("ct", "nowhere/m.json", "nowhere"),
        ("ct.nii.gz", "sr.dcm", "DICOM SR"),
        ("ct", "a.dcm", "two results"),
    ],
)
def test_what_cannot_be_written_is_one_line_before_the_network_runs(
    tmp_path, monkeypatch, capsys, source, measurements, words
):
    from lvnet.image_io import write_image
    from lvnet.pipeline import scan

    monkeypatch.setattr(scan, "load_model", lambda *_: pytest.fail("the network was loaded"))
    write_image(read_image(write_series(tmp_path / "ct")), tmp_path / "ct.nii.gz")
    output = "a.dcm" if source == "ct" else "a.nii.gz"
    command = ["segment", str(tmp_path / source), "-o", str(tmp_path / output)]
    assert main([*command, "--measurements", str(tmp_path / measurements)]) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said and words in said
    assert not any(secret in said for secret in SECRETS)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["ct", "ct.nii.gz"]


def test_a_missing_highdicom_and_several_scans_are_one_line(tmp_path, monkeypatch, capsys):
    folder = write_series(tmp_path / "ct")
    report = ["--measurements", str(tmp_path / "sr.dcm")]
    assert main(["segment", str(folder), str(folder), "-o", str(tmp_path / "out"), *report]) == 2
    assert "two inputs" in capsys.readouterr().err
    other = write_series(tmp_path / "other")
    assert main(["segment", str(folder), str(other), "-o", str(tmp_path / "out"), *report]) == 2
    assert "--measurements works with one scan" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "highdicom", None)
    assert main(["segment", str(folder), "-o", str(tmp_path / "a.nii.gz"), *report]) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said and "DICOM SR" in said and "lvnet-segmentation[dicom]" in said and ".json" in said
