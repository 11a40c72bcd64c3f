"""Selection of a scan from a study: a single, complete and suitable pass, and how to choose another one."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from corpus.pacs import KINDS, write_archive
from corpus.studies import Pass, evenly, write_study
from corpus.study_generator import run
from lvnet.batch import plan_folder
from lvnet.cli import main
from lvnet.errors import ImageError
from lvnet.image_io import list_scans, read_image
from lvnet.image_io.dicom_seg import open_seg_source
from lvnet.image_io.weaving import Weaving
from lvnet.inputs import find_inputs


def test_random_studies_are_one_pass_or_refused():
    """A short version of `python Testing/corpus/study_generator.py --count 10000`."""
    outcomes = run(60)
    assert sum(outcomes.values()) >= 60
    assert outcomes["one pass"] > outcomes["refused"]


_OF_JANE = {"PatientName": "DOE^JANE", "SeriesDescription": "Liver of JANE"}
A = Pass(20, evenly(10, 3.0), {"AcquisitionNumber": 1, **_OF_JANE})
B = Pass(160, evenly(10, 3.0, 1.5), {"AcquisitionNumber": 2, **_OF_JANE})
C = Pass(300, evenly(7, 3.0), {"SeriesInstanceUID": "1.2.3.4.77", "SeriesNumber": 8, "SeriesDescription": "Thin"})


@pytest.fixture
def study(tmp_path):
    more = {"FrameOfReferenceUID": "1.2.3.4.6"}
    return write_study(tmp_path / "study", [one.of(**more) for one in (A, B, C)])


def first(volume):
    """The number of the pass to which a volume belongs."""
    return int(volume.array[0, 0, 0])


@pytest.mark.parametrize(
    ("series", "expected"),
    [(None, 20), ("3", 20), ("3:1", 20), ("3:2", 161), ("8", 300), ("1.2.3.4.77", 300), ("thin", 300), ("hin", 300),
     ("1.2.3.4.5:2", 161), ("liver of jane", 20)],
)  # fmt: skip
def test_a_scan_is_chosen_by_number_uid_or_description(study, series, expected):
    volume = read_image(study, series=series)
    assert first(volume) == expected
    text = " ".join(volume.notes)
    assert "also there: series" in text and "JANE" not in text and "1.2.3.4" not in text
    assert '"Thin"' in text
    heights = [slice_.fields.position[2] for slice_ in open_seg_source(study, series).stack.slices]
    assert heights[0] == volume.origin[2]


@pytest.mark.parametrize(
    ("name", "number", "description", "shown"),
    [
        ("DOE^JANE", "4711", "Abd portal venous 5.0 B30f", True),
        ("DOE^JANE", "4711", "Abd Jane", False),
        ("DOE^JANE", "4711", "xJANEx", False),
        ("DOE^JANE", "4711", "Abd 4711", False),
        ("DOE^JANE", "A12-SECRET", "secret abd", False),
        ("DOE^JANE", "", "Abd 123456", False),
        ("DOE^JANE", "", "Abd 3.12.1999", False),
        ("DOE^JANE", "", "Abd\tportal", False),
        ("LI^PO", "12", "Portal liver 12 s", True),
        ("LI^PO", "12", "Abd Li", False),
        ("M\u00dcLLER", "", "abd m\u00fcller", False),
        ("Wang=\u738b^\u5c0f\u6771", "", "\u8179\u90e8 \u738b", False),
        ("Wang=\u738b^\u5c0f\u6771", "", "\u8179\u90e8", True),
    ],
)
def test_a_description_is_shown_unless_it_may_name_the_patient(tmp_path, name, number, description, shown):
    named = {key: text.encode() for key, text in (("PatientName", name), ("SeriesDescription", description))}
    study = write_study(tmp_path, [A.of(**named, PatientID=number, SpecificCharacterSet="ISO_IR 192"), C])
    (note,) = read_image(study, series="3").notes
    assert (f'"{description}"' in note) == shown
    assert description.upper() in note.upper() or not shown
    assert list_scans(study)["scans"][0]["description"] == description


@pytest.mark.parametrize("series", ["9", "3:3", "nothing", ":2", "1.2.3"])
def test_a_series_that_is_not_there_is_refused(study, series):
    with pytest.raises(ImageError, match="matches the request"):
        read_image(study, series=series)


def test_a_series_is_no_property_of_an_image_file(tmp_path):
    sitk.WriteImage(sitk.Image(4, 4, 4, sitk.sitkInt16), str(tmp_path / "a.nii"))
    with pytest.raises(ImageError, match="not a DICOM folder"):
        read_image(tmp_path / "a.nii", series="3")


def test_a_folder_is_listed(study, capsys):
    assert main(["info", str(study)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("*    3:1") and '"Liver of JANE"' in lines[0] and "10 slices 3 mm apart" in lines[0]
    assert "UID 1.2.3.4.5" in lines[1]
    assert main(["info", str(study), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [scan["series"] for scan in found["scans"]] == ["3:1", "3:2", "8"]
    assert found["scans"] == list_scans(study)["scans"]


def test_the_command_line_takes_the_series_that_is_asked_for(study, tmp_path, tiny_weights, capsys):
    options = ["--weights", tiny_weights, "--device", "cpu", "--json", "--quiet"]
    assert main(["segment", str(study), "-o", str(tmp_path / "a.nii.gz"), "--series", "3:2", *options]) == 0
    assert "series 3:2 was chosen from 3 scans, as requested" in json.loads(capsys.readouterr().out)["notes"][0]
    assert main(["segment", str(study), "-o", str(tmp_path / "b.nii.gz"), "--series", "5", *options]) == 2
    assert not (tmp_path / "b.nii.gz").exists()


# Folders.


@pytest.fixture
def clinic(tmp_path):
    """Two patients, the second with two studies; an image, a segmentation, an empty folder, a text file."""
    root = tmp_path / "clinic"
    write_study(root / "P1", (A,))
    other = {"PatientID": "0815"}
    write_study(root / "P2" / "may", (B.of(**other, StudyInstanceUID="1.2.3.5", SeriesInstanceUID="1.2.3.5.1"),))
    write_study(root / "P2" / "june", (C.of(**other, StudyInstanceUID="1.2.3.6"),))
    sitk.WriteImage(sitk.Image(4, 4, 4, sitk.sitkInt16), str(root / "ct.nii"))
    (root / "ct.seg.nrrd").write_bytes(b"NRRD")
    (root / "empty").mkdir()
    (root / "readme.txt").write_text("hello")
    return root


def test_every_study_and_image_of_a_folder_is_a_scan_and_the_rest_is_named(clinic):
    found = find_inputs(clinic)
    names = [os.path.relpath(scan.path, clinic) for scan in found.scans]
    assert names == ["P1", os.path.join("P2", "june"), os.path.join("P2", "may"), "ct.nii"]
    reasons = {one.path.name: one.reason for one in found.left_out}
    assert set(reasons) == {"ct.seg.nrrd", "empty", "readme.txt"}


def test_patients_in_one_folder_are_not_merged(tmp_path):
    folder = write_study(tmp_path / "flat", (A, B.of(PatientID="0815")))
    with pytest.raises(ImageError, match="contains scans of 2 patients"):
        read_image(folder)
    found = find_inputs(folder).scans
    assert [scan.name for scan in found] == ["flat-1", "flat-2"]
    assert [first(read_image(scan.path, files=scan.files)) for scan in found] == [20, 161]


def test_folders_that_were_given_the_same_uids_are_scans_of_their_own(tmp_path):
    for name, one in (("P1", A), ("P2", replace(A, value=160))):
        write_study(tmp_path / "all" / name, (one,))
    found = find_inputs(tmp_path / "all").scans
    assert [scan.name for scan in found] == ["P1", "P2"]
    assert [first(read_image(scan.path, files=scan.files)) for scan in found] == [20, 160]


def test_series_of_one_study_in_folders_of_their_own_are_one_input(tmp_path):
    for name, one in (("se1", A), ("se2", C)):
        write_study(tmp_path / "study" / name, (one,))
    assert [scan.path for scan in find_inputs(tmp_path / "study").scans] == [tmp_path / "study"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Three CT studies with eight series each, as many MR and ultrasound studies, reports, and a DICOMDIR."""
    root = tmp_path_factory.mktemp("archive") / "export"
    return root, write_archive(root, 3, every=3)


