"""DICOM SEG files as other programs write them: each form of the same liver is read to the same voxels.

Files from these programs are not available under a licence that allows shipping them.  Each function below imitates one
program according to its public source code.
"""

from __future__ import annotations

import numpy as np
import pytest
from lvnet.evaluation import evaluate
from lvnet.image_io import read_segments
from lvnet.volume import Volume

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")
from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.uid import (  # noqa: E402
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    generate_uid,
)

#: 27 x 35 = 945 pixels, not a multiple of 8: frames do not end at a byte boundary.
SHAPE, SPACING, ORIGIN = (12, 27, 35), (2.5, 1.5, 1.25), (-20.0, 15.0, -40.0)


def ball(centre, radius):
    grids = np.ogrid[tuple(slice(0, n) for n in SHAPE)]
    return sum(((g - c) * s) ** 2 for g, c, s in zip(grids, centre, SPACING)) < radius**2


LIVER, SPLEEN = ball((6, 13, 17), 10), ball((3, 4, 28), 6)
TUMOUR = ball((6, 12, 15), 4)
OURS = Volume(LIVER.astype(np.uint8), SPACING, ORIGIN)
CODES = {"liver": ("10200004", "Liver"), "spleen": ("78961009", "Spleen")}


def code(value, meaning):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return item


def item(**fields):
    made = Dataset()
    for key, value in fields.items():
        setattr(made, key, value)
    return made


def segment(number, label):
    return item(
        SegmentNumber=number,
        SegmentLabel=label,
        SegmentAlgorithmType="MANUAL",
        SegmentedPropertyCategoryCodeSequence=[code("123037004", "Anatomical Structure")],
        SegmentedPropertyTypeCodeSequence=[code(*CODES.get(label, ("85756007", "Tissue")))],
    )


