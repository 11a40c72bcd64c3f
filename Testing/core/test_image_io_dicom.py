"""Reading folders of DICOM: choice of the series, order of slices, position in space, and messages."""

from __future__ import annotations

import os
import random
import shutil

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from corpus.dicom_files import base, item, save, slice_dataset
from lvnet.errors import ImageError
from lvnet.image_io import is_dicom_folder, output_name, read_image
from lvnet.image_io.dicom_header import looks_like_dicom, read_dicom_header
from lvnet.image_io.itk import silent_codecs
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
    RLELossless,
    RTStructureSetStorage,
)

SECRETS = ("DOE^JANE", "4711-SECRET", "19700101", "DESCRIPTION OF JANE")
ROWS, COLUMNS = 6, 8
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


#: In the headers of all files here; must not appear anywhere else.
PERSONAL = dict(zip(("PatientName", "PatientID", "PatientBirthDate", "SeriesDescription"), SECRETS))
#: All slices here have different sizes along each axis, so that no axis can be confused with another.
SPACING = {"PixelSpacing": ["0.8", "0.7"], "SliceThickness": "2.5"}


def ct_slice(values, position, **fields) -> Dataset:
    """One slice of a patient whose name must stay private; `values` are stored values, HU are these minus 1024."""
    return slice_dataset(values, position, **{**PERSONAL, **SPACING, **fields})


@pytest.fixture
def voxels():
    return np.random.default_rng(5).integers(0, 3000, (7, ROWS, COLUMNS)).astype(np.uint16)


@pytest.fixture
def series(tmp_path):
    """Writes a series of slices and returns its folder."""

    def write(values, folder="scan", *, heights=None, step=2.5, shift=(0.0, 0.0), prefix="IM", **fields):
        heights = [step * index for index in range(len(values))] if heights is None else heights
        orientation = np.asarray(fields.pop("orientation", AXIAL), float)
        row, column = orientation.reshape(2, 3)
        normal = np.cross(row, column)
        for index, (plane, height) in enumerate(zip(values, heights)):
            place = np.array([-100.0, -50.0, 20.0]) + height * normal + height * (shift[0] * row + shift[1] * column)
            dataset = ct_slice(plane, place, orientation=orientation, InstanceNumber=index + 1, **fields)
            save(dataset, tmp_path / folder / f"{prefix}{index:03d}.dcm")
        return tmp_path / folder

    return write


def message_of(path):
    with pytest.raises(ImageError) as caught:
        read_image(path)
    text = str(caught.value)
    assert "\n" not in text
    no_secrets(text)
    return text


def no_secrets(text):
    for secret in (*SECRETS, "1.2.3.4"):
        assert secret not in text


def read(path):
    volume = read_image(path)
    no_secrets(repr(volume.notes) + volume.name)
    return volume


# Voxels


def test_a_folder_becomes_a_volume_in_hu(series, voxels):
    volume = read(series(voxels))
    assert volume.array.dtype == np.int16
    assert np.array_equal(volume.array, voxels.astype(np.int16) - 1024)
    assert volume.spacing == (2.5, 0.8, 0.7)
    assert volume.origin == (-100.0, -50.0, 20.0)
    assert volume.direction == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert volume.name == "scan"
    assert volume.notes == ()


@pytest.mark.parametrize(
    ("dtype", "slope", "intercept", "expected"),
    [
        (np.uint16, 1, -1024, np.int16),
        (np.int16, 1, 0, np.int16),
        (np.int16, 2, -1000, np.int16),
        (np.uint16, 0.5, -1024.25, np.float32),
        (np.uint16, 20, 0, np.float32),
    ],
)
def test_slope_and_intercept_are_applied(series, voxels, dtype, slope, intercept, expected):
    stored = voxels.astype(dtype)
    volume = read(series(stored, RescaleSlope=str(slope), RescaleIntercept=str(intercept)))
    assert volume.array.dtype == expected
    assert np.allclose(volume.array, stored.astype(float) * slope + intercept, rtol=1e-6)


def test_a_single_slice_with_fractions_turns_the_whole_scan_to_real_numbers(series, voxels, tmp_path):
    folder = series(voxels)
    odd = ct_slice(voxels[3], (-100, -50, 27.5), RescaleSlope="0.5")
    save(odd, folder / "IM003.dcm")
    volume = read(folder)
    expected = voxels.astype(np.float32) - 1024
    expected[3] = voxels[3] * 0.5 - 1024
    assert volume.array.dtype == np.float32
    assert np.array_equal(volume.array, expected)


