"""The one image type of the core."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Tuple

import numpy as np

IDENTITY_DIRECTION = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Segment:
    """A segment of a label map, if the file describes it by more than a number.

    Attributes:
        value: its label value, or its number in a DICOM file.
        name: from the file; empty if there is none.
        meaning: of its terminology code, such as `Liver`; empty if there is none.
        voxels: the values of the volume's array that belong to it.  Where segments overlap, a
            value represents a combination of them and belongs to several.
    """

    value: int
    name: str = ""
    meaning: str = ""
    voxels: Tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Volume:
    """A scan or a label map with its position in the patient.

    Attributes:
        array: (z, y, x) voxels; HU as int16 or float32 for a scan, uint8 for a label map.
        spacing: (z, y, x) distance between voxel centres in mm.
        origin: (x, y, z) position of the first voxel's centre in mm, LPS, as ITK has it.
        direction: nine numbers, row by row, of the 3x3 direction cosines as ITK has them: column
            i is the LPS direction of the i-th index axis in (x, y, z) order.
        name: the image's name in messages: a file or series name, never a patient's name.
        notes: sentences for the user about what was noticed or repaired on reading.
        placement: for a scan from NIfTI, its grid and the bytes of the header that define it; they are copied into
            results on the same grid.
        segments: the meaning of the values of a label map, if the file gives it.
    """

    array: np.ndarray
    spacing: Tuple[float, float, float] = (1.0, 1.0, 1.0)
    origin: Tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: Tuple[float, ...] = IDENTITY_DIRECTION
    name: str = ""
    notes: Tuple[str, ...] = field(default=())
    placement: Tuple[Tuple[Any, ...], bytes] = field(default=((), b""), repr=False)
    segments: Tuple[Segment, ...] = ()

    def with_array(self, array: np.ndarray, **changes: Any) -> Volume:
        """A volume with other voxels on the same grid.

        Args:
            array: (z, y, x), the shape of this volume.
            **changes: other fields to replace, for example `name`.

        Raises:
            ValueError: the shape differs.
        """
        if array.shape != self.array.shape:
            raise ValueError(f"array has shape {array.shape}, the volume has {self.array.shape}")
        return replace(self, array=array, **changes)

    @property
    def grid(self) -> Tuple[Any, ...]:
        """Shape, spacing, origin and direction."""
        return self.shape, self.spacing, self.origin, self.direction

    @property
    def shape(self) -> Tuple[int, int, int]:
        """(z, y, x) number of voxels."""
        depth, height, width = self.array.shape
        return depth, height, width

    @property
    def direction_matrix(self) -> np.ndarray:
        """(3, 3) float64; column i is the LPS direction of index axis i in (x, y, z) order."""
        return np.asarray(self.direction, dtype=np.float64).reshape(3, 3)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(np.prod(self.spacing)) / 1000.0

    def same_grid(self, other: Volume, tolerance: float = 1e-3) -> bool:
        """Whether both volumes have the same size and position, within `tolerance` of a voxel."""
        if self.shape != other.shape:
            return False
        step = min(self.spacing)
        return bool(
            np.allclose(self.spacing, other.spacing, rtol=0, atol=tolerance * step)
            and np.allclose(self.origin, other.origin, rtol=0, atol=tolerance * step)
            and np.allclose(self.direction, other.direction, rtol=0, atol=tolerance)
        )
