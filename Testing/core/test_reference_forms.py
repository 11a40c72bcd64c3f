"""The same liver as a reference in every common format: all are read as the same voxels."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from lvnet.errors import DependencyError, ImageError
from lvnet.evaluation import evaluate, evaluate_folders
from lvnet.image_io import read_segments, write_labels
from lvnet.recipe import LIVER
from lvnet.volume import Volume

SHAPE, SPACING, ORIGIN = (12, 30, 34), (2.5, 1.5, 1.25), (-20.0, 15.0, -40.0)


def ball(centre=(6, 15, 17), radius=11.0):
    grids = np.ogrid[tuple(slice(0, n) for n in SHAPE)]
    return sum(((g - c) * s) ** 2 for g, c, s in zip(grids, centre, SPACING)) < radius**2


LIVER_MASK, TUMOUR_MASK = ball(), ball((6, 14, 15), 4)
OURS = Volume(LIVER_MASK.astype(np.uint8), SPACING, ORIGIN)


def save(path, array):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING[::-1])
    image.SetOrigin(ORIGIN)
    sitk.WriteImage(image, str(path))
    return path


# .seg.nrrd


def seg_nrrd(path, layers, fields):
    """Written as by Slicer: axes are layers, x, y, z; a single layer is a plain 3D image."""
    layers = np.asarray(layers, np.uint8)
    axes = "(1.25,0,0) (0,1.5,0) (0,0,2.5)"
    several = len(layers) > 1
    lines = [
        "NRRD0004", "type: uint8", f"dimension: {4 if several else 3}", "space: left-posterior-superior",
        f"sizes: {f'{len(layers)} ' if several else ''}{SHAPE[2]} {SHAPE[1]} {SHAPE[0]}",
        f"space directions: {'none ' if several else ''}{axes}",
        f"kinds: {'list ' if several else ''}domain domain domain", "encoding: raw", "space origin: (-20,15,-40)",
        *(f"{key}:={value}" for key, value in fields.items()), "", "",
    ]  # fmt: skip
    path.write_bytes("\n".join(lines).encode() + np.moveaxis(layers, 0, -1).tobytes())
    return path


TAGS = "TerminologyEntry:Segmentation category and type~SCT^123037004^Anatomical Structure~{}~^^~Anatomic codes~^^~^^|"


def test_overlapping_segments_in_layers_are_each_a_whole_mask(tmp_path):
    fields = {
        "Segment0_Name": "body", "Segment0_LabelValue": 1, "Segment0_Layer": 0,
        "Segment1_Name": "liver", "Segment1_LabelValue": 1, "Segment1_Layer": 1,
        "Segment2_Name": "liver tumor", "Segment2_LabelValue": 2, "Segment2_Layer": 0,
    }  # fmt: skip
    path = seg_nrrd(tmp_path / "a.seg.nrrd", [ball(radius=14).astype(np.uint8) + TUMOUR_MASK, LIVER_MASK], fields)
    volume = read_segments(path)
    masks = {s.name: np.isin(volume.array, s.voxels) for s in volume.segments}
    assert np.array_equal(masks["liver"], LIVER_MASK)
    assert np.array_equal(masks["liver tumor"], TUMOUR_MASK)
    assert np.array_equal(masks["body"], ball(radius=14) & ~TUMOUR_MASK)
    result = evaluate(OURS, path)
    assert result["dice"] == 1
    assert any("(body) of the reference" in note for note in result["notes"])


def test_files_of_slicer_4_10_have_a_layer_for_each_segment_and_no_values(tmp_path):
    fields = {
        "Segment0_ID": "Segment_1", "Segment0_Name": "Spleen", "Segment0_Extent": "0 1 0 1 0 1",
        "Segment1_ID": "Segment_2", "Segment1_Name": "Segment_2", "Segment1_Tags": TAGS.format("SRT^T-62000^Liver"),
        "Segmentation_MasterRepresentation": "Binary labelmap",
    }  # fmt: skip
    path = seg_nrrd(tmp_path / "a.seg.nrrd", [ball((3, 5, 5), 6), LIVER_MASK], fields)
    assert evaluate(OURS, path)["dice"] == 1
    assert evaluate(OURS, path, labels="1=Spleen")["dice"] < 0.2


def test_a_segment_is_known_by_its_terminology_or_its_name(tmp_path):
    both = LIVER_MASK * 2 + ball((3, 4, 4), 4)
    for name, tags in (("Segment_7", TAGS.format("SCT^10200004^Liver")), ("Liver", TAGS.format("SCT^85756007^Tissue"))):
        fields = {
            "Segment0_Name": name, "Segment0_LabelValue": 2, "Segment0_Layer": 0, "Segment0_Tags": tags,
            "Segment1_Name": "other", "Segment1_LabelValue": 1, "Segment1_Layer": 0,
        }  # fmt: skip
        assert evaluate(OURS, seg_nrrd(tmp_path / "a.seg.nrrd", [both], fields))["dice"] == 1


# Invalid label values


def test_a_mask_that_a_slope_made_uneven_is_rounded_and_that_is_said(tmp_path):
    path = save(tmp_path / "a.nii.gz", LIVER_MASK * np.float64(0.9999))
    result = evaluate(OURS, path)
    assert result["dice"] == 1
    assert "not exactly integers were rounded" in result["notes"][0]


def test_a_probability_map_is_cut_at_a_threshold_that_is_said(tmp_path):
    soft = np.where(LIVER_MASK, np.where(TUMOUR_MASK, 0.6, 0.97), 0.02).astype(np.float32)
    path = save(tmp_path / "a.nii.gz", soft)
    result = evaluate(OURS, path)
    assert result["dice"] == 1
    assert "at least 0.5" in result["notes"][0]
    stricter = evaluate(OURS, path, threshold=0.7)
    assert stricter["reference_ml"] == pytest.approx(
        np.count_nonzero(LIVER_MASK & ~TUMOUR_MASK) * np.prod(SPACING) / 1000
    )


@pytest.mark.parametrize("kind", ["scan from 0 to 1", "fractions", "not finite"])
def test_real_numbers_that_are_neither_labels_nor_probabilities_are_refused(tmp_path, kind):
    array = np.linspace(0, 1, LIVER_MASK.size, dtype=np.float32).reshape(SHAPE)
    if kind == "fractions":
        array = array * 3
    elif kind == "not finite":
        array[0, 0, 0] = np.nan
    with pytest.raises(ImageError, match="is not a label map"):
        evaluate(OURS, save(tmp_path / "a.nii.gz", array))


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
@pytest.mark.parametrize("flips", [(1, 1, -1), (-1, -1, 1)])
def test_mirrored_and_permuted_storage_is_the_same_mask(tmp_path, axes, flips):
    one = OURS.with_array((LIVER_MASK & ~TUMOUR_MASK).astype(np.uint8))
    write_labels(one, tmp_path / "a.nrrd", [LIVER])
    image = sitk.ReadImage(str(tmp_path / "a.nrrd"))
    image = sitk.Flip(sitk.PermuteAxes(image, axes), [flip < 0 for flip in flips])
    sitk.WriteImage(image, str(tmp_path / "b.nrrd"))
    assert evaluate(tmp_path / "a.nrrd", tmp_path / "b.nrrd")["dice"] == 1


# DICOM

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")


@pytest.fixture
def series():
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    study, group, frame = generate_uid(), generate_uid(), generate_uid()
    slices = []
    for index in range(SHAPE[0]):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
        for key, value in {
            "PatientName": "DOE^JANE", "PatientID": "4711", "PatientBirthDate": "", "PatientSex": "", "StudyID": "",
            "AccessionNumber": "", "StudyDate": "", "StudyTime": "", "StudyInstanceUID": study, "Modality": "CT",
            "SeriesInstanceUID": group, "FrameOfReferenceUID": frame, "InstanceNumber": index + 1,
            "ImagePositionPatient": [ORIGIN[0], ORIGIN[1], ORIGIN[2] + SPACING[0] * index],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [SPACING[1], SPACING[2]],
            "SliceThickness": SPACING[0], "Rows": SHAPE[1], "Columns": SHAPE[2], "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15,
            "PixelRepresentation": 1, "PixelData": bytes(2 * SHAPE[1] * SHAPE[2]),
        }.items():  # fmt: skip
            setattr(data, key, value)
        slices.append(data)
    return slices


def dicom_seg(path, series, masks, kind="BINARY", **options):
    """masks: (z, y, x) by name."""
    code = highdicom.sr.CodedConcept
    anatomy = code("123037004", "SCT", "Anatomical Structure")
    meanings = {"liver": code("10200004", "SCT", "Liver"), "spleen": code("78961009", "SCT", "Spleen")}
    described = [
        highdicom.seg.SegmentDescription(
            number, name, anatomy, meanings.get(name, code("85756007", "SCT", "Tissue")),
            highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, name in enumerate(masks, 1)
    ]  # fmt: skip
    array = np.stack(list(masks.values()), axis=-1)
    highdicom.seg.Segmentation(
        source_images=series, pixel_array=array, segmentation_type=kind, segment_descriptions=described,
        series_instance_uid=highdicom.UID(), series_number=9, sop_instance_uid=highdicom.UID(), instance_number=1,
        manufacturer="a", manufacturer_model_name="b", software_versions="c", device_serial_number="d", **options,
    ).save_as(path)  # fmt: skip
    return path


@pytest.mark.parametrize("whole", [True, False])
def test_a_dicom_seg_with_overlapping_segments_and_empty_frames_left_out(tmp_path, series, whole):
    masks = {"spleen": ball((5, 6, 6), 7), "liver": LIVER_MASK, "liver tumor": TUMOUR_MASK}
    path = dicom_seg(tmp_path / "a.dcm", series, masks, omit_empty_frames=not whole)
    volume = read_segments(path)
    used = np.flatnonzero(np.any(list(masks.values()), axis=(0, 2, 3)))
    assert volume.spacing == pytest.approx(SPACING)
    assert volume.shape[0] == (SHAPE[0] if whole else used[-1] - used[0] + 1)
    first = 0 if whole else used[0]
    assert volume.origin == pytest.approx((*ORIGIN[:2], ORIGIN[2] + SPACING[0] * first))
    for segment in volume.segments:
        assert np.array_equal(np.isin(volume.array, segment.voxels), masks[segment.name][first:][: volume.shape[0]])
    assert evaluate(OURS, path, resample=True)["dice"] == 1


def test_frames_missing_in_the_middle_leave_slices_empty(tmp_path, series):
    mask = LIVER_MASK.copy()
    mask[5:7] = False
    volume = read_segments(dicom_seg(tmp_path / "a.dcm", series, {"liver": mask}))
    assert evaluate(OURS.with_array(mask.astype(np.uint8)), tmp_path / "a.dcm", resample=True)["dice"] == 1
    assert not volume.array[np.arange(5, 7) - np.flatnonzero(mask.any(axis=(1, 2)))[0]].any()


def test_a_fractional_seg_is_cut_at_the_threshold(tmp_path, series):
    soft = np.where(LIVER_MASK, np.where(TUMOUR_MASK, 0.6, 1.0), 0.1)
    path = dicom_seg(tmp_path / "a.dcm", series, {"liver": soft}, "FRACTIONAL", max_fractional_value=200)
    result = evaluate(OURS, path, resample=True)
    assert result["dice"] == 1
    assert any("at least 0.5" in note for note in result["notes"])
    assert evaluate(OURS, path, threshold=0.8, resample=True)["dice"] < 1


def test_a_compressed_fractional_seg_is_read(tmp_path, series):
    from pydicom.uid import RLELossless

    path = dicom_seg(tmp_path / "a", series, {"liver": LIVER_MASK * 1.0}, "FRACTIONAL", transfer_syntax_uid=RLELossless)
    assert evaluate(OURS, path, resample=True)["dice"] == 1


def rtstruct(path, rois):
    """rois: lists of (n, 3) points by name."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.Modality, data.PatientName = "RTSTRUCT", "DOE^JANE"
    data.StructureSetROISequence, data.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(rois.items(), 1):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, drawn.ReferencedROINumber, drawn.ContourSequence = number, name, number, []
        for points in contours:
            contour = Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", len(points)
            contour.ContourData = [f"{value:.3f}" for value in np.asarray(points).ravel()]
            drawn.ContourSequence.append(contour)
        data.StructureSetROISequence.append(roi)
        data.ROIContourSequence.append(drawn)
    data.save_as(path, enforce_file_format=True)
    return path