@pytest.mark.parametrize(("dtype", "bits"), [(np.uint16, 16), (np.uint16, 12), (np.int16, 16)])
def test_inverted_display_does_not_invert_the_hu(series, voxels, dtype, bits):
    stored = voxels.astype(dtype) - (500 if dtype == np.int16 else 0)
    fields = {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": bits, "HighBit": bits - 1}
    volume = read(series(stored, RescaleSlope="2", **fields))
    assert np.array_equal(volume.array, stored.astype(int) * 2 - 1024)
    assert "MONOCHROME1" in volume.notes[0]


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
)
def test_every_plain_transfer_syntax_is_read(tmp_path, voxels, syntax):
    for index, plane in enumerate(voxels):
        dataset = ct_slice(plane, (0, 0, 3.0 * index), syntax=syntax)
        save(dataset, tmp_path / f"{index}.dcm")
    assert np.array_equal(read(tmp_path).array, voxels.astype(np.int16) - 1024)


def test_a_compressed_series_that_gdcm_decodes_is_read(tmp_path):
    voxels = np.random.default_rng(5).integers(0, 3000, (5, 32, 40)).astype(np.uint16)
    for index, plane in enumerate(voxels):
        dataset = ct_slice(plane, (0, 0, 3.0 * index))
        dataset.compress(RLELossless, plane, generate_instance_uid=False)
        save(dataset, tmp_path / f"{index}.dcm")
    assert np.array_equal(read(tmp_path).array, voxels.astype(np.int16) - 1024)


@pytest.mark.parametrize(
    ("syntax", "words"),
    [
        ("1.2.840.10008.1.2.4.201", "High-Throughput JPEG 2000 (transfer syntax 1.2.840.10008.1.2.4.201)"),
        ("1.2.840.10008.1.2.4.106", "unknown compression (transfer syntax 1.2.840.10008.1.2.4.106)"),
    ],
)
def test_a_compression_that_cannot_be_decoded_is_named(tmp_path, voxels, syntax, words):
    for index, plane in enumerate(voxels):
        dataset = ct_slice(plane, (0, 0, 3.0 * index))
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
        dataset.PixelData = encapsulate([b"\xff\x4f\xff\x51" + bytes(60)])
        dataset["PixelData"].is_undefined_length = True
        save(dataset, tmp_path / f"{index}.dcm")
    text = message_of(tmp_path)
    assert words in text
    assert "decompress" in text


def test_compressed_voxels_that_are_damaged_are_one_error_and_no_noise(tmp_path, voxels, capfd):
    for index, plane in enumerate(voxels):
        dataset = ct_slice(plane, (0, 0, 3.0 * index))
        dataset.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.90")
        dataset.PixelData = encapsulate([b"\xff\x4f\xff\x51" + bytes(60)])
        dataset["PixelData"].is_undefined_length = True
        save(dataset, tmp_path / f"{index}.dcm")
    assert "JPEG 2000" in message_of(tmp_path)
    os.write(2, b"still there")
    assert capfd.readouterr().err == "still there"


