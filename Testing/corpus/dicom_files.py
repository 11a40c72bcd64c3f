"""Writes DICOM files with pydicom, and lossless JPEG and JPEG 2000 with ITK's own writer."""

from __future__ import annotations

import locale
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

import numpy as np
import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from .scans import ORIGIN, SPACING, waves

HU_OFFSET = 1024
#: A name in the files that must not appear in any output.
PATIENT = "DOE^JANE^4711"
_AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
# pydicom cannot write unknown transfer syntaxes: the UID of a known one is replaced in the file, at equal length.
_WRITTEN = dict.fromkeys(("1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.999"), UID("1.2.840.10008.1.2.4.201"))
_BY_ITK = {"1.2.840.10008.1.2.4.70": "JPEG", "1.2.840.10008.1.2.4.90": "JPEG2000"}


def stored(array: Optional[np.ndarray] = None) -> np.ndarray:
    """The stored values for these HU (by default those of `waves`)."""
    return ((waves() if array is None else array) + HU_OFFSET).astype(np.uint16)


def item(**fields: Any) -> Dataset:
    """An item of a sequence."""
    result = Dataset()
    for key, value in fields.items():
        setattr(result, key, value)
    return result


def base(storage: str, syntax: str, **fields: Any) -> Dataset:
    """A data set with the fields that all files of one series share.

    Args:
        storage: the SOP class.
        syntax: the transfer syntax.
        **fields: by keyword, added to the defaults or replacing them.
    """
    uid = generate_uid()
    dataset = item(
        SOPClassUID=storage, SOPInstanceUID=uid, StudyInstanceUID="1.2.3.4", SeriesInstanceUID="1.2.3.4.5",
        PatientName=PATIENT, PatientID=PATIENT, Modality="CT", SeriesNumber=3, InstanceNumber=1,
        ImageType=["ORIGINAL", "PRIMARY", "AXIAL"], SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2",
        BitsAllocated=16, BitsStored=16, HighBit=15,
    )  # fmt: skip
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = storage
    dataset.file_meta.MediaStorageSOPInstanceUID = uid
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    for key, value in fields.items():
        setattr(dataset, key, value)
    return dataset


