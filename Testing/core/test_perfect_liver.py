"""`lvnet evaluate` gives a perfect score to a perfect liver for references in every common format."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from lvnet.cli import main
from lvnet.image_io import read_image, write_image, write_labels
from lvnet.recipe import LIVER, LabelClass, Recipe
from lvnet.volume import Volume

SPACING, ORIGIN, SHAPE = (2.5, 0.8, 0.7), (-100.0, -50.0, 20.0), (7, 24, 32)


def body():
    """A liver with a tumour, and two other organs."""
    z, y, x = np.ogrid[tuple(slice(0, n) for n in SHAPE)]
    liver = ((z - 3) / 3.2) ** 2 + ((y - 12) / 9) ** 2 + ((x - 14) / 11) ** 2 < 1
    tumour = ((z - 3) / 1.5) ** 2 + ((y - 12) / 3) ** 2 + ((x - 12) / 3) ** 2 < 1
    spleen = np.broadcast_to((x > 27) & (y > 14) & (z > 1), SHAPE)
    kidney = np.broadcast_to((x > 27) & (y < 8) & (z > 1), SHAPE)
    return liver, tumour, spleen, kidney


LIVER_MASK, TUMOUR, SPLEEN, KIDNEY = body()


def scan():
    return Volume(np.where(LIVER_MASK, 100, -50).astype(np.int16), SPACING, ORIGIN)


def labels(path, array, names=None):
    array = array.astype(np.uint8)
    values = [int(value) for value in np.unique(array) if value]
    classes = [LabelClass(value, (names or {}).get(value, f"organ {value}")) for value in values]
    write_labels(Volume(array, SPACING, ORIGIN), path, classes)
    return path


def numbered(**values):
    """A label map with these label values."""
    array = np.zeros(SHAPE)
    for name, mask in (("spleen", SPLEEN), ("kidney", KIDNEY), ("liver", LIVER_MASK), ("tumour", TUMOUR)):
        if name in values:
            array[mask] = values[name]
    return array


def lits(folder):
    return labels(folder / "segmentation-0.nii", numbered(liver=1, tumour=2)), ["--reference-set", "lits"]


def btcv(folder):
    return labels(folder / "label0001.nii.gz", numbered(liver=6, spleen=1, kidney=2)), ["--reference-set", "btcv"]


def totalsegmentator(folder):
    array = numbered(liver=5, spleen=1, kidney=2)
    return labels(folder / "segmentations.nii.gz", array), ["--reference-set", "totalsegmentator"]


def ones_and_255(folder):
    return labels(folder / "mask.nii.gz", LIVER_MASK * 255), []


def cropped(folder):
    """Cropped as Slicer saves a segmentation: the bounding box, on the grid of the scan."""
    from lvnet.boxes import bounding_box

    box = bounding_box(LIVER_MASK)
    first = [side.start for side in box]
    origin = tuple(o + s * f for o, s, f in zip(ORIGIN, SPACING[::-1], first[::-1]))
    part = Volume(LIVER_MASK[box].astype(np.uint8), SPACING, origin)
    write_labels(part, folder / "liver.seg.nrrd", [LIVER])
    return folder / "liver.seg.nrrd", []


def turned(folder):
    """Stored in another orientation of the same grid."""
    image = sitk.ReadImage(str(labels(folder / "upright.nrrd", LIVER_MASK)))
    sitk.WriteImage(sitk.Flip(sitk.PermuteAxes(image, (2, 0, 1)), (True, False, True)), str(folder / "turned.nrrd"))
    return folder / "turned.nrrd", []


def probabilities(folder):
    write_image(Volume(np.where(LIVER_MASK, 0.9, 0.05).astype(np.float32), SPACING, ORIGIN), folder / "soft.nii.gz")
    return folder / "soft.nii.gz", []


def dicom_series(folder):
    from dicom_scans import write_series

    return write_series(folder / "ct", shape=SHAPE)


def dicom_seg(folder):
    pytest.importorskip("highdicom", reason="writes the DICOM SEG")
    from lvnet.image_io.dicom_seg import open_seg_source, write_dicom_seg

    series = dicom_series(folder)
    found = read_image(series)
    write_dicom_seg(found.with_array(LIVER_MASK.astype(np.uint8)), folder / "s.dcm", open_seg_source(series), Recipe())
    return folder / "s.dcm", []


def rtstruct(folder):
    pytest.importorskip("pydicom", reason="writes the RTSTRUCT")
    measure = pytest.importorskip("skimage.measure", reason="draws the RTSTRUCT")
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    data, roi, drawn = Dataset(), Dataset(), Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3"
    data.Modality = "RTSTRUCT"
    roi.ROINumber, roi.ROIName, drawn.ReferencedROINumber, drawn.ContourSequence = 1, "Liver", 1, []
    for z, plane in enumerate(LIVER_MASK):
        for line in measure.find_contours(np.pad(plane, 1).astype(float), 0.5):
            y, x = line.T - 1
            points = np.stack([ORIGIN[0] + 0.7 * x, ORIGIN[1] + 0.8 * y, np.full(len(x), ORIGIN[2] + 2.5 * z)], axis=1)
            contour = Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", len(points)
            contour.ContourData = [f"{value:.3f}" for value in points.ravel()]
            drawn.ContourSequence.append(contour)
    data.StructureSetROISequence, data.ROIContourSequence = [roi], [drawn]
    data.save_as(folder / "r.dcm", enforce_file_format=True)
    return folder / "r.dcm", []


FORMS = [lits, btcv, totalsegmentator, ones_and_255, cropped, turned, probabilities, dicom_seg, rtstruct]


@pytest.mark.parametrize("form", FORMS)
def test_a_perfect_liver_has_a_dice_of_1_by_at_most_one_option(tmp_path, capsys, form):
    reference, options = form(tmp_path)
    assert len(options) <= 2, "an option and its value"
    ours = labels(tmp_path / "ours.nii.gz", LIVER_MASK)
    assert main(["evaluate", str(ours), str(reference), "--json", "-", *options]) == 0
    assert json.loads(capsys.readouterr().out)["dice"] >= (0.98 if form is rtstruct else 1)


@pytest.mark.parametrize("form", [lits, btcv, totalsegmentator])
def test_without_that_option_it_is_a_question_that_shows_both_sides_and_never_a_score(tmp_path, capsys, form):
    reference, _ = form(tmp_path)
    ours = labels(tmp_path / "ours.nii.gz", LIVER_MASK)
    assert main(["evaluate", str(ours), str(reference), "--json", "-"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "the prediction contains label 1" in said.err and "the reference labels" in said.err
    assert "--reference-set" in said.err or "--labels" in said.err
