"""From a scan to normalised voxels on the network's grid, and back.

Slice-spacing policy.  The paper has none: 16 slices of 0.7 mm cover 11 mm, 16 of 5 mm cover 80 mm, so
that the same organ has a different height in voxels from scan to scan.  A recipe with `slice_spacing`
and `in_plane_spacing` resamples every scan to one voxel size instead, so that an organ always has the
same scale, cropping a scan changes nothing, and thin slices cost no more than thick ones.  Finer
voxels are averaged (a triangle filter as wide as the new voxel), coarser ones interpolated linearly;
the probabilities are interpolated back linearly, before the threshold, so that borders are smooth at
full resolution.  A recipe without spacings does what the paper does: 256 x 256 pixels whatever the
field of view, on the scan's own slices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Iterator, Optional, Tuple

import numpy as np

from .errors import GeometryError
from .orientation import Orientation, to_canonical
from .progress import CancelCheck, never_cancelled, raise_if_cancelled
from .recipe import Preprocessing
from .resampling import Axis
from .volume import Volume

#: Most voxels on the network's grid (2 GB): a whole body at 2.5 x 2.5 x 4 mm has a twentieth of it.  A recipe with
#: finer voxels may exceed it with a scan that is no larger than a person.
MOST_VOXELS = 2**29
# Voxels windowed and resampled at once: bounds the float copies of a scan.
_CHUNK_VOXELS = 8_000_000
# HU above the window's floor from which a voxel counts as body rather than air.
_BODY_ABOVE_FLOOR = 10.0
# Share of a row of voxels that has to be body for the row to count; thin tables do not.
_BODY_SHARE = 0.02
_BODY_MARGIN = 3


@dataclass(frozen=True, eq=False)
class Prepared:
    """A scan on the network's grid, and what is needed for the way back.

    Attributes:
        array: (z, y, x) float32, normalised; only the bounding box of the body.
        box: the position of `array` on the whole network grid, three slices.
        axes: the resampling along z, y and x.
        orientation: of the scan relative to the canonical axes.
    """

    array: np.ndarray
    box: Tuple[slice, slice, slice]
    axes: Tuple[Axis, Axis, Axis]
    orientation: Orientation

    def restore(self, values: np.ndarray) -> Iterator[Tuple[int, np.ndarray]]:
        """Resamples values on the network's grid back to the canonical grid of the scan.

        Args:
            values: (channels, z, y, x) float32 over `box`.

        Yields:
            The number of each canonical slice and its values, (channels, y, x) float32, which are zero
            in slices outside the box.
        """
        z_axis, y_axis, x_axis = self.axes
        z_box, y_box, x_box = self.box
        to_y = y_axis.backward()[:, y_box]
        to_x = np.ascontiguousarray(x_axis.backward()[:, x_box].T)
        lower, share = z_axis.backward_neighbours()
        planes: dict[int, np.ndarray] = {}

        def plane(index: int) -> Optional[np.ndarray]:
            if not z_box.start <= index < z_box.stop:
                return None
            if index not in planes:
                for old in [key for key in planes if key < index - 1]:
                    del planes[old]
                planes[index] = np.matmul(np.matmul(to_y, values[:, index - z_box.start]), to_x)
            return planes[index]

        for z in range(z_axis.size):
            out = np.zeros((values.shape[0], y_axis.size, x_axis.size), np.float32)
            for index, weight in ((int(lower[z]), 1 - share[z]), (int(lower[z]) + 1, share[z])):
                source = plane(index) if weight > 0 else None
                if source is not None:
                    out += np.float32(weight) * source
            yield z, out


def normalise(array: np.ndarray, settings: Preprocessing) -> np.ndarray:
    """Clips HU to the window and normalises them to zero mean and unit variance.

    Args:
        array: HU, any shape.
        settings: `mean` and `std` None take those of `array` after windowing (the paper).

    Returns:
        float32 of the same shape.
    """
    windowed = np.clip(array, *settings.window).astype(np.float32)
    mean = float(windowed.mean()) if settings.mean is None else settings.mean
    std = float(windowed.std()) if settings.std is None else settings.std
    windowed -= np.float32(mean)
    windowed /= np.float32(std if std > 1e-6 else 1.0)
    return windowed


def network_axes(volume: Volume, settings: Preprocessing) -> Tuple[Axis, Axis, Axis]:
    """The resampling of a canonical volume along z, y and x that a recipe specifies."""
    depth, height, width = volume.shape
    z = Axis.keeping(depth) if settings.slice_spacing is None else Axis.of_spacing(
        depth, volume.spacing[0], settings.slice_spacing)  # fmt: skip
    if settings.in_plane_spacing is None:
        return z, Axis(height, settings.in_plane_size[0]), Axis(width, settings.in_plane_size[1])
    y = Axis.of_spacing(height, volume.spacing[1], settings.in_plane_spacing[0])
    x = Axis.of_spacing(width, volume.spacing[2], settings.in_plane_spacing[1])
    return z, y, x


def prepare(volume: Volume, settings: Preprocessing, cancelled: CancelCheck = never_cancelled) -> Prepared:
    """Converts a scan to the network's orientation, voxel size, window and normalisation.

    Args:
        volume: the scan in HU, any orientation.
        settings: from the checkpoint's recipe.

    Raises:
        GeometryError: the scan is larger than any patient.
        Cancelled: `cancelled` returned True.
    """
    canonical, orientation = to_canonical(volume)
    axes = network_axes(canonical, settings)
    if math.prod(axis.new_size for axis in axes) > MOST_VOXELS:
        extent = " x ".join(f"{step * size:.3g}" for step, size in zip(volume.spacing, volume.shape))
        raise GeometryError(f"a scan of {extent} mm is larger than any patient; correct its voxel spacing")
    resampled = _resample(canonical.array, axes, settings, cancelled)
    box = body_box(resampled, settings.window[0])
    # The paper normalises by mean and variance of the whole scan, not of the box.
    array = normalise(resampled, settings)[box]
    return Prepared(np.ascontiguousarray(array), box, axes, orientation)


def _resample(
    array: np.ndarray, axes: Tuple[Axis, Axis, Axis], settings: Preprocessing, cancelled: CancelCheck
) -> np.ndarray:
    """Windowed float32 on the network's grid, from a few slices at a time."""
    z_axis, y_axis, x_axis = axes
    to_z, to_y, to_x = z_axis.forward(), y_axis.forward(), np.ascontiguousarray(x_axis.forward().T)
    out = np.zeros((z_axis.new_size, y_axis.new_size * x_axis.new_size), np.float32)
    step = max(1, _CHUNK_VOXELS // (y_axis.size * x_axis.size))
    for start in range(0, z_axis.size, step):
        raise_if_cancelled(cancelled)
        stop = min(start + step, z_axis.size)
        # Clip before resampling: bone, metal and air outside the window must not bleed into their neighbours.
        planes = np.clip(array[start:stop], *settings.window).astype(np.float32)
        planes = np.matmul(to_y, np.matmul(planes, to_x))
        rows = np.flatnonzero(to_z[:, start:stop].any(axis=1))
        if len(rows):
            span = slice(rows[0], rows[-1] + 1)
            out[span] += to_z[span, start:stop] @ planes.reshape(stop - start, -1)
    return out.reshape(z_axis.new_size, y_axis.new_size, x_axis.new_size)


def body_box(windowed: np.ndarray, floor: float) -> Tuple[slice, slice, slice]:
    """The in-plane bounding box of the body over all slices, without air and table.

    Args:
        windowed: (z, y, x) HU.
        floor: lowest HU of the window.

    Returns:
        Three slices; the whole array where no body is found.
    """
    body = windowed > floor + _BODY_ABOVE_FLOOR
    slices = [slice(0, windowed.shape[0])]
    for axis in (1, 2):
        # Fraction of body voxels in each row, as the maximum over all slices: a row counts if it does in any slice.
        share = body.mean(axis=3 - axis).max(axis=0)
        rows = np.flatnonzero(share > _BODY_SHARE)
        if len(rows) == 0:
            return (slices[0], slice(0, windowed.shape[1]), slice(0, windowed.shape[2]))
        low = max(0, int(rows[0]) - _BODY_MARGIN)
        high = min(windowed.shape[axis], int(rows[-1]) + 1 + _BODY_MARGIN)
        slices.append(slice(low, high))
    return (slices[0], slices[1], slices[2])
