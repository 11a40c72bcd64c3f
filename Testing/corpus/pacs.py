"""A DICOM tree as exported by an archive: opaque names without extensions, several patients, studies and modalities.

`python Testing/corpus/pacs.py FOLDER --studies 200` writes one.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional

import numpy as np

try:
    from .studies import Pass, evenly, write_slice, write_study
except ImportError:  # run as a program
    from studies import Pass, evenly, write_slice, write_study  # type: ignore[no-redef]

_UIDS = {"MR": "1.2.840.10008.5.1.4.1.1.4", "SR": "1.2.840.10008.5.1.4.1.1.88.67", "PR": "1.2.840.10008.5.1.4.1.1.11.1",
         "US": "1.2.840.10008.5.1.4.1.1.6.1", "OT": "1.2.840.10008.5.1.4.1.1.7"}  # fmt: skip
_DERIVED = ["DERIVED", "SECONDARY"]


class Kind(NamedTuple):
    """A series of an abdominal CT.

    Attributes:
        words: its description.
        heights: of its slices in mm.
        fields: of all its slices.
        turned: whether its slices are coronal.
    """

    words: str
    heights: tuple
    fields: Dict[str, Any]
    turned: bool = False


#: The series of one study; the first is the right one for a liver.  They cover 24 cm of the patient.
KINDS = (
    Kind("Abdomen portal venous 1.0 Br38", evenly(49, 5.0), {"ConvolutionKernel": "Br38d", "SliceThickness": 1.0}),
    Kind("Abdomen portal venous 5.0 Br38", evenly(25, 10.0), {"ConvolutionKernel": "Br38d", "SliceThickness": 5.0}),
    Kind("Lung 1.0 Br64", evenly(49, 5.0), {"ConvolutionKernel": "Br64d", "SliceThickness": 1.0}),
    Kind("Abdomen MPR cor", evenly(30, 3.0), {"ImageType": [*_DERIVED, "AXIAL", "CSA MPR"]}, True),
    Kind("MIP 10.0", evenly(25, 10.0), {"ImageType": [*_DERIVED, "AXIAL", "CSA MIP"]}),
    Kind("Topogram 0.6", evenly(1, 1.0), {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, True),
    Kind("Bolus tracking", (100.0, 100.0, 100.0), {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}),
    Kind("Patient Protocol", evenly(1, 1.0), {"SOPClassUID": _UIDS["OT"], "ImageType": [*_DERIVED, "OTHER"]}),
)
_AXIAL, _CORONAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


def write_archive(
    root: Path, studies: int, seed: int = 1, index: bool = True, every: Optional[int] = None
) -> List[str]:
    """Writes a tree.

    Args:
        root: is created.
        studies: number of CT studies; a patient has one to three.  As many MR or ultrasound studies are added.
        seed: of the names.
        index: also writes a DICOMDIR and other files of an exported disc.
        every: writes only every n-th slice, with n times the distance, to save time.

    Returns:
        UIDs of the series that should be selected.
    """
    noise = np.random.default_rng(seed)
    right: List[str] = []
    patient, left = 0, 0
    for number in range(studies):
        if not left:
            patient, left = patient + 1, int(noise.integers(1, 4))
        left -= 1
        common = {"PatientID": f"P{patient:05d}", "PatientName": f"DOE^{patient}", "AccessionNumber": f"A{number}"}
        home = root / _opaque(noise) / _opaque(noise)
        ct = {**common, "StudyInstanceUID": f"1.2.9.{number}.1"}
        for order in noise.permutation(len(KINDS)):
            kind = KINDS[order]
            heights = kind.heights[:: every or 1]
            fields = {
                **ct, "SeriesInstanceUID": f"1.2.9.{number}.1.{order + 1}", "SeriesNumber": int(order) + 1,
                "SeriesDescription": kind.words, "FrameOfReferenceUID": f"1.2.9.{number}.7",
                "PixelSpacing": [45.0, 45.0], **kind.fields,
            }  # fmt: skip
            each = [{"SOPInstanceUID": f"1.2.9.{number}.1.{order + 1}.{z + 1}"} for z in range(len(heights))]
            names = [_opaque(noise) for _ in heights]
            one = Pass(40 + int(order), heights, fields, each=each)
            turned = _CORONAL if kind.turned else _AXIAL
            write_study(home / _opaque(noise), [one], orientation=turned, names=names)
        right.append(f"1.2.9.{number}.1.1")
        _write_others(home / _opaque(noise), {**ct}, number, "SR", noise)
        modality = "MR" if number % 2 else "US"
        other = {**common, "StudyInstanceUID": f"1.2.9.{number}.2"}
        _write_others(root / _opaque(noise) / _opaque(noise), other, number, modality, noise)
    if index:
        (root / "DICOMDIR").write_bytes(_index())
        (root / "VIEWER.EXE").write_bytes(b"MZ")
        (root / "README").write_text("An export.")
    return right


def _write_others(home: Path, common: Dict[str, Any], number: int, modality: str, noise: np.random.Generator) -> None:
    for index in range(4):
        fields = {
            **common, "Modality": modality, "SOPClassUID": _UIDS[modality], "InstanceNumber": index + 1,
            "SeriesInstanceUID": f"1.2.9.{number}.{3 if modality == 'SR' else 4}.99",
            "SOPInstanceUID": f"1.2.9.{number}.5.{int(modality == 'SR')}.{index}", "SeriesDescription": modality,
            "ImagePositionPatient": [0.0, 0.0, 4.0 * index],
        }  # fmt: skip
        write_slice(home / _opaque(noise), fields, np.zeros((8, 8)))


def _index() -> bytes:
    """The beginning of a DICOMDIR: the storage class of a directory, without an image."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.filebase import DicomBytesIO

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    data.file_meta.MediaStorageSOPInstanceUID = "1.2.9.0"
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    data.FileSetID = "EXPORT"
    data.DirectoryRecordSequence = []
    file = DicomBytesIO()
    data.save_as(file, enforce_file_format=True)
    return bytes(file.getvalue())


def _opaque(noise: np.random.Generator) -> str:
    return f"{int(noise.integers(2**32)):08X}"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--every", type=int, default=1, help="write every n-th slice only")
    options = parser.parse_args()
    right = write_archive(options.folder, options.studies, every=options.every)
    print(f"{len(right)} studies of CT with {len(KINDS)} series each")


if __name__ == "__main__":
    main()