def outlines(mask):
    """Contours of a mask in mm, slice by slice."""
    from skimage.measure import find_contours

    found = []
    for z, plane in enumerate(mask):
        for contour in find_contours(np.pad(plane, 1).astype(float), 0.5):
            y, x = contour.T - 1
            heights = np.full(len(x), ORIGIN[2] + SPACING[0] * z)
            found.append(np.stack([ORIGIN[0] + SPACING[2] * x, ORIGIN[1] + SPACING[1] * y, heights], axis=1))
    return found


def test_an_rtstruct_is_drawn_on_the_grid_of_the_other_side(tmp_path):
    pytest.importorskip("skimage")
    path = rtstruct(tmp_path / "a.dcm", {"BODY": outlines(ball(radius=14)), "Liver": outlines(LIVER_MASK)})
    assert evaluate(OURS, path)["dice"] >= 0.98
    assert evaluate(path, OURS, labels="liver=1")["dice"] >= 0.98
    write_labels(OURS, tmp_path / "ours.nrrd", [LIVER])
    turned = sitk.Flip(sitk.PermuteAxes(sitk.ReadImage(str(tmp_path / "ours.nrrd")), (2, 0, 1)), (True, False, True))
    sitk.WriteImage(turned, str(tmp_path / "turned.nrrd"))
    assert evaluate(tmp_path / "turned.nrrd", path)["dice"] >= 0.98


