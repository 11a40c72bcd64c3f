"""Finding the files of each case in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Optional

from ..errors import ImageError
from .pair import PathLike

#: Among several label maps in a case's folder, the name of the organ's.
ORGAN_STEM = "liver"
# A case's folder with more files than this contains the slices of its scan.
_MOST_OBJECTS = 20
#: The subfolder of a case in which TotalSegmentator stores a mask for each organ.
ORGANS_FOLDER = "segmentations"
#: Among several images in a case's folder, the name of the scan.
SCAN_STEM = "ct"


def cases_in(folder: PathLike, failed: Dict[str, str], stem: str = ORGAN_STEM) -> Dict[str, Path]:
    """Files by case name.

    A case is a file (`case.nii.gz`, with any supported suffix) or a folder (`case/`) that contains a single
    file, or one named `stem`, possibly in a subfolder `segmentations`.

    Args:
        folder: the folder.
        failed: a message is added for every ambiguous name.
        stem: name of the file to use if a case's folder contains several.

    Raises:
        ImageError: the folder cannot be listed.
    """
    from ..image_io import output_name
    from ..image_io.names import shown

    found: Dict[str, List[Path]] = {}
    try:
        for file in _images_in(Path(folder)) if stem == SCAN_STEM else _maps_in(Path(folder)):
            found.setdefault(output_name(file), []).append(file)
        for place in sorted(entry for entry in Path(folder).iterdir() if entry.is_dir()):
            files = _images_in(place) if stem == SCAN_STEM else _maps_in(place, _MOST_OBJECTS)
            named = [file for file in files if output_name(file) == stem]
            if not named and (place / ORGANS_FOLDER).is_dir() and stem != SCAN_STEM:
                named = [file for file in _images_in(place / ORGANS_FOLDER) if output_name(file) == stem]
            # A scan beside label maps is not one of them.
            maps = [file for file in files if output_name(file) != SCAN_STEM] if stem != SCAN_STEM else files
            for file in named or maps:
                found.setdefault(place.name, []).append(file)
    except OSError as error:
        raise ImageError(f"{shown(folder)} cannot be listed as a folder: {error.strerror}") from error
    cases: Dict[str, Path] = {}
    for name, files in found.items():
        cases[name] = files[0]
        if len(files) > 1:
            listed = ", ".join(file.name for file in files)
            failed[name] = f"{shown(folder)} contains several files for this case ({listed}); keep only one of them"
    return cases


def scans_in(folder: PathLike) -> Dict[str, Path]:
    """Scans by case name: image files, folders that contain one (or one named `ct`), DICOM folders.

    Ambiguous names are omitted.

    Raises:
        ImageError: the folder cannot be listed.
    """
    from ..image_io import is_dicom_folder

    several: Dict[str, str] = {}
    scans = {name: path for name, path in cases_in(folder, several, SCAN_STEM).items() if name not in several}
    for place in Path(folder).iterdir():
        if place.name not in scans and is_dicom_folder(place):
            scans[place.name] = place
    return scans


def _images_in(place: Path) -> List[Path]:
    from ..image_io import READABLE_SUFFIXES
    from ..image_io.names import suffix_of

    return sorted(
        entry
        for entry in place.iterdir()
        if entry.is_file() and not entry.name.startswith(".") and suffix_of(entry, READABLE_SUFFIXES)
    )


def _maps_in(place: Path, most: Optional[int] = None) -> List[Path]:
    """The image files of a folder, and its DICOM segmentation objects unless there are more than `most`."""
    from ..image_io.segmentations import is_dicom_segmentation

    files = [entry for entry in place.iterdir() if entry.is_file() and entry.suffix.lower() in ("", ".dcm")]
    if most is not None and len(files) > most:
        files = []
    return sorted([*_images_in(place), *(f for f in files if f.name[0] != "." and is_dicom_segmentation(f))])
