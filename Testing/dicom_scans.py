"""DICOM CT series for the tests of the objects derived from them (SEG, SR); needs pydicom."""

from __future__ import annotations

import numpy as np
from lvnet.image_io import read_image
from lvnet.recipe import LIVER, Architecture, LabelClass, Recipe
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

SECRETS = ("DOE^JANE", "4711-SECRET", "19700101", "ACC-99")
SHAPE = (7, 12, 16)
TWO = Recipe(Architecture(classes=3), classes=(LIVER, LabelClass(9, "mystery")), name="two")
TILTED = (0.0, 0.8, -0.6, 1.0, 0.0, 0.0)


def slice_of(plane, position, number, *, orientation=(1, 0, 0, 0, 1, 0), **fields):
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    values = {
        "PatientName": SECRETS[0], "PatientID": SECRETS[1], "PatientBirthDate": SECRETS[2], "PatientSex": "F",
        "AccessionNumber": SECRETS[3], "StudyID": "7", "StudyDate": "20200102", "StudyTime": "030405",
        "StudyInstanceUID": "1.2.3.4", "SeriesInstanceUID": "1.2.3.4.5", "FrameOfReferenceUID": "1.2.3.4.6",
        "Modality": "CT", "SeriesNumber": 3, "InstanceNumber": number, "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "ImagePositionPatient": [f"{part:.6f}" for part in position], "PixelSpacing": ["0.8", "0.7"],
        "ImageOrientationPatient": [f"{part:.6f}" for part in orientation], "SliceThickness": "2.5",
        "Rows": plane.shape[0], "Columns": plane.shape[1], "SamplesPerPixel": 1, "BitsAllocated": 16,
        "PhotometricInterpretation": "MONOCHROME2", "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1,
        "RescaleSlope": "1", "RescaleIntercept": "0", **fields,
    }  # fmt: skip
    for key, value in values.items():
        if value is not None:
            setattr(data, key, value)
    data.PixelData = plane.astype("<i2").tobytes()
    return data


def place(height, orientation=(1, 0, 0, 0, 1, 0), shift=0.0):
    row, column = np.asarray(orientation, float).reshape(2, 3)
    return np.array([-100.0, -50.0, 20.0]) + height * np.cross(row, column) + shift * height * column


def write_series(target, heights=None, *, orientation=(1, 0, 0, 0, 1, 0), shift=0.0, shape=SHAPE, **fields):
    """Writes a series into a folder; the order of the file names is the reverse of the order in space."""
    heights = [2.5 * index for index in range(shape[0])] if heights is None else heights
    target.mkdir(exist_ok=True)
    for index, height in enumerate(heights):
        plane = np.full(shape[1:], 10 * index)
        data = slice_of(plane, place(height, orientation, shift), index + 1, orientation=orientation, **fields)
        data.save_as(target / f"{len(heights) - index:03d}_{height}.dcm", enforce_file_format=True)
    return target


def write_enhanced(path, order=(3, 0, 5, 1, 4, 2, 6)):
    """Writes one file of all slices, with its frames in this spatial order; slice z has 10 z HU."""
    data = slice_of(np.zeros(SHAPE[1:]), place(0), 1)
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = EnhancedCTImageStorage
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(data, keyword)
    data.NumberOfFrames = SHAPE[0]
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.8, 0.7], 2.5
    plane.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([plane])
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    groups = []
    for z in order:
        group, position = Dataset(), Dataset()
        position.ImagePositionPatient = list(place(2.5 * z))
        group.PlanePositionSequence = Sequence([position])
        groups.append(group)
    data.PerFrameFunctionalGroupsSequence = Sequence(groups)
    data.PixelData = np.stack([np.full(SHAPE[1:], 10 * z, "<i2") for z in order]).tobytes()
    path.parent.mkdir(exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def labels_for(folder, recipe=TWO):
    scan = read_image(folder)
    array = np.zeros(scan.shape, np.uint8)
    array[1:5, 3:9, 2:10] = recipe.classes[0].value
    array[2, 4, 3] = 0
    if len(recipe.classes) > 1:
        array[3:6, 9:11, 11:15] = recipe.classes[1].value
    return scan.with_array(array)