def test_of_an_archive_each_study_of_ct_is_one_scan_and_the_right_series_is_taken(archive, tmp_path, capsys):
    root, right = archive
    assert main(["segment", str(root), "-o", str(tmp_path / "out"), "--list", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    taken = [entry["series"] for entry in entries if "series" in entry]
    assert sorted(series["uid"] for series in taken) == sorted(right)
    assert {series["description"] for series in taken} == {KINDS[0].words}
    reasons = [entry["left_out"] for entry in entries if "left_out" in entry]
    assert reasons.count("the study contains no CT") == 3
    assert any("index" in reason for reason in reasons)
    assert len({entry["output"] for entry in entries if "series" in entry}) == 3
    assert list((tmp_path / "out").iterdir()) == []


def test_the_list_of_an_archive_says_the_choice_and_why_the_rest_is_left_out(archive, tmp_path, capsys):
    root, _ = archive
    assert main(["segment", str(root), "-o", str(tmp_path / "out"), "--list"]) == 0
    said = capsys.readouterr().out
    assert said.count("series 1, 17 slices, Abdomen portal venous 1.0 Br38, portal venous; 6 more in the study") == 3
    assert said.count("the study contains no CT") == 3


def test_the_series_of_a_study_are_ranked_thin_soft_and_original_first(archive):
    scan = find_inputs(archive[0]).scans[0]
    order = [found["description"] for found in list_scans(scan.path, files=scan.files)["scans"]]
    assert order[:3] == ["Abdomen portal venous 1.0 Br38", "Abdomen portal venous 5.0 Br38", "Lung 1.0 Br64"]
    assert set(order[3:]) == {"Abdomen MPR cor", "MIP 10.0", "Bolus tracking", "Patient Protocol"}


def test_a_folder_of_other_modalities_alone_says_what_it_holds(tmp_path, capsys):
    write_study(tmp_path / "mr", (A.of(Modality="MR"),))
    assert main(["segment", str(tmp_path / "mr"), "-o", str(tmp_path / "a.nii.gz")]) == 2
    assert "10 x other modalities" in capsys.readouterr().err


def test_command_line_and_panel_plan_alike(clinic, tmp_path, tiny_weights, capsys):
    planned = plan_folder(clinic, tmp_path / "a", ".nii.gz")
    options = ["--weights", tiny_weights, "--device", "cpu", "--json"]
    assert main(["segment", str(clinic), "-o", str(tmp_path / "b"), *options]) == 0
    out, err = capsys.readouterr()
    assert sorted(os.listdir(tmp_path / "b")) == sorted(job.target.name for job in planned.jobs)
    entries = json.loads(out)
    assert {entry["input"] for entry in entries} == {
        *(str(job.scan.path) for job in planned.jobs), *(str(one.path) for one in planned.left_out)
    }  # fmt: skip
    assert "7 inputs: 4 done, 1 left out because it is a Slicer segmentation" in err
    assert planned.summary(0) in err


# Pixels.


@pytest.mark.parametrize("period", [2, 3, 4])
def test_slices_that_take_turns_are_seen(period):
    weaving = Weaving()
    noise = np.random.default_rng(3)
    for index in range(20):
        weaving.look(noise.normal(index + 60 * (index % period), 5, (64, 64)))
    assert weaving.period == period


def test_noise_steps_and_damaged_slices_are_no_turns():
    for seed in range(20):
        weaving, noise = Weaving(), np.random.default_rng(seed)
        for index in range(40):
            weaving.look(noise.normal(500 * (index > 20) + 900 * (index in (7, 30)), 20, (6, 8)))
        assert weaving.period == 0
