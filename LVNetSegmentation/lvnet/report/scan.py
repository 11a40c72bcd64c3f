"""The scan behind the outlines: finding it, and resampling it to the label maps' grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

import numpy as np

from ..errors import ImageError
from ..evaluation.case_names import paired
from ..evaluation.cases import SCAN_STEM, scans_in
from ..volume import Volume

PathLike = Union[str, Path]

#: Soft tissue: level 40 HU, width 400 HU.
WINDOW_HU = (-160.0, 240.0)
_OUTSIDE = -2000.0


def find_images(
    images: Optional[Path], files: Mapping[str, Tuple[Path, Path]], folders: bool
) -> Tuple[Dict[str, Path], List[str]]:
    """The scans of the cases.

    Args:
        images: a folder of scans by case name; for a single case also the scan itself, as a file or
            a DICOM folder.  None looks beside the label maps for a file named `ct`: in
            a case's own folder, or beside the files of a single pair.
        files: prediction and reference by case.
        folders: whether the cases come from two folders.

    Returns:
        Scans by case, and sentences about those that were requested but not found.

    Raises:
        ImageError: `images` does not exist, or contains no scan of any case.
    """
    from ..image_io import is_dicom_folder
    from ..image_io.names import shown

    if images is None:
        return {name: scan for name, pair in files.items() if (scan := _beside(pair, files, folders)) is not None}, []
    if not images.exists():
        raise ImageError(f"{shown(images)} does not exist; give the folder or file of the scans")
    if not folders and (images.is_file() or is_dicom_folder(images)):
        return dict.fromkeys(files, images), []
    if images.is_file():
        raise ImageError(
            f"{shown(images)} is one scan; several cases need a folder with one scan per case under the same name"
        )
    by_name = scans_in(images)
    if not folders and len(by_name) == 1:
        by_name = {name: next(iter(by_name.values())) for name in files}
    found = {case: by_name[name] for name, case in paired(by_name, files)[0].items()}
    if not found:
        raise ImageError(f"{shown(images)} contains no scan of any case; give scans and label maps the same names")
    missing = [name for name in files if name not in found]
    return found, [f"no scan was found for {', '.join(missing)}"] if missing else []


def _beside(pair: Tuple[Path, Path], files: Mapping[str, Tuple[Path, Path]], folders: bool) -> Optional[Path]:
    from ..image_io import READABLE_SUFFIXES

    for file in pair[::-1]:
        # In a folder that is shared by all cases, a file named ct cannot be assigned to a case.
        if folders and sum(file.parent == other.parent for both in files.values() for other in both) > 1:
            continue
        for suffix in READABLE_SUFFIXES:
            scan = file.with_name(SCAN_STEM + suffix)
            if scan.is_file() and scan not in pair:
                return scan
    return None


class Backdrop:
    """Axial planes of a scan on the grid of the label maps, as grey values.

    Args:
        scan: in HU, or any other intensities; in any orientation and on any grid.
        grid: label map in LPS order that defines the grid.
    """

    def __init__(self, scan: Volume, grid: Volume) -> None:
        from ..orientation import to_canonical

        self._scan, self._grid = to_canonical(scan)[0], grid
        self.same_grid = self._scan.same_grid(grid)
        self.window = window_of(self._scan.array)

    def plane(self, z: int, rows: slice, columns: slice) -> Optional[np.ndarray]:
        """(rows, columns) uint8; None if the scan does not cover it."""
        if self.same_grid:
            values = np.asarray(self._scan.array[z, rows, columns], np.float32)
        else:
            values = self._interpolated(z, rows, columns)
            if (values <= _OUTSIDE).all():
                return None
        low, high = self.window
        return (np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8)

    def _interpolated(self, z: int, rows: slice, columns: slice) -> np.ndarray:
        from scipy import ndimage

        grid, scan = self._grid, self._scan
        y, x = np.mgrid[rows, columns]
        index = np.stack([x.ravel(), y.ravel(), np.full(x.size, z)]).astype(np.float64)
        point = _matrix(grid) @ index + np.array(grid.origin)[:, None]
        inside = np.linalg.solve(_matrix(scan), point - np.array(scan.origin)[:, None])
        found = ndimage.map_coordinates(
            scan.array, inside[::-1], output=np.float32, order=1, mode="constant", cval=_OUTSIDE
        )
        return found.reshape(x.shape)


def _matrix(volume: Volume) -> Any:
    """Steps along the index axes (x, y, z) in mm."""
    return volume.direction_matrix * np.array(volume.spacing[::-1])


def window_of(array: np.ndarray) -> Tuple[float, float]:
    """The soft tissue window for HU; for images without air below -500, their range without extremes."""
    sample = array[:: max(1, array.shape[0] // 32), ::4, ::4]
    if float(sample.min()) < -500:
        return WINDOW_HU
    low, high = (float(value) for value in np.percentile(sample, (1, 99.5)))
    return low, max(high, low + 1.0)
