"""Converting stored values, slice by slice, to int16 if that is exact, else to float32."""

from __future__ import annotations

from typing import Optional, Tuple

import numpy as np

#: HU that replaces values that are not finite.
AIR = -1024
#: Bytes per voxel as long as int16 suffices.
INT16_BYTES = 2
_LARGEST = float(np.finfo(np.float32).max)
_INT16 = np.iinfo(np.int16)


class VoxelStack:
    """Collects slices, in order, into one (z, y, x) array.

    The array is int16 as long as every value fits exactly and is converted to float32 with the first
    that does not, so that for the usual scan at most one slice is in memory twice.

    Attributes:
        replaced: number of voxels without a finite value, which were set to air.
    """

    def __init__(self, shape: Tuple[int, int, int]) -> None:
        self._shape = shape
        # Pages of an empty array take no memory until they are written to.
        self._whole: Optional[np.ndarray] = np.empty(shape, np.int16)
        self._real: Optional[np.ndarray] = None
        self.replaced = 0

    def put(self, index: int, values: np.ndarray) -> None:
        """Stores slice `index`; slices 0 to index - 1 must have been stored before.

        Args:
            index: its index along z.
            values: (y, x) numbers of any real type.
        """
        if values.dtype.kind == "f":
            with np.errstate(invalid="ignore"):
                bad = ~(np.abs(values) <= _LARGEST)
            count = int(np.count_nonzero(bad))
            if count:
                self.replaced += count
                values = np.where(bad, values.dtype.type(AIR), values)
        if self._whole is not None:
            if _fits_int16(values):
                self._whole[index] = values
                return
            self._real = np.empty(self._shape, np.float32)
            self._real[:index] = self._whole[:index]
            self._whole = None
        assert self._real is not None
        self._real[index] = values

    def array(self) -> np.ndarray:
        """(z, y, x) int16 or float32."""
        result = self._real if self._whole is None else self._whole
        assert result is not None
        return result

    @property
    def all_replaced(self) -> bool:
        """Whether no voxel had a finite value."""
        return self.replaced == int(np.prod(self._shape))


def _fits_int16(values: np.ndarray) -> bool:
    if values.dtype in (np.int16, np.int8, np.uint8, np.bool_):
        return True
    if values.size and not (values.min() >= _INT16.min and values.max() <= _INT16.max):
        return False
    return values.dtype.kind in "iu" or bool(np.array_equal(np.rint(values), values))
