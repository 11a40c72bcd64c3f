"""Finding the original of a training scan in downloaded data sets.

Each data set is expected in the layout of its unpacked archives; the given folder may be any parent folder.
Nothing is downloaded.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
from lvnet.errors import ConfigurationError, ImageError
from lvnet.image_io import READABLE_SUFFIXES, is_dicom_folder, read_image, read_labels
from lvnet.volume import Volume

from .sources import find_cases


class Downloads:
    """The contents of a folder, listed once.

    Raises:
        ConfigurationError: it is not a folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ConfigurationError(f"{folder} is not a folder; give the one with the unpacked data set")
        self.folder = folder
        self._files: Dict[str, List[Path]] = {}
        self._folders: Dict[str, List[Path]] = {}
        for place, folders, files in os.walk(folder):
            folders.sort()
            for names, known in ((folders, self._folders), (files, self._files)):
                for name in names:
                    # Skip the metadata files of macOS.
                    if not name.startswith("._"):
                        known.setdefault(name.lower(), []).append(Path(place, name))
        self._folders.setdefault(folder.name.lower(), []).append(folder)
        self._pairs: Optional[Dict[int, Tuple[Path, Path]]] = None

    def folders(self, name: str) -> List[Path]:
        """Folders with this name at any depth."""
        return self._folders.get(name.lower(), [])

    def image(self, *stems: str) -> Optional[Path]:
        """The image file with one of these names, without suffix, at any depth."""
        found = (self._files.get((stem + suffix).lower(), []) for stem in stems for suffix in READABLE_SUFFIXES)
        return next((path for paths in found for path in paths), None)

    def only_image(self) -> Optional[Path]:
        """The only image in it, or the folder itself if it is DICOM."""
        images = [
            path for name, paths in self._files.items() for path in paths if name.endswith(tuple(READABLE_SUFFIXES))
        ]
        if len(images) == 1:
            return images[0]
        return self.folder if not images and is_dicom_folder(self.folder) else None

    def numbered_pairs(self) -> Dict[int, Tuple[Path, Path]]:
        """Scan and label by number, for LiTS or the Decathlon's Task03."""
        if self._pairs is None:
            places = [self.folder, *(path.parent for path in self.folders("labelsTr"))]
            self._pairs = {}
            for place in places:
                try:
                    sources = find_cases(place)
                except ImageError:
                    continue
                for source in sources:
                    match = re.fullmatch(r"(?:volume-|liver_)(\d+)", source.name)
                    if match and not source.problem:
                        self._pairs.setdefault(int(match[1]), (source.scan, source.label))
        return self._pairs


@dataclass(frozen=True)
class Original:
    """A downloaded scan.

    Attributes:
        scan: file, or DICOM folder.
        label: file or folder; None if the data set has none for it.
        values: label values of the liver; empty if all except 0 are.
        same_arrays: whether scan and label correspond voxel by voxel even if their headers differ.
    """

    scan: Path
    label: Optional[Path] = None
    values: Tuple[int, ...] = ()
    same_arrays: bool = False

    def read_scan(self) -> Volume:
        """The scan.

        Raises:
            ImageError: it cannot be read.
        """
        return read_image(self.scan)

    def read_label(self, scan: Volume) -> Tuple[Volume, str]:
        """Its label as uint8 0 and 1 on the scan's grid, or None; and a remark.

        Raises:
            ImageError: it cannot be read, or has another grid.
        """
        if self.label is None:
            raise ImageError("the data set has no label for it")
        volume = read_image(self.label) if self.label.is_dir() else read_labels(self.label)
        array = np.isin(volume.array, self.values) if self.values else volume.array > 0
        remark = ""
        if volume.shape != scan.shape or not (self.same_arrays or scan.same_grid(volume)):
            raise ImageError("its label has another grid")
        if not scan.same_grid(volume):
            remark = "the headers of scan and label differ; the label was used voxel by voxel"
        return replace(scan, array=array.astype(np.uint8), notes=()), remark


def parse_folders(words: Sequence[str]) -> Dict[str, Path]:
    """Parses `SOURCE=FOLDER` from the command line.

    Raises:
        ConfigurationError: an argument has no `=`, or names a source twice.
    """
    folders: Dict[str, Path] = {}
    for word in words:
        source, equals, folder = word.partition("=")
        if not equals or not folder:
            raise ConfigurationError(f"--from must be SOURCE=FOLDER, such as LiTS=downloads/LiTS, not {word!r}")
        if source in folders:
            raise ConfigurationError(f"--from names {source} twice")
        folders[source] = Path(folder)
    return folders