def test_a_contour_inside_another_is_a_hole(tmp_path):
    pytest.importorskip("skimage")
    path = rtstruct(tmp_path / "a.dcm", {"liver": outlines(LIVER_MASK & ~TUMOUR_MASK)})
    assert evaluate(OURS.with_array((LIVER_MASK & ~TUMOUR_MASK).astype(np.uint8)), path)["dice"] >= 0.98


def test_contours_of_another_scan_or_without_a_grid_are_one_line(tmp_path):
    pytest.importorskip("skimage")
    path = rtstruct(tmp_path / "a.dcm", {"liver": outlines(LIVER_MASK)})
    with pytest.raises(ImageError, match="no grid of its own"):
        evaluate(path, path)
    tilted = Volume(OURS.array, SPACING, ORIGIN, (1, 0, 0, 0, 0.8, -0.6, 0, 0.6, 0.8))
    with pytest.raises(ImageError, match="are not in the slices"):
        evaluate(tilted, path)


def test_folders_take_dicom_objects_too(tmp_path, series):
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
    write_labels(OURS, tmp_path / "ours" / "a.nii.gz", [LIVER])
    dicom_seg(tmp_path / "theirs" / "a.dcm", series, {"liver": LIVER_MASK})
    result = evaluate_folders(tmp_path / "ours", tmp_path / "theirs", resample=True)
    assert result["cases"]["a"]["dice"] == 1