def test_a_program_without_stderr_reads_compressed_slices_too(monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    with silent_codecs():
        pass


def test_voxels_cut_off_in_a_file_are_an_error_and_no_air(series, voxels, capfd):
    folder = series(voxels)
    path = folder / "IM004.dcm"
    path.write_bytes(path.read_bytes()[:-30])
    assert "damaged" in message_of(folder)
    assert capfd.readouterr().err == ""


# Order and position


def test_slices_are_sorted_by_place_whatever_their_names_and_numbers(tmp_path, voxels):
    order = list(range(len(voxels)))
    random.Random(3).shuffle(order)
    for name, index in enumerate(order):
        dataset = ct_slice(voxels[index], (0, 0, 10 - 2.0 * index), InstanceNumber=order[-name - 1])
        save(dataset, tmp_path / f"{name}")
    volume = read(tmp_path)
    assert np.array_equal(volume.array, voxels[::-1].astype(np.int16) - 1024)
    assert volume.origin == (0.0, 0.0, -2.0)
    assert volume.spacing[0] == 2.0


OBLIQUE = tuple(np.linalg.qr(np.random.default_rng(11).normal(size=(3, 3)))[0][:2].ravel())
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
FEET_FIRST_PRONE = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@pytest.mark.parametrize("orientation", [AXIAL, CORONAL, SAGITTAL, FEET_FIRST_PRONE, OBLIQUE])
def test_the_place_is_the_one_that_itk_finds(series, voxels, orientation):
    folder = series(voxels, orientation=orientation)
    volume = read(folder)
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    image = sitk.ReadImage(names)
    values = sitk.GetArrayFromImage(image)
    assert np.allclose(volume.spacing, image.GetSpacing()[::-1], atol=1e-5)
    assert np.allclose(volume.direction, image.GetDirection(), atol=1e-5)
    assert np.allclose(volume.origin, image.GetOrigin(), atol=1e-5)
    assert np.array_equal(volume.array, values)


def test_rounded_positions_are_no_irregular_spacing(series, voxels):
    heights = [0.0, 0.67, 1.33, 2.0, 2.67, 3.33, 4.0]
    volume = read(series(voxels, heights=heights))
    assert volume.notes == ()
    assert volume.spacing[0] == pytest.approx(4.0 / 6)


def test_missing_slices_are_filled_in_and_said(series, voxels):
    heights = np.array([0, 1, 2, 4, 5, 7, 8]) * 2.5
    volume = read(series(voxels, heights=heights))
    hu = voxels.astype(np.int16) - 1024
    assert volume.shape[0] == 9
    assert volume.spacing[0] == 2.5
    assert volume.array.dtype == np.int16
    assert np.array_equal(volume.array[[0, 1, 2, 4, 5, 7, 8]], hu)
    assert np.array_equal(volume.array[3], np.rint((hu[2].astype(float) + hu[3]) / 2))
    assert "2 slices are missing" in volume.notes[0]


def test_one_missing_slice_of_real_numbers_is_filled_in_without_rounding(series, voxels):
    volume = read(series(voxels[:4], heights=[0, 2, 4, 8], RescaleSlope="0.3"))
    expected = (voxels[2].astype(float) + voxels[3]) / 2 * 0.3 - 1024
    assert np.allclose(volume.array[3], expected, atol=1e-3)
    assert "1 slice is missing" in volume.notes[0]


def test_slices_of_changing_distance_are_brought_to_an_even_one(series):
    heights = np.array([0.0, 5, 10, 15, 17, 19, 21, 23])
    ramp = np.broadcast_to((heights * 10 + 1000)[:, None, None], (8, ROWS, COLUMNS)).astype(np.uint16)
    volume = read(series(ramp, heights=heights))
    places = np.arange(volume.shape[0]) * volume.spacing[0]
    assert "resampled" in volume.notes[0]
    assert volume.spacing[0] == pytest.approx(2.0, abs=0.15)
    assert places[-1] == pytest.approx(23.0)
    # The HU form a ramp along z, which shows whether every slice has the right position.
    assert np.abs(volume.array[:, 0, 0] + 24 - places * 10).max() <= 10 * 0.1 * volume.spacing[0] + 1


def test_two_scans_in_one_series_are_not_bridged(series, voxels):
    heights = [0, 2.5, 5, 7.5, 300, 302.5, 305]
    volume = read(series(voxels, heights=heights))
    assert np.array_equal(volume.array, voxels[:4].astype(np.int16) - 1024)
    assert "gap" in volume.notes[0]
    assert "4 of 7" in volume.notes[0]


def test_copies_of_slices_are_left_out_and_said(series, voxels):
    folder = series(voxels)
    shutil.copy(folder / "IM002.dcm", folder / "copy.dcm")
    volume = read(folder)
    assert np.array_equal(volume.array, voxels.astype(np.int16) - 1024)
    assert "1 slices at duplicate positions" in volume.notes[0]


def test_of_several_phases_in_one_series_the_first_is_taken(series, voxels):
    series(voxels, AcquisitionNumber=2)
    folder = series((voxels + 7).astype(np.uint16), prefix="A", AcquisitionNumber=1)
    volume = read(folder)
    assert np.array_equal(volume.array, voxels.astype(np.int16) + 7 - 1024)
    assert "7 slices" in volume.notes[0]


def test_gantry_tilt_is_said_and_the_slices_are_kept(series, voxels):
    volume = read(series(voxels, shift=(0.0, np.tan(np.radians(15.0)))))
    assert "gantry tilt of 15.0 degrees" in volume.notes[0]
    assert np.array_equal(volume.array, voxels.astype(np.int16) - 1024)
    assert volume.spacing[0] == pytest.approx(2.5)
    assert np.allclose(volume.direction, np.eye(3).ravel())


def test_slices_shifted_here_and_there_are_said(tmp_path, voxels):
    for index, plane in enumerate(voxels):
        save(ct_slice(plane, (4.0 if index == 3 else 0.0, 0, 3.0 * index)), tmp_path / f"{index}")
    assert "sideways by up to 4.0 mm" in read(tmp_path).notes[0]


def test_a_single_slice_takes_its_thickness(series, voxels):
    volume = read(series(voxels[:1]))
    assert volume.spacing == (2.5, 0.8, 0.7)
    assert "single slice" in volume.notes[-1]


def test_a_single_slice_without_thickness_says_so(series, voxels):
    volume = read(series(voxels[:1], SliceThickness=None))
    assert volume.spacing[0] == 1.0
    assert "1 mm is assumed" in volume.notes[0]


# Choice of the series


def test_the_largest_ct_series_is_taken_and_named_by_number_only(series, voxels):
    series(voxels[:3], "all/a", SeriesInstanceUID="1.2.3.4.1", SeriesNumber=1)
    series(voxels, "all/b/deep", SeriesInstanceUID="1.2.3.4.2", SeriesNumber=2)
    folder = series(voxels[:5], "all/c", SeriesInstanceUID="1.2.3.4.3", SeriesNumber=9).parent
    volume = read(folder)
    assert np.array_equal(volume.array, voxels.astype(np.int16) - 1024)
    assert volume.notes == (
        "series 2 was chosen from 3 scans, the largest: 7 slices; also there: series 9 (5 slices), series 1 (3 slices)",
    )
    assert volume.name == "all"


def test_localizers_and_other_modalities_are_left_out(series, voxels, tmp_path):
    many = np.concatenate([voxels, voxels])
    folder = series(voxels)
    series(many, "scan/mr", SeriesInstanceUID="1.2.3.4.7", Modality="MR", storage=MRImageStorage)
    series(many[:9], "scan", prefix="SC", SeriesInstanceUID="1.2.3.4.8", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    structures = base(RTStructureSetStorage, ExplicitVRLittleEndian, Modality="RTSTRUCT", **PERSONAL)
    save(structures, folder / "rs.dcm")
    (folder / "readme.txt").write_text("hello")
    (folder / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    volume = read(folder)
    assert np.array_equal(volume.array, voxels.astype(np.int16) - 1024)
    assert volume.notes == ("left out: 9 x localizers, 15 x other modalities",)


def test_a_localizer_inside_the_series_does_not_spoil_it(series, voxels):
    folder = series(voxels)
    scout = ct_slice(voxels[0], (0, 0, 0), orientation=CORONAL)
    save(scout, folder / "scout.dcm")
    volume = read(folder)
    assert volume.shape[0] == 7
    (note,) = volume.notes
    assert (
        "was chosen from 2 scans, the original axial scan: 7 slices; also there: series 3:2 (reformat, 1 slice)" in note
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"Modality": "MR"}, "other modalities"),
        ({"ImageType": ["DERIVED", "SECONDARY", "LOCALIZER"]}, "localizers"),
        ({"ImagePositionPatient": None}, "without a position"),
        ({"ImageOrientationPatient": None}, "without a position"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "without a position"),
        ({"PixelSpacing": None}, "without a position"),
        ({"SamplesPerPixel": 3}, "colour"),
        ({"Rows": 0}, "without an image"),
        ({"NumberOfFrames": 7}, "multi-frame"),
    ],
)
def test_a_folder_without_a_usable_ct_series_says_what_it_holds(series, voxels, fields, words):
    assert words in message_of(series(voxels, **fields))