def find_original(source: str, case: str, downloads: Downloads) -> Original:
    """The original of a case.

    Args:
        source, case: as in the manifest, for example `BTCV` and `img0005`.

    Raises:
        ConfigurationError: the layout of that source is not known.
        ImageError: it is missing.
    """
    if source not in _LAYOUTS:
        raise ConfigurationError(f"unknown source {source}; the known ones are {', '.join(KNOWN)}")
    return _LAYOUTS[source](case, downloads)


def _number(case: str) -> int:
    match = re.search(r"(\d+)$", case)
    if match is None:
        raise ConfigurationError(f"the manifest's case {case!r} has no number")
    return int(match[1])


def _lits(case: str, downloads: Downloads) -> Original:
    number = _number(case)
    pair = downloads.numbered_pairs().get(number)
    if pair is None:
        raise _absent(f"volume-{number}.nii with segmentation-{number}.nii (LiTS), or liver_{number}.nii.gz", downloads)
    # The headers of some labels differ from those of their scans, but the voxels correspond.
    return Original(*pair, values=(1, 2), same_arrays=True)


def _btcv(case: str, downloads: Downloads) -> Original:
    scan, label = downloads.image(case, f"{case}_0000"), downloads.image(case.replace("img", "label"))
    if scan is None or label is None:
        raise _absent(f"{case}.nii.gz with {case.replace('img', 'label')}.nii.gz", downloads)
    return Original(scan, label, values=(6,))


def _ircad(case: str, downloads: Downloads) -> Original:
    name = f"3Dircadb1.{_number(case)}"
    for place in downloads.folders(name):
        # The nested archives unpack to PATIENT_DICOM/PATIENT_DICOM.
        scans = [place / "PATIENT_DICOM" / "PATIENT_DICOM", place / "PATIENT_DICOM"]
        labels = [place / "MASKS_DICOM" / "MASKS_DICOM" / "liver", place / "MASKS_DICOM" / "liver"]
        scan, label = (next((path for path in paths if path.is_dir()), None) for paths in (scans, labels))
        if scan is not None and label is not None:
            return Original(scan, label)
    raise _absent(f"{name} with PATIENT_DICOM and MASKS_DICOM/liver, unpacked from their archives", downloads)


def _chaos(case: str, downloads: Downloads) -> Original:
    number = _number(case)
    for place in downloads.folders("DICOM_anon"):
        if place.parent.name == str(number) and place.parent.parent.name.upper() == "CT":
            return Original(place)
    raise _absent(f"CT/{number}/DICOM_anon", downloads)


def _tcia(case: str, downloads: Downloads) -> Original:
    for place in downloads.folders(case):
        if is_dicom_folder(place):
            return Original(place)
    raise _absent(f"{case} with a DICOM series", downloads)


def _totalsegmentator(case: str, downloads: Downloads) -> Original:
    for place in downloads.folders(case):
        if (place / "ct.nii.gz").is_file():
            label = place / "segmentations" / "liver.nii.gz"
            return Original(place / "ct.nii.gz", label if label.is_file() else None)
    raise _absent(f"{case}/ct.nii.gz", downloads)


def _totalsegmentator_test(_: str, downloads: Downloads) -> Original:
    scan = downloads.image("example_ct")
    if scan is None:
        raise _absent("tests/reference_files/example_ct.nii.gz", downloads)
    label = scan.parent / "example_seg" / "liver.nii.gz"
    return Original(scan, label if label.is_file() else None)


def _pyradiomics(case: str, downloads: Downloads) -> Original:
    scan = downloads.image(f"{case}_image")
    if scan is None:
        raise _absent(f"data/{case}_image.nrrd", downloads)
    return Original(scan)


def _single(_: str, downloads: Downloads) -> Original:
    scan = downloads.only_image()
    if scan is None:
        raise _absent("exactly one scan; give a folder with that scan only", downloads)
    return Original(scan)


_LAYOUTS: Dict[str, Callable[[str, Downloads], Original]] = {
    "LiTS": _lits,
    "BTCV": _btcv,
    "3D-IRCADb-01": _ircad,
    "CHAOS": _chaos,
    "LIDC-IDRI": _tcia,
    "Lung-Fused-CT-Pathology": _tcia,
    "ACRIN-FLT-Breast": _tcia,
    "C4KC-KiTS": _tcia,
    "CPTAC-PDA": _tcia,
    "MIDRC-RICORD-1A": _tcia,
    "NLST": _tcia,
    "Pancreas-CT": _tcia,
    "TCGA-COAD": _tcia,
    "TotalSegmentator": _totalsegmentator,
    "TotalSegmentator test data": _totalsegmentator_test,
    "PyRadiomics": _pyradiomics,
    "PlatiPy": _single,
    "OnkoDICOM": _single,
}
#: Sources whose layout is known.
KNOWN = tuple(_LAYOUTS)


def _absent(what: str, downloads: Downloads) -> ImageError:
    return ImageError(f"{downloads.folder} does not contain {what}")