@pytest.mark.parametrize("damage", ["cut", "no frames", "sideways", "image", "odd length"])
def test_a_damaged_object_is_one_line_without_the_patient(tmp_path, series, damage):
    path = dicom_seg(tmp_path / "a.dcm", series, {"liver": LIVER_MASK})
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif damage == "odd length":
        # The value of Rows, a two-byte number, gets a length of three bytes.
        whole = path.read_bytes()
        place = whole.index(b"\x28\x00\x10\x00US\x02\x00") + 6
        path.write_bytes(whole[:place] + b"\x03\x00" + whole[place + 2 : place + 4] + b"\x00" + whole[place + 4 :])
    else:
        data = pydicom.dcmread(path) if damage != "image" else series[0]
        if damage == "no frames":
            del data.PerFrameFunctionalGroupsSequence
        elif damage == "sideways":
            place = data.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
            place.ImagePositionPatient = [place.ImagePositionPatient[0] + 3, *place.ImagePositionPatient[1:]]
        data.save_as(path, enforce_file_format=True)
    with pytest.raises(ImageError) as caught:
        evaluate(OURS, path)
    assert "\n" not in str(caught.value)
    assert "DOE" not in str(caught.value) and "4711" not in str(caught.value)


@pytest.mark.parametrize(("package", "form"), [("pydicom", "seg"), ("skimage", "rtstruct")])
def test_a_missing_package_is_named_in_one_line(tmp_path, series, monkeypatch, package, form):
    path = tmp_path / "a.dcm"
    if form == "seg":
        dicom_seg(path, series, {"liver": LIVER_MASK})
    else:
        pytest.importorskip("skimage")
        rtstruct(path, {"liver": outlines(LIVER_MASK)})
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DependencyError, match=r'pip install "lvnet-segmentation\[dicom\]"'):
        evaluate(OURS, path)