def test_a_pixel_spacing_of_zero_is_refused(series, voxels):
    assert "spacing" in message_of(series(voxels, PixelSpacing=["0", "0.7"]))


def test_a_folder_without_dicom_is_refused(tmp_path):
    assert "contains no DICOM" in message_of(tmp_path)
    (tmp_path / "a.txt").write_text("hello")
    assert "contains no DICOM" in message_of(tmp_path)


def test_one_file_stands_for_its_series_however_small(series, voxels):
    series(voxels, SeriesInstanceUID="1.2.3.4.1", SeriesNumber=1)
    folder = series(voxels[:3], prefix="small", SeriesInstanceUID="1.2.3.4.2", SeriesNumber=2)
    volume = read(folder / "small001.dcm")
    assert np.array_equal(volume.array, voxels[:3].astype(np.int16) - 1024)
    assert volume.notes == (
        "series 2 was chosen from 2 scans, the one of the given file: 3 slices; also there: series 1 (7 slices)",
    )
    assert output_name(folder / "small001.dcm") == "small001"


def test_one_file_without_suffix_is_known_by_its_content(series, voxels, tmp_path, monkeypatch):
    folder = series(voxels)
    path = (folder / "IM001.dcm").rename(folder / "IM001")
    assert read(path).shape[0] == 7
    monkeypatch.chdir(folder)
    assert read("IM001").shape[0] == 7
    link = tmp_path / "link"
    os.symlink(path, link)
    assert read(link).shape[0] == 1


