"""Voxels that stand for no value: what a file declares as padding, and what scanners write outside their field of view.

They are made air before slices are blended, filtered or looked at.  Padding that would be tissue (some programs declare
0, which is water in signed values) counts only where it reaches the border of the slice, as what lies outside a round
field of view does.
"""

from __future__ import annotations

from typing import Optional, Tuple

import numpy as np

from .dicom_header import DicomHeader
from .dicom_pixels import in_hu
from .voxels import AIR

#: HU that scanners and converters write where nothing was measured; no tissue, and no air, has them.
OUTSIDE_HU = (-2000, -2048, -3000, -3024, -3071, -3072, -4000, -4096, -8192, -9999, -10000, -32000, -32768)
_LOWEST_HU, _SHARE = -1500, 0.002
# HU of a padding value that can be nothing measured: below air, above metal on the usual scale.
_NO_TISSUE = (-900.0, 3072.0)
# Lossy codecs bring a value back only nearly.
_LOSSY = {f"1.2.840.10008.1.2.4.{end}" for end in (50, 51, 81, 91)}


def padded(header: DicomHeader, stored: np.ndarray, rescale: Tuple[float, float]) -> Optional[np.ndarray]:
    """Where a slice holds padding.

    Args:
        header: of the file.
        stored: (y, x) values as they are stored.
        rescale: intercept and slope of the slice.

    Returns:
        (y, x) bool, or None where there is none.
    """
    mask: Optional[np.ndarray] = None
    if header.padding:
        low, high = _range(header, stored.dtype)
        limits = np.iinfo(stored.dtype)
        ends = np.array([max(low, limits.min), min(high, limits.max)])
        hu = in_hu(ends.astype(np.int64), rescale).astype(float)
        sure = bool(hu.max() <= _NO_TISSUE[0] or hu.min() >= _NO_TISSUE[1])
        if sure and header.encapsulated and header.transfer_syntax in _LOSSY and rescale[1] > 0:
            # What is nearer to the padding than to air, or to metal, was padding before it was compressed.
            below = hu.max() <= _NO_TISSUE[0]
            half = (((hu.max() + AIR) if below else (hu.min() + _NO_TISSUE[1])) / 2 - rescale[0]) / rescale[1]
            ends = np.array([limits.min, int(half)] if below else [int(half), limits.max])
        if ends[0] <= ends[1]:
            mask = (stored >= stored.dtype.type(ends[0])) & (stored <= stored.dtype.type(ends[1]))
            if not sure and mask.any():
                mask = _reaching_the_border(mask)
    return mask if mask is not None and mask.any() else None


def outside(values: np.ndarray) -> Optional[np.ndarray]:
    """Where HU are those that stand for "outside the field of view"; None where nowhere."""
    if values.dtype.kind not in "if" or not values.size or not values.min() <= _LOWEST_HU:
        return None
    mask = np.isin(values, np.array(OUTSIDE_HU, values.dtype) if values.dtype.kind == "f" else OUTSIDE_HU)
    # A single voxel may be a streak of metal; a field of view leaves corners of one value.
    count = int(np.count_nonzero(mask))
    return mask if count >= _SHARE * values.size and 2 * count >= np.count_nonzero(values <= _LOWEST_HU) else None


def as_air(values: np.ndarray, mask: Optional[np.ndarray]) -> np.ndarray:
    """The values with air where the mask is."""
    if mask is None:
        return values
    if values.dtype.kind == "u" or (values.dtype.kind == "i" and values.dtype.itemsize < 2):
        values = values.astype(np.int32)
    return np.where(mask, values.dtype.type(AIR), values)


def padding_note(count: int) -> str:
    """What to say of so many voxels."""
    what = "1 voxel" if count == 1 else f"{count} voxels"
    return f"{what} marked as padding, or outside the scanner's field of view, set to {AIR} HU (air)"


def _range(header: DicomHeader, dtype: np.dtype) -> Tuple[int, int]:
    """The padding as numbers of the stored kind, whichever kind the header's field was written as."""
    bits = dtype.itemsize * 8
    used = min(header.numbers["bits"] or bits, bits)

    def read(value: int) -> int:
        value &= (1 << bits) - 1
        if dtype.kind == "i":
            value = value - (1 << bits) if value >= 1 << (bits - 1) else value
            if not -(1 << (used - 1)) <= value < 1 << (used - 1):  # the sign lies in the highest bit that is used
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
