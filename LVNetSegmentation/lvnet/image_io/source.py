"""The common result of the readers of all file formats."""

from __future__ import annotations

from typing import NamedTuple, Tuple

from .voxels import VoxelStack


class Source(NamedTuple):
    """Voxels and grid of a file, before they are interpreted as a scan or a label map.

    Attributes:
        stack: the voxels, (z, y, x).
        spacing: (x, y, z) in mm, as in ITK.
        origin: (x, y, z) in mm, LPS.
        direction: nine direction cosines, row by row.
        notes: sentences for the user.
        placement: for a NIfTI file, the header fields that define its grid.
    """

    stack: VoxelStack
    spacing: Tuple[float, ...]
    origin: Tuple[float, ...]
    direction: Tuple[float, ...]
    notes: Tuple[str, ...] = ()
    placement: bytes = b""


UNKNOWN_SPACING = "the file's header contains no voxel spacing: 1 mm is assumed"


def squeezed_note(dropped: int) -> Tuple[str, ...]:
    """The note about trailing axes of length 1."""
    return ("a trailing axis of length 1 was dropped",) if dropped else ()