def test_one_file_that_is_no_slice_is_refused(series, voxels):
    folder = series(voxels)
    path = save(ct_slice(voxels[0], (0, 0, 0), Modality="MR"), folder / "mr.dcm")
    assert "not a slice of a CT series" in message_of(path)
    path.write_bytes(path.read_bytes()[:200])
    message_of(path)


def test_linked_folders_blanks_and_other_scripts_are_fine(series, voxels, tmp_path):
    folder = series(voxels, "Bauch 肝臓/séries 1")
    link = tmp_path / "link"
    os.symlink(folder, link)
    assert np.array_equal(read(folder.parent).array, read(link).array)
    assert is_dicom_folder(link)


def test_progress_rises_to_one(series, voxels):
    shares = []
    read_image(series(voxels), progress=lambda share, stage: shares.append(share))
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.parametrize("fields", [{"Rows": ROWS + 1}, {"Columns": 2 * COLUMNS}, {"Rows": 1}])
def test_a_slice_whose_pixels_are_of_another_size_than_its_header_tells_is_refused(series, voxels, fields):
    assert "the size of a slice contradicts its header" in message_of(series(voxels, **fields))


# Enhanced CT


def enhanced(path, values, heights, *, rescale="shared", orientation=AXIAL, own_orientation=False):
    values = np.asarray(values)
    kind = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset = base(EnhancedCTImageStorage, ExplicitVRLittleEndian, ImageType=kind, **PERSONAL)
    dataset.update(item(NumberOfFrames=len(values), Rows=ROWS, Columns=COLUMNS, PixelRepresentation=0))
    shared = item(PixelMeasuresSequence=Sequence([item(PixelSpacing=["0.8", "0.7"], SliceThickness="2")]))
    plane = Sequence([item(ImageOrientationPatient=list(orientation))])
    if not own_orientation:
        shared.PlaneOrientationSequence = plane
    if rescale == "shared":
        shared.PixelValueTransformationSequence = Sequence([item(RescaleSlope="2", RescaleIntercept="-1000")])
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for index, height in enumerate(heights):
        place = Sequence([item(ImagePositionPatient=[-10, -20, height])])
        frame = item(PlanePositionSequence=place, FrameContentSequence=Sequence([item(StackID="1")]))
        if own_orientation:
            frame.PlaneOrientationSequence = plane
        if rescale == "each":
            slope = str(1 + index)
            frame.PixelValueTransformationSequence = Sequence([item(RescaleSlope=slope, RescaleIntercept="0")])
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    dataset.PixelData = values.tobytes()
    dataset["PixelData"].VR = "OW"
    return save(dataset, path)


@pytest.mark.parametrize("own_orientation", [False, True])
@pytest.mark.parametrize("order", [range(7), range(6, -1, -1), (3, 1, 0, 2, 6, 5, 4)])
def test_the_frames_of_enhanced_ct_are_sorted_by_place(tmp_path, voxels, order, own_orientation):
    order = list(order)
    heights = [3.0 * index for index in order]
    path = enhanced(tmp_path / "e.dcm", voxels[order], heights, own_orientation=own_orientation)
    for source in (path, tmp_path):
        volume = read(source)
        assert np.array_equal(volume.array, voxels.astype(int) * 2 - 1000)
        assert volume.spacing == (3.0, 0.8, 0.7)
        assert volume.origin == (-10, -20, 0)
        assert volume.direction == (1, 0, 0, 0, 1, 0, 0, 0, 1)
        assert volume.notes == ()