def seg(segments, frames, *, syntax=ExplicitVRLittleEndian, **fields):
    """A minimal SEG of these segments and functional groups."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    values = {
        "PatientName": "DOE^JANE", "Modality": "SEG", "Rows": SHAPE[1], "Columns": SHAPE[2], "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 1, "BitsStored": 1, "HighBit": 0,
        "PixelRepresentation": 0, "SegmentationType": "BINARY", "SegmentSequence": segments,
        "NumberOfFrames": len(frames), "PerFrameFunctionalGroupsSequence": frames, **fields,
    }  # fmt: skip
    for key, value in values.items():
        setattr(data, key, value)
    return data


def packed(planes):
    """The bits of all frames, packed without gaps."""
    bits = np.packbits(np.concatenate([plane.ravel() for plane in planes]).astype(np.uint8), bitorder="little")
    return bits.tobytes() + b"\0" * (bits.size % 2)


def rle(planes):
    """Every frame as bytes in its own RLE fragment."""
    from pydicom.encaps import encapsulate
    from pydicom.pixels.encoders import RLELosslessEncoder

    options = {
        "rows": SHAPE[1], "columns": SHAPE[2], "samples_per_pixel": 1, "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": 8, "bits_stored": 8, "pixel_representation": 0, "number_of_frames": 1,
    }  # fmt: skip
    return encapsulate([RLELosslessEncoder.encode(plane.astype(np.uint8), **options) for plane in planes])


def position(z, flipped=False):
    x, y = (ORIGIN[0] + 1.25 * (SHAPE[2] - 1), ORIGIN[1] + 1.5 * (SHAPE[1] - 1)) if flipped else ORIGIN[:2]
    return [x, y, ORIGIN[2] + SPACING[0] * z]


def dcmqi(masks, *, numbers=None, flipped=False, skip_empty=True):
    """dcmqi (itkimage2segimage, also used for the IDC's collections): libsrc/Itk2DicomConverter.cpp.

    Writes segment by segment: with `--skip` the slices of the segment's bounding box, including empty ones, otherwise
    all slices.  Orientation and pixel measures are shared, the measures in scientific notation.  Images that came from
    NIfTI keep their axes: rows and columns then run to the right and to the front.  Segment numbers may be the label
    values, in any order.
    """
    orientation = [-1, 0, 0, 0, -1, 0] if flipped else [1, 0, 0, 0, 1, 0]
    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=orientation)],
        PixelMeasuresSequence=[
            item(PixelSpacing=["1.500000e+00", "1.250000e+00"], SpacingBetweenSlices="2.500000e+00",
                 SliceThickness="2.500000e+00")
        ],
    )  # fmt: skip
    numbers = numbers or list(range(1, len(masks) + 1))
    frames, planes = [], []
    for number, mask in zip(numbers, masks.values()):
        used = np.flatnonzero(mask.any(axis=(1, 2)))
        for index, z in enumerate(range(used[0], used[-1] + 1) if skip_empty else range(SHAPE[0])):
            frames.append(
                item(
                    PlanePositionSequence=[item(ImagePositionPatient=position(z, flipped))],
                    FrameContentSequence=[item(DimensionIndexValues=[number, index + 1])],
                    SegmentIdentificationSequence=[item(ReferencedSegmentNumber=number)],
                )
            )
            planes.append(mask[z, ::-1, ::-1] if flipped else mask[z])
    segments = [segment(number, name) for number, name in zip(numbers, masks)]
    return seg(
        segments, frames, SharedFunctionalGroupsSequence=[shared], PixelData=packed(planes), SegmentsOverlap="NO"
    )


def dcmjs(masks, *, compressed=False, occupied=1):
    """dcmjs with Cornerstone's adapters, which OHIF uses: src/derivations/Segmentation.js.

    Frames follow the order of the viewer's images, here from head to feet; slices without the segment are left out.
    The orientation is repeated in every frame if the source's is; a sequence of one item is written as one item.
    `rleEncode` declares the bytes of a mask as fractions of 255, although they are 0 and 1 (later versions: 0 and 255).
    """
    frames, planes = [], []
    for number, mask in enumerate(masks.values(), 1):
        for z in reversed(range(SHAPE[0])):
            if mask[z].any():
                frames.append(
                    item(
                        PlanePositionSequence=[item(ImagePositionPatient=position(z))],
                        PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
                        FrameContentSequence=[item(DimensionIndexValues=[number, SHAPE[0] - z])],
                        SegmentIdentificationSequence=[item(ReferencedSegmentNumber=number)],
                    )
                )
                planes.append(mask[z])
    shared = item(PixelMeasuresSequence=[item(PixelSpacing=[1.5, 1.25], SpacingBetweenSlices=2.5, SliceThickness=5.0)])
    segments = [segment(number, name) for number, name in enumerate(masks, 1)]
    how = {"SharedFunctionalGroupsSequence": [shared], "PixelData": packed(planes)}
    if compressed:
        how.update(
            syntax=RLELossless, BitsAllocated=8, BitsStored=8, HighBit=7, SegmentationType="FRACTIONAL",
            SegmentationFractionalType="PROBABILITY", MaximumFractionalValue=255,
            PixelData=rle([plane * occupied for plane in planes]),
        )  # fmt: skip
    return seg(segments, frames, **how)


def bare(masks, *, syntax=ExplicitVRLittleEndian):
    """The minimum that the standard allows: no index values, measures and planes in every frame, slice by slice."""
    frames, planes = [], []
    for z in range(SHAPE[0]):
        for number, mask in enumerate(masks.values(), 1):
            if mask[z].any():
                frames.append(
                    item(
                        PixelMeasuresSequence=[item(PixelSpacing=[1.5, 1.25], SliceThickness=2.5)],
                        PlanePositionSequence=[item(ImagePositionPatient=position(z))],
                        PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
                        SegmentIdentificationSequence=[item(ReferencedSegmentNumber=number)],
                    )
                )
                planes.append(mask[z])
    return seg([segment(n, name) for n, name in enumerate(masks, 1)], frames, PixelData=packed(planes), syntax=syntax)


def series():
    """The CT that highdicom refers to."""
    study, group, frame = generate_uid(), generate_uid(), generate_uid()
    slices = []
    for z in range(SHAPE[0]):
        data = item(
            PatientName="DOE^JANE", PatientID="4711", PatientBirthDate="", PatientSex="", StudyID="", StudyDate="",
            AccessionNumber="", StudyTime="", StudyInstanceUID=study, SeriesInstanceUID=group, Modality="CT",
            FrameOfReferenceUID=frame, InstanceNumber=z + 1, ImagePositionPatient=position(z),
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0], PixelSpacing=[1.5, 1.25], SliceThickness=2.5, Rows=SHAPE[1],
            Columns=SHAPE[2], SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2", BitsAllocated=16,
            BitsStored=16, HighBit=15, PixelRepresentation=1, PixelData=bytes(2 * SHAPE[1] * SHAPE[2]),
            SOPClassUID=CTImageStorage, SOPInstanceUID=generate_uid(),
        )  # fmt: skip
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        slices.append(data)
    return slices


def of_highdicom(masks, kind, array=None, **options):
    """highdicom itself, which TotalSegmentator, MONAI Label and others use."""
    coded = highdicom.sr.CodedConcept
    described = [
        highdicom.seg.SegmentDescription(
            number, name, coded("123037004", "SCT", "Anatomical Structure"),
            coded(CODES.get(name, ("85756007", "Tissue"))[0], "SCT", CODES.get(name, ("", "Tissue"))[1]),
            highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            highdicom.AlgorithmIdentificationSequence(
                "a", highdicom.sr.CodedConcept("123110", "DCM", "Artificial Intelligence"), "1"
            ),
        )
        for number, name in enumerate(masks, 1)
    ]  # fmt: skip
    return highdicom.seg.Segmentation(
        source_images=series(), pixel_array=np.stack(list(masks.values()), axis=-1) if array is None else array,
        segmentation_type=kind, segment_descriptions=described, series_instance_uid=generate_uid(), series_number=9,
        sop_instance_uid=generate_uid(), instance_number=1, manufacturer="a", manufacturer_model_name="b",
        software_versions="c", device_serial_number="d", **options,
    )  # fmt: skip


def total_segmentator(masks):
    """TotalSegmentator (save_mask_as_dicomseg in dicom_io.py): highdicom, one segment for each class found."""
    return of_highdicom({name: mask for name, mask in masks.items() if mask.any()}, "BINARY")


TWO = {"spleen": SPLEEN, "liver": LIVER}
ALL = {"spleen": SPLEEN, "liver": LIVER, "liver tumor": TUMOUR}
LABELS = (SPLEEN * 1 + LIVER * 2).astype(np.uint8)
FORMS = {
    "dcmqi": lambda: dcmqi(TWO),
    "dcmqi, all slices": lambda: dcmqi(TWO, skip_empty=False),
    "dcmqi, from NIfTI": lambda: dcmqi(TWO, flipped=True),
    "dcmqi, numbers of the labels in any order": lambda: dcmqi(TWO, numbers=[5, 1]),
    "dcmqi, overlapping": lambda: dcmqi(ALL),
    "OHIF": lambda: dcmjs(TWO),
    "OHIF, compressed, zeros and ones": lambda: dcmjs(TWO, compressed=True),
    "OHIF, compressed, zeros and 255": lambda: dcmjs(TWO, compressed=True, occupied=255),
    "bare": lambda: bare(TWO),
    "bare, implicit": lambda: bare(TWO, syntax=ImplicitVRLittleEndian),
    "bare, deflated": lambda: bare(TWO, syntax=DeflatedExplicitVRLittleEndian),
    "TotalSegmentator": lambda: total_segmentator({**TWO, "stomach": np.zeros(SHAPE, bool)}),
    "highdicom, overlapping": lambda: of_highdicom(ALL, "BINARY"),
    "highdicom, all frames": lambda: of_highdicom(TWO, "BINARY", omit_empty_frames=False),
    "highdicom, fractional": lambda: of_highdicom(
        TWO, "FRACTIONAL", np.stack([SPLEEN * 0.9, LIVER * 0.8 + 0.1], axis=-1), max_fractional_value=200
    ),
    "highdicom, label map": lambda: of_highdicom(TWO, "LABELMAP", LABELS),
    "highdicom, label map, compressed": lambda: of_highdicom(TWO, "LABELMAP", LABELS, transfer_syntax_uid=RLELossless),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_liver_of_every_writer_is_the_same_liver(tmp_path, form):
    path = tmp_path / "a.dcm"
    FORMS[form]().save_as(path, enforce_file_format=True)
    assert evaluate(OURS, path)["dice"] == 1
    assert evaluate(path, OURS, labels="liver=1")["dice"] == 1


@pytest.mark.parametrize("form", FORMS)
def test_every_segment_has_its_own_voxels_and_name(tmp_path, form):
    path = tmp_path / "a.dcm"
    FORMS[form]().save_as(path, enforce_file_format=True)
    volume = read_segments(path)
    assert sorted(volume.spacing) == pytest.approx(sorted(SPACING))
    masks = {s.name.lower(): np.isin(volume.array, s.voxels) for s in volume.segments if s.value}
    for name, mask in ALL.items():
        if name in masks:
            assert masks[name].sum() == mask.sum()
    assert {"liver", "spleen"} <= set(masks)


def test_fractions_that_are_zeros_and_ones_are_reported(tmp_path):
    path = tmp_path / "a.dcm"
    dcmjs(TWO, compressed=True).save_as(path, enforce_file_format=True)
    (note,) = [note for note in read_segments(path).notes if "fractions" in note]
    assert "0 and 1" in note


@pytest.mark.parametrize("form", FORMS)
def test_a_writer_that_says_less_than_it_must_is_one_line_and_names_no_patient(tmp_path, form):
    from lvnet.errors import LVNetError

    data = FORMS[form]()
    path = tmp_path / "a.dcm"
    for group in [*data.PerFrameFunctionalGroupsSequence, *data.get("SharedFunctionalGroupsSequence", [])]:
        group.pop("PlaneOrientationSequence", None)
    data.save_as(path, enforce_file_format=True)
    with pytest.raises(LVNetError) as refusal:
        evaluate(OURS, path)
    assert "\n" not in str(refusal.value)
    assert "DOE" not in str(refusal.value)
