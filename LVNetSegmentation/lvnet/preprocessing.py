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

from .boxes import Box
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

    def reach(self, part: Box) -> Box:
        """The box of canonical voxels of the scan whose values depend on a part of `array`."""
        sides = []
        for axis, side, inner in zip(self.axes, self.box, part):
            lower, _ = axis.backward_neighbours()
            touched = (lower + 1 >= side.start + inner.start) & (lower < side.start + inner.stop)
            places = np.flatnonzero(touched)
            sides.append(slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0))
        return sides[0], sides[1], sides[2]

    def restore(self, values: np.ndarray, within: Optional[Box] = None) -> Iterator[Tuple[int, np.ndarray]]:
        """Resamples values on the network's grid back to the canonical grid of the scan.

        Args:
            values: (channels, z, y, x) float32 over `box`.
            within: only these voxels of the canonical scan; None: all.

        Yields:
            The number of each canonical slice and its values, (channels, y, x) float32, which are zero
            outside the box.
        """
        z_side, y_side, x_side = within or tuple(slice(0, axis.size) for axis in self.axes)
        z_axis, z_box = self.axes[0], self.box[0]
        to_y, rows = _weights(self.axes[1], y_side, self.box[1])
        to_x, columns = _weights(self.axes[2], x_side, self.box[2])
        to_x = np.ascontiguousarray(to_x.T)
        lower, share = z_axis.backward_neighbours()
        planes: dict[int, np.ndarray] = {}

        def plane(index: int) -> Optional[np.ndarray]:
            if not z_box.start <= index < z_box.stop:
                return None
            if index not in planes:
                for old in [key for key in planes if key < index - 1]:
                    del planes[old]
                planes[index] = np.matmul(np.matmul(to_y, values[:, index - z_box.start, rows, columns]), to_x)
            return planes[index]

        for z in range(z_side.start, z_side.stop):
            out = np.zeros((values.shape[0], to_y.shape[0], to_x.shape[1]), np.float32)
            for index, weight in ((int(lower[z]), 1 - share[z]), (int(lower[z]) + 1, share[z])):
                source = plane(index) if weight > 0 else None
                if source is not None:
                    out += np.float32(weight) * source
            yield z, out


def _weights(axis: Axis, side: slice, box: slice) -> Tuple[np.ndarray, slice]:
    """What brings values over `box` back to the voxels `side` of the scan, and which of the values it takes."""
    lower, _ = axis.backward_neighbours()
    lower = lower[side]
    first = max(box.start, int(lower.min(initial=box.stop)))
    last = max(first, min(box.stop, int(lower.max(initial=0)) + 2))
    return axis.backward()[side, first:last], slice(first - box.start, last - box.start)


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


def prepare(
    volume: Volume,
    settings: Preprocessing,
    cancelled: CancelCheck = never_cancelled,
    slices: Optional[slice] = None,
    multiple: int = 1,
) -> Prepared:
    """Converts a scan to the network's orientation, voxel size, window and normalisation.

    Args:
        volume: the scan in HU, any orientation.
        settings: from the checkpoint's recipe.
        cancelled: asked every few slices.
        slices: only these of the network's grid, where `settings` names mean and std; None: all.
        multiple: the sides of the body's box begin and end at multiples of this on the network's grid, or where that
            ends: what a network that halves its voxels answers depends on where it begins.

    Raises:
        GeometryError: the scan is larger than any patient.
        Cancelled: `cancelled` returned True.
    """
    canonical, orientation = to_canonical(volume)
    axes = network_axes(canonical, settings)
    if math.prod(axis.new_size for axis in axes) > MOST_VOXELS:
        extent = " x ".join(f"{step * size:.3g}" for step, size in zip(volume.spacing, volume.shape))
        raise GeometryError(f"a scan of {extent} mm is larger than any patient; correct its voxel spacing")
    first, last = (0, axes[0].new_size) if slices is None else (slices.start, slices.stop)
    resampled = _resample(canonical.array, axes, slice(first, last), settings, cancelled)
    box = body_box(resampled, settings.window[0], multiple)
    # The paper normalises by mean and variance of the whole scan, not of the box.
    array = normalise(resampled, settings)[box]
    return Prepared(np.ascontiguousarray(array), (slice(first, last), box[1], box[2]), axes, orientation)


def _resample(
    array: np.ndarray, axes: Tuple[Axis, Axis, Axis], slices: slice, settings: Preprocessing, cancelled: CancelCheck
) -> np.ndarray:
    """Windowed float32 on slices of the network's grid, from a few of the scan's slices at a time."""
    z_axis, y_axis, x_axis = axes
    to_z, to_y, to_x = z_axis.forward()[slices], y_axis.forward(), np.ascontiguousarray(x_axis.forward().T)
    out = np.zeros((len(to_z), y_axis.new_size * x_axis.new_size), np.float32)
    step = max(1, _CHUNK_VOXELS // (y_axis.size * x_axis.size))
    for start in range(0, z_axis.size, step):
        raise_if_cancelled(cancelled)
        stop = min(start + step, z_axis.size)
        rows = np.flatnonzero(to_z[:, start:stop].any(axis=1))
        if not len(rows):
            continue
        # Clip before resampling: bone, metal and air outside the window must not bleed into their neighbours.
        planes = array[start:stop].astype(np.float32)
        np.clip(planes, *settings.window, out=planes)
        planes = np.matmul(to_y, np.matmul(planes, to_x))
        span = slice(rows[0], rows[-1] + 1)
        out[span] += to_z[span, start:stop] @ planes.reshape(stop - start, -1)
    return out.reshape(-1, y_axis.new_size, x_axis.new_size)


def body_box(windowed: np.ndarray, floor: float, multiple: int = 1) -> Tuple[slice, slice, slice]:
    """The in-plane bounding box of the body over all slices, without air and table.

    Args:
        windowed: (z, y, x) HU.
        floor: lowest HU of the window.
        multiple: of which the sides begin and end at multiples, see :func:`prepare`.

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
        low, high = int(rows[0]) - _BODY_MARGIN, int(rows[-1]) + 1 + _BODY_MARGIN
        slices.append(aligned(slice(low, high), multiple, windowed.shape[axis]))
    return (slices[0], slices[1], slices[2])


def aligned(side: slice, multiple: int, size: int) -> slice:
    """The smallest side around another that begins and ends at multiples of a number, or at an end of 0 to `size`."""
    low, high = max(0, side.start // multiple * multiple), min(size, -(-side.stop // multiple) * multiple)
    return slice(low, high)
