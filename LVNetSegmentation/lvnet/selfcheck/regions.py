"""The regions of a scan in which the network was unsure, which a person should look at first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
from scipy import ndimage

from ..boxes import Box, bounding_box, box_of_value
from ..orientation import Orientation, to_canonical
from ..preprocessing import Prepared
from ..resampling import Axis
from ..volume import Volume
from .confidence import DOUBTFUL, around, likely_organs

#: Doubt that is thinner than this is the blurred border that every organ has.
THICKNESS_MM = 7.0
#: Smaller regions are not worth a look.
LEAST_ML = 1.0
#: No more than these are listed, the largest first.
MOST_REGIONS = 20


@dataclass(frozen=True)
class DoubtfulRegion:
    """A connected region in which the network was unsure about an organ.

    Attributes:
        value: of the organ in the label map.
        volume_ml: of the region, at the network's voxel size.
        centre_mm: (x, y, z) of a voxel of the region, the one nearest to its centre of mass, LPS.
    """

    value: int
    volume_ml: float
    centre_mm: Tuple[float, float, float]

    def to_dict(self) -> Dict[str, Any]:
        """The region as a JSON object."""
        return {
            "value": self.value,
            "volume_ml": round(self.volume_ml, 2),
            "centre_lps_mm": [round(coordinate, 2) for coordinate in self.centre_mm],
        }


@dataclass(frozen=True, eq=False)
class DoubtfulRegions:
    """All doubtful regions of a result.

    Attributes:
        regions: the largest first.
        mask: (z, y, x) uint8 region numbers from 1 on the network's grid, 0 elsewhere.
        box: the position of `mask` in the whole network grid, three slices.
        axes: from the scan to the network's grid, along z, y and x.
        orientation: of the scan against the canonical axes.
    """

    regions: Tuple[DoubtfulRegion, ...]
    mask: np.ndarray
    box: Tuple[slice, slice, slice]
    axes: Tuple[Axis, Axis, Axis]
    orientation: Orientation

    def on_scan(self) -> Optional[Tuple[Box, np.ndarray]]:
        """The regions on the scan's own grid.

        Returns:
            The bounding box of all regions, and within it (z, y, x) uint8 region numbers from 1, 0 elsewhere.
            None if there is no region.
        """
        crop = bounding_box(self.mask)
        if crop is None:
            return None
        indices, sides = [], []
        for axis, box, side in zip(self.axes, self.box, crop):
            lower, share = axis.backward_neighbours()
            nearest = lower + (share > 0.5) - box.start
            within = np.flatnonzero((nearest >= side.start) & (nearest < side.stop))
            if not within.size:  # the scan's voxels are so coarse that none lies in the regions
                return None
            indices.append(nearest[within])
            sides.append(slice(int(within[0]), int(within[-1]) + 1))
        sizes = [axis.size for axis in self.axes]
        return self.orientation.undo_box(sides, sizes), self.orientation.undo(self.mask[np.ix_(*indices)])


def doubtful_regions(
    scan: Volume,
    prepared: Prepared,
    scores: np.ndarray,
    values: Tuple[int, ...],
    spacing: Tuple[float, float, float],
    best: Optional[np.ndarray] = None,
) -> DoubtfulRegions:
    """Finds the regions in which the network was unsure, in and around the largest piece of every organ.

    Thin layers of doubt are left out: the border of an organ is a little blurred everywhere.

    Args:
        scan: the scan that was segmented.
        prepared: the same on the network's grid.
        scores: (classes, z, y, x) float32 probabilities on the network's grid, background first.
        values: of the classes without background, in the order of `scores`.
        spacing: (z, y, x) mm between the voxels of `scores`.
        best: from :func:`~lvnet.selfcheck.likely_organs`, if it is known already.
    """
    best = likely_organs(scores) if best is None else best
    voxel_ml = float(np.prod(spacing)) / 1000.0
    thick = [max(1, round(THICKNESS_MM / step)) for step in spacing]
    found: List[Tuple[int, int, Tuple[slice, ...], np.ndarray]] = []
    for channel, value in enumerate(values, 1):
        box = box_of_value(best, channel)
        if box is None:
            continue
        near_box, reach = around(box, spacing)
        near = ndimage.maximum_filter((best[near_box] == channel).view(np.uint8), size=[2 * r + 1 for r in reach])
        p = scores[channel][near_box]
        doubt = (near > 0) & (p >= DOUBTFUL[0]) & (p <= DOUBTFUL[1])
        # Not binary_opening: it fails on arrays that are smaller than the structure.
        opened = ndimage.grey_opening(doubt.view(np.uint8), size=thick, mode="constant")
        labelled, count = ndimage.label(opened)
        sizes = np.bincount(labelled.ravel(), minlength=count + 1)
        numbers = (np.flatnonzero(sizes[1:] * voxel_ml >= LEAST_ML) + 1).tolist()
        found += [(int(sizes[number]), value, near_box, labelled == number) for number in numbers]
    # Of equal size, the first in the order of voxels comes first.
    found.sort(key=lambda entry: -entry[0])
    mask = np.zeros(best.shape, np.uint8)
    canonical = to_canonical(scan)[0]
    regions = []
    for number, (size, value, place, region) in enumerate(found[:MOST_REGIONS], 1):
        mask[place][region] = number
        voxels = np.argwhere(region)
        middle = voxels[np.square((voxels - voxels.mean(axis=0)) * spacing).sum(axis=1).argmin()]
        index = [side.start + int(step) for side, step in zip(place, middle)]
        regions.append(DoubtfulRegion(value, size * voxel_ml, _position(canonical, prepared, index)))
    return DoubtfulRegions(tuple(regions), mask, prepared.box, prepared.axes, prepared.orientation)


def _position(canonical: Volume, prepared: Prepared, index: List[int]) -> Tuple[float, float, float]:
    """(x, y, z) mm LPS of a voxel of the network's grid."""
    steps = [
        (box.start + place - (axis.new_size - 1) / 2) * axis.ratio + (axis.size - 1) / 2
        for place, box, axis in zip(index, prepared.box, prepared.axes)
    ]
    offset = np.array(steps[::-1]) * np.array(canonical.spacing[::-1])
    x, y, z = np.array(canonical.origin) + canonical.direction_matrix @ offset
    return float(x), float(y), float(z)
