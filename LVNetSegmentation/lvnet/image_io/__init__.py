"""Reading and writing images and label maps: NIfTI, NRRD, MetaImage, Slicer's .seg.nrrd and DICOM folders.

Readers return a :class:`~lvnet.volume.Volume` with (z, y, x) voxels and spacing; results are written
on the grid of their scan.  Every failure that a user can cause is an
:class:`~lvnet.errors.ImageError` with a one-line message.
"""

from __future__ import annotations

from .listing import list_scans
from .names import (
    IMAGE_SUFFIXES,
    LABEL_SUFFIXES,
    READABLE_SUFFIXES,
    check_output_path,
    find_scans,
    is_dicom_folder,
    output_name,
)
from .read import read_image, read_labels
from .segmentations import read_segments
from .write import write_image, write_labels

__all__ = [
    "IMAGE_SUFFIXES",
    "LABEL_SUFFIXES",
    "READABLE_SUFFIXES",
    "check_output_path",
    "find_scans",
    "is_dicom_folder",
    "list_scans",
    "output_name",
    "read_image",
    "read_labels",
    "read_segments",
    "write_image",
    "write_labels",
]
