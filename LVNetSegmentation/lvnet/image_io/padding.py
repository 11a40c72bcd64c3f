"""Padding: voxels that a file declares as padding, and values that scanners write outside their field of view.

They are set to air before slices are blended, filtered or checked.  Padding values in the range of tissue (some
programs declare 0, which is water in signed values) are only treated as padding where they reach the border of the
slice, as the area outside a round field of view does.
"""

from __future__ import annotations

from typing import Optional, Tuple

import numpy as np

from .dicom_header import DicomHeader
from .dicom_pixels import in_hu
from .voxels import AIR

#: HU that scanners and converters write where nothing was measured; neither tissue nor air has these values.
OUTSIDE_HU = (-2000, -2048, -3000, -3024, -3071, -3072, -4000, -4096, -8192, -9999, -10000, -32000, -32768)
_LOWEST_HU, _SHARE = -1500, 0.002
# Padding values outside this range cannot be measured HU: below air, or above metal on the usual scale.
_NO_TISSUE = (-900.0, 3072.0)
# Lossy codecs restore values only approximately.
_LOSSY = {f"1.2.840.10008.1.2.4.{end}" for end in (50, 51, 81, 91)}


def padded(header: DicomHeader, stored: np.ndarray, rescale: Tuple[float, float]) -> Optional[np.ndarray]:
    """The padding of a slice.

    Args:
        header: the file's header.
        stored: (y, x) stored values.
        rescale: intercept and slope of the slice.

    Returns:
        (y, x) bool, or None if there is none.
    """
    mask: Optional[np.ndarray] = None
    if header.padding:
        low, high = _range(header, stored.dtype)
        limits = np.iinfo(stored.dtype)
        ends = np.array([max(low, limits.min), min(high, limits.max)])
        hu = in_hu(ends.astype(np.int64), rescale).astype(float)
        sure = bool(hu.max() <= _NO_TISSUE[0] or hu.min() >= _NO_TISSUE[1])
        if sure and header.encapsulated and header.transfer_syntax in _LOSSY and rescale[1] > 0:
            # Values closer to the padding value than to air or metal were padding before compression.
            below = hu.max() <= _NO_TISSUE[0]
            half = (((hu.max() + AIR) if below else (hu.min() + _NO_TISSUE[1])) / 2 - rescale[0]) / rescale[1]
            ends = np.array([limits.min, int(half)] if below else [int(half), limits.max])
        if ends[0] <= ends[1]:
            mask = (stored >= stored.dtype.type(ends[0])) & (stored <= stored.dtype.type(ends[1]))
            if not sure and mask.any():
                mask = _reaching_the_border(mask)
    return mask if mask is not None and mask.any() else None


def outside(values: np.ndarray) -> Optional[np.ndarray]:
    """Where HU have a value that means "outside the field of view"; None if nowhere."""
    if values.dtype.kind not in "if" or not values.size or not values.min() <= _LOWEST_HU:
        return None
    mask = np.isin(values, np.array(OUTSIDE_HU, values.dtype) if values.dtype.kind == "f" else OUTSIDE_HU)
    # A single voxel may be a metal artefact; outside the field of view there are whole corners of one value.
    count = int(np.count_nonzero(mask))
    return mask if count >= _SHARE * values.size and 2 * count >= np.count_nonzero(values <= _LOWEST_HU) else None


def as_air(values: np.ndarray, mask: Optional[np.ndarray]) -> np.ndarray:
    """The values with the masked voxels set to air."""
    if mask is None:
        return values
    if values.dtype.kind == "u" or (values.dtype.kind == "i" and values.dtype.itemsize < 2):
        values = values.astype(np.int32)
    return np.where(mask, values.dtype.type(AIR), values)


def padding_note(count: int) -> str:
    """The note about a number of padding voxels."""
    what = "1 voxel" if count == 1 else f"{count} voxels"
    return f"{what} marked as padding, or outside the scanner's field of view, set to {AIR} HU (air)"


def _range(header: DicomHeader, dtype: np.dtype) -> Tuple[int, int]:
    """The padding values in the type of the stored values, whatever the type of the header's field."""
    bits = dtype.itemsize * 8
    used = min(header.numbers["bits"] or bits, bits)

    def read(value: int) -> int:
        value &= (1 << bits) - 1
        if dtype.kind == "i":
            value = value - (1 << bits) if value >= 1 << (bits - 1) else value
            if not -(1 << (used - 1)) <= value < 1 << (used - 1):  # the highest used bit is the sign
                value &= (1 << used) - 1
                value = value - (1 << used) if value >= 1 << (used - 1) else value
            return value
        return value & ((1 << used) - 1)

    ends = sorted(read(value) for value in header.padding)
    return ends[0], ends[-1]


def _reaching_the_border(mask: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    named, count = ndimage.label(mask)
    if not count:
        return mask
    border = np.unique(np.concatenate([named[0], named[-1], named[:, 0], named[:, -1]]))
    return np.isin(named, border[border > 0])
