"""What every reader of a file format hands over."""

from __future__ import annotations

from typing import NamedTuple, Tuple

from .voxels import VoxelStack


class Source(NamedTuple):
    """Voxels and grid as a file has them, not yet judged as a scan or a label map.

    Attributes:
        stack: the voxels, (z, y, x).
        spacing: (x, y, z) in mm, as ITK has it.
        origin: (x, y, z) in mm, LPS.
        direction: nine direction cosines, row by row.
        notes: what was noticed on the way.
        placement: of a NIfTI file, the bytes of its header that place it.
    """

    stack: VoxelStack
    spacing: Tuple[float, ...]
    origin: Tuple[float, ...]
    direction: Tuple[float, ...]
    notes: Tuple[str, ...] = ()
    placement: bytes = b""


UNKNOWN_SPACING = "the file's header holds no voxel spacing: 1 mm is assumed"


def squeezed_note(dropped: int) -> Tuple[str, ...]:
    """What to say about trailing axes of length 1."""
    return ("a trailing axis of length 1 was dropped",) if dropped else ()