def slice_dataset(
    values: np.ndarray,
    position: Sequence[float],
    *,
    storage: str = CTImageStorage,
    syntax: str = ExplicitVRLittleEndian,
    orientation: Sequence[float] = _AXIAL,
    **fields: Any,
) -> Dataset:
    """One CT slice.

    Args:
        values: (y, x) stored values; HU are these minus 1024 unless the fields say otherwise.
        position: (x, y, z) of its first pixel.
        storage: the SOP class.
        syntax: transfer syntax of the file.
        orientation: directions of its rows and columns.
        **fields: by keyword; None writes an empty element.
    """
    dataset = base(storage, syntax)
    dataset.update(
        item(
            ImagePositionPatient=[f"{part:.10g}" for part in position],
            ImageOrientationPatient=[f"{part:.10g}" for part in orientation],
            PixelSpacing=[f"{SPACING[1]:g}", f"{SPACING[2]:g}"], SliceThickness=f"{SPACING[0]:g}",
            Rows=values.shape[0], Columns=values.shape[1], PixelRepresentation=int(values.dtype.kind == "i"),
            RescaleSlope="1", RescaleIntercept=str(-HU_OFFSET),
        )
    )  # fmt: skip
    for key, value in fields.items():
        setattr(dataset, key, value)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    dataset.PixelData = values.astype(values.dtype.newbyteorder(order)).tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def save(dataset: Dataset, path: Path) -> Path:
    """Writes a data set as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def series(
    folder: Path,
    values: np.ndarray,
    *,
    heights: Optional[Sequence[float]] = None,
    shift: Tuple[float, float] = (0.0, 0.0),
    prefix: str = "IM",
    syntax: str = ExplicitVRLittleEndian,
    claimed_syntax: Optional[str] = None,
    each: Optional[Callable[[int], Dict[str, Any]]] = None,
    **fields: Any,
) -> Path:
    """Writes a folder of slices, one file each.

    Args:
        folder: is created.
        values: (z, y, x) stored values.
        heights: position of each slice along the normal, relative to the usual origin.
        shift: along rows and columns, per mm of height.
        prefix: of the file names.
        syntax: transfer syntax of the pixels.
        claimed_syntax: transfer syntax named in the header; the pixels are then a few meaningless bytes.
        each: fields of the slice with that number.
        **fields: see :func:`slice_dataset`.
    """
    row, column = np.asarray(fields.get("orientation", _AXIAL), float).reshape(2, 3)
    normal = np.cross(row, column)
    for index, plane in enumerate(values):
        height = SPACING[0] * index if heights is None else heights[index]
        place = np.asarray(ORIGIN) + height * (normal + shift[0] * row + shift[1] * column)
        own = {**fields, **(each(index) if each is not None else {})}
        path = folder / f"{prefix}{index:04d}.dcm"
        if syntax in _BY_ITK:
            _write_by_itk(plane, place, path, _BY_ITK[syntax])
            continue
        packed = syntax in (RLELossless, JPEGLSLossless)
        dataset = slice_dataset(
            plane, place, syntax=ExplicitVRLittleEndian if packed else syntax, InstanceNumber=index + 1, **own
        )
        if packed:
            dataset.compress(UID(syntax), plane, generate_instance_uid=False)
        if claimed_syntax is not None:
            dataset.file_meta.TransferSyntaxUID = _WRITTEN.get(claimed_syntax, UID(claimed_syntax))
            dataset.PixelData = encapsulate([b"\xff\x4f\xff\x51" + bytes(60)])
            dataset["PixelData"].is_undefined_length = True
        save(dataset, path)
        if claimed_syntax in _WRITTEN:
            path.write_bytes(path.read_bytes().replace(_WRITTEN[claimed_syntax].encode(), claimed_syntax.encode(), 1))
    return folder


def _write_by_itk(plane: np.ndarray, place: np.ndarray, path: Path, codec: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # ITK's writer takes HU and writes no rescale fields.
    image = sitk.JoinSeries([sitk.GetImageFromArray((plane.astype(int) - HU_OFFSET).astype(np.int16))])
    x, y, z = SPACING[::-1]
    image.SetSpacing((x, y, z))
    numbers = "\\".join(f"{part:.10g}" for part in place)
    tags = {
        "0008|0060": "CT", "0020|000e": "1.2.3.4.5", "0020|0032": numbers, "0020|0037": "1\\0\\0\\0\\1\\0",
        "0008|0008": "ORIGINAL\\PRIMARY\\AXIAL",
    }  # fmt: skip
    for key, value in tags.items():
        image.SetMetaData(key, value)
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.KeepOriginalImageUIDOn()
    writer.UseCompressionOn()
    writer.SetCompressor(codec)
    writer.SetFileName(str(path))
    # GDCM's encoder switches the whole process to the C locale, in which later tests would read only ASCII.
    before = locale.setlocale(locale.LC_ALL)
    try:
        writer.Execute(image)
    finally:
        locale.setlocale(locale.LC_ALL, before)


def enhanced(
    path: Path,
    values: np.ndarray,
    heights: Sequence[float],
    *,
    rescale_each: bool = False,
    content: Optional[Callable[[int], Dataset]] = None,
) -> Path:
    """Writes one file with all slices as frames.

    Args:
        path: of the file.
        values: (z, y, x) stored values.
        heights: of each frame.
        rescale_each: gives every frame its own slope.
        content: the item of FrameContentSequence for the frame with that number.
    """
    dataset = base(EnhancedCTImageStorage, ExplicitVRLittleEndian, ImageType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = values.shape
    dataset.PixelRepresentation = 0
    spacing = [f"{SPACING[1]:g}", f"{SPACING[2]:g}"]
    shared = item(
        PixelMeasuresSequence=DicomSequence([item(PixelSpacing=spacing, SliceThickness=f"{SPACING[0]:g}")]),
        PlaneOrientationSequence=DicomSequence([item(ImageOrientationPatient=list(_AXIAL))]),
    )
    rescale = [item(RescaleSlope="1", RescaleIntercept=str(-HU_OFFSET))]
    if not rescale_each:
        shared.PixelValueTransformationSequence = DicomSequence(rescale)
    dataset.SharedFunctionalGroupsSequence = DicomSequence([shared])
    frames = []
    for index, height in enumerate(heights):
        place = [ORIGIN[0], ORIGIN[1], ORIGIN[2] + height]
        frame = item(PlanePositionSequence=DicomSequence([item(ImagePositionPatient=place)]))
        if rescale_each:
            own = item(RescaleSlope=f"{1 + index / 4:g}", RescaleIntercept=str(-HU_OFFSET))
            frame.PixelValueTransformationSequence = DicomSequence([own])
        if content is not None:
            frame.FrameContentSequence = DicomSequence([content(index)])
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = DicomSequence(frames)
    dataset.PixelData = values.tobytes()
    dataset["PixelData"].VR = "OW"
    return save(dataset, path)
