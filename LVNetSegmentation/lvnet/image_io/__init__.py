"""Images and label maps in and out: NIfTI, NRRD, MetaImage, Slicer's .seg.nrrd and folders of DICOM.

Whatever comes in leaves as a :class:`~lvnet.volume.Volume` with (z, y, x) voxels and spacing; what
goes out has the grid of what came in.  Every failure that a user can cause is an
:class:`~lvnet.errors.ImageError` of one line.
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