def test_missing_frames_of_enhanced_ct_are_filled_in(tmp_path, voxels):
    path = enhanced(tmp_path / "e.dcm", voxels, [0, 3, 6, 9, 15, 18, 21])
    volume = read(path)
    assert volume.shape[0] == 8
    assert "missing" in volume.notes[0]


def test_every_frame_has_its_own_rescale(tmp_path, voxels):
    volume = read(enhanced(tmp_path / "e.dcm", voxels, [6, 5, 4, 3, 2, 1, 0], rescale="each"))
    slopes = np.arange(1, 8)[:, None, None]
    assert np.array_equal(volume.array, (voxels * slopes)[::-1])


def test_an_enhanced_file_competes_with_the_series_beside_it(series, voxels):
    folder = series(voxels[:3])
    enhanced(folder / "e.dcm", voxels, [3.0 * index for index in range(7)])
    volume = read(folder)
    assert volume.shape[0] == 7
    assert "from 2 scans" in volume.notes[0]


# Headers


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
@pytest.mark.parametrize("undefined", [True, False])
def test_fields_are_found_behind_sequences_of_any_kind(tmp_path, voxels, syntax, undefined):
    dataset = ct_slice(voxels[0], (1, 2, 3), syntax=syntax)
    inner = item(ReferencedSOPClassUID="1.2", ImagePositionPatient=[9, 9, 9])
    inner.ReferencedSeriesSequence = Sequence([item(SeriesInstanceUID="9.9.9"), item()])
    inner["ReferencedSeriesSequence"].is_undefined_length = undefined
    inner.is_undefined_length_sequence_item = undefined
    dataset.ReferencedImageSequence = Sequence([inner, inner])
    dataset["ReferencedImageSequence"].is_undefined_length = undefined
    block = dataset.private_block(0x0009, "ACME", create=True)
    block.add_new(0x01, "UN", b"\0" * 3000)
    header = read_dicom_header(str(save(dataset, tmp_path / "a.dcm")))
    assert header.frames[0].position == (1, 2, 3)
    assert header.fields["series_uid"] == "1.2.3.4.5"
    assert header.numbers["rows"] == ROWS


def test_a_file_from_before_part_10_is_read(tmp_path, voxels):
    for syntax, implicit in ((ImplicitVRLittleEndian, True), (ExplicitVRLittleEndian, False)):
        dataset = ct_slice(voxels[0], (1, 2, 3), syntax=syntax)
        del dataset.file_meta
        path = tmp_path / f"{implicit}.dcm"
        dataset.save_as(path, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
        assert looks_like_dicom(path)
        assert read_dicom_header(str(path)).frames[0].position == (1, 2, 3)


def test_no_patients_field_is_ever_read(series, voxels):
    header = read_dicom_header(str(next(series(voxels).iterdir())))
    assert not any(secret in repr(header) for secret in SECRETS)


def test_a_damaged_header_is_no_header_and_never_a_crash(tmp_path, voxels):
    path = enhanced(tmp_path / "e.dcm", voxels, range(7))
    whole = path.read_bytes()
    draw = random.Random(0)
    for _ in range(400):
        data = bytearray(whole[: draw.randrange(len(whole))] if draw.random() < 0.5 else whole)
        for _ in range(draw.randrange(1, 6)):
            if len(data) > 140:
                data[draw.randrange(132, len(data))] = draw.randrange(256)
        path.write_bytes(data)
        read_dicom_header(str(path))


def test_a_sequence_without_end_is_no_header(tmp_path):
    start = bytes(128) + b"DICM" + bytes.fromhex("020010005549" + "1400") + b"1.2.840.10008.1.2.1\0"
    nested = bytes.fromhex("00524892" + "53510000ffffffff" + "feff00e0ffffffff") * 5000
    nested = nested.replace(bytes.fromhex("00524892"), bytes.fromhex("00522992"))
    path = tmp_path / "deep.dcm"
    path.write_bytes(start + nested)
    assert read_dicom_header(str(path)) is None


@pytest.mark.parametrize("content", [b"", b"hello", bytes(1000), b"\x08\0\x05\0" + b"\xff" * 200])
def test_other_files_are_no_dicom(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    assert not looks_like_dicom(path)
    assert read_dicom_header(str(path)) is None
