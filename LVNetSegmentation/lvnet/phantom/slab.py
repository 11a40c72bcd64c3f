"""A few slices being painted: coordinates, brightness and label, and the painting operation."""

from __future__ import annotations

from typing import Optional, Tuple, Union

import numpy as np

from .grid import Grid

Window = Tuple[slice, slice, slice]
_ALL: Window = (slice(None), slice(None), slice(None))


class Slab:
    """Slices `first` to `last` (exclusive) of a grid.

    Attributes:
        x, y, z: (z, y, x) float32 patient coordinates of every voxel in mm, deformed.
        still_x, still_y: the same without deformation, for structures that do not deform with the patient.
        surface: (z, y, x) noise in mm that roughens organ surfaces.
        hu: (z, y, x) float32, the image being painted.
        label: (z, y, x) bool, the liver.
    """

    def __init__(self, grid: Grid, first: int, last: int, bend: np.ndarray, surface: np.ndarray, reach: float) -> None:
        """
        Args:
            bend: (3, z, y, x) displacement in mm.
            reach: its largest absolute value.
        """
        z, y, x = (axis.astype(np.float32) for axis in grid.axes())
        z = z[first:last]
        still = []
        for row, centre in zip(grid.turn.astype(np.float32), grid.centre):
            place = row[0] * x[None, None, :] + row[1] * y[None, :, None]
            still.append(place + (row[2] * z[:, None, None] + np.float32(centre)))
        self.still_x, self.still_y = still[0], still[1]
        self.x, self.y, self.z = (still[k] + bend[k] for k in range(3))
        self.surface = surface
        self.hu = np.full(self.x.shape, -1000.0, dtype=np.float32)
        self.label = np.zeros(self.x.shape, dtype=bool)
        self._grid, self._first, self._reach = grid, first, reach
        #: Soft edges simulate the partial volume effect: half a pixel on either side.
        self.edge = float(min(grid.spacing[1], grid.spacing[2]))

    def window(self, low: np.ndarray, high: np.ndarray) -> Optional[Window]:
        """The part of the slab that intersects a box in patient coordinates; None if empty.

        Args:
            low, high: opposite corners, (x, y, z) in mm.
        """
        turn = self._grid.turn
        middle = turn.T @ (0.5 * (low + high) - self._grid.centre)
        half = np.abs(turn.T) @ (0.5 * (high - low) + self._reach) + self.edge
        cuts = []
        offsets = (self._first, 0, 0)
        for axis in range(3):
            spacing, count = self._grid.spacing[axis], self._grid.shape[axis]
            start = (middle[2 - axis] - half[2 - axis]) / spacing + 0.5 * (count - 1) - offsets[axis]
            stop = (middle[2 - axis] + half[2 - axis]) / spacing + 0.5 * (count - 1) - offsets[axis]
            begin, end = max(0, int(np.ceil(start))), min(self.hu.shape[axis], int(np.floor(stop)) + 1)
            if begin >= end:
                return None
            cuts.append(slice(begin, end))
        return cuts[0], cuts[1], cuts[2]

    def paint(self, distance: np.ndarray, hu: Union[float, np.ndarray], window: Window = _ALL) -> None:
        """Paints `hu` where `distance` is negative, with a soft edge of one pixel.

        Args:
            distance: signed distance in mm on the window.
            hu: one brightness, or one for every voxel of the window.
        """
        cover = np.clip(0.5 - distance * np.float32(1.0 / self.edge), 0.0, 1.0)
        target = self.hu[window]
        target += cover * (hu - target)
