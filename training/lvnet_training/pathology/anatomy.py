"""The data that a pathology changes: the HU of a scan or patch, and the fraction of each voxel that is the organ."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional, Sequence, Tuple

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F  # noqa: N812

# Air has HU below the first; but scans that were clipped to a window have a minimum of -200, -160 or -128 HU, and
# there everything close to the minimum is air.
_AIR_BELOW, _HIGHEST_AIR, _ABOVE_FLOOR = -170.0, -118.0, 6.0
#: Above this a voxel is bone, metal or dense contrast agent, which no mass or fluid replaces.
DENSE_ABOVE = 220.0
#: HU range of fat; voxels with partial volume of fat and soft tissue lie in between.
FAT_BELOW = -20.0


@dataclass
class Anatomy:
    """A scan or patch that is being changed, in canonical orientation: z up, y to the back, x to the left.

    Attributes:
        hu: (z, y, x) float32.
        organ: (z, y, x) float32, fraction of the voxel that is the organ, 0 to 1.
        spacing: (z, y, x) mm.
        made: (z, y, x) float32, fraction of the voxel that is synthetic and not the organ.
        air_below: HU up to which a voxel is air.
    """

    hu: np.ndarray
    organ: np.ndarray
    spacing: Tuple[float, float, float]
    made: np.ndarray = field(init=False)
    air_below: float = field(init=False)
    _distance: Optional[np.ndarray] = field(default=None, init=False)
    _body: Optional[np.ndarray] = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.hu = self.hu.astype(np.float32, copy=True)
        self.organ = self.organ.astype(np.float32, copy=True)
        self.made = np.zeros(self.hu.shape, np.float32)
        self.air_below = float(np.clip(self.hu.min() + _ABOVE_FLOOR, _AIR_BELOW, _HIGHEST_AIR))

    @property
    def has_organ(self) -> bool:
        """Whether any voxel is mostly the organ."""
        return bool((self.organ > 0.5).any())

    @property
    def distance(self) -> np.ndarray:
        """(z, y, x) mm to the organ's surface, negative inside; a large distance if there is no organ."""
        if self._distance is None:
            inside = self.organ > 0.5
            if not inside.any():
                self._distance = np.full(self.hu.shape, 1e3, np.float32)
            else:
                out = ndimage.distance_transform_edt(~inside, sampling=self.spacing)
                within = ndimage.distance_transform_edt(inside, sampling=self.spacing)
                half = 0.5 * min(self.spacing)
                self._distance = np.where(inside, half - within, out - half).astype(np.float32)
        return self._distance

    @property
    def body(self) -> np.ndarray:
        """(z, y, x) bool: the body, including the air that it encloses in an axial slice."""
        if self._body is None:
            solid = self.hu > self.air_below
            self._body = np.stack([_filled(plane) for plane in solid])
        return self._body

    @property
    def depth(self) -> np.ndarray:
        """(z, y, x) in-plane depth in mm below the skin; 0 outside the body."""
        return np.stack([ndimage.distance_transform_edt(plane, sampling=self.spacing[1:]) for plane in self.body])

    @property
    def enclosed_air(self) -> np.ndarray:
        """(z, y, x) bool: lung and bowel gas, where it is enclosed by the body in the slice."""
        return self.body & (self.hu <= self.air_below)

    def noise_level(self) -> float:
        """Standard deviation of the noise in HU, from neighbours in soft tissue; robust to edges."""
        soft = (self.hu[:, :, :-2] > -150) & (self.hu[:, :, :-2] < 200)
        second = self.hu[:, :, :-2] - 2 * self.hu[:, :, 1:-1] + self.hu[:, :, 2:]
        values = second[soft]
        if values.size < 100:
            return 0.0
        return float(np.median(np.abs(values[:: max(1, values.size // 20_000)])) / 0.6745 / np.sqrt(6.0))

    def texture(self, rng: np.random.Generator, amplitude: float, pitch_mm: float) -> np.ndarray:
        """Texture for painted structures: slow variation of `amplitude` HU plus the scan's own noise."""
        noise = rng.standard_normal(self.hu.shape, dtype=np.float32) * np.float32(self.noise_level())
        return amplitude * smooth_field(rng, self.hu.shape, self.spacing, pitch_mm) + noise

    def paint(self, share: np.ndarray, values: np.ndarray, organ: Optional[bool] = None) -> None:
        """Replaces a fraction of every voxel.

        Args:
            share: (z, y, x) 0 to 1.
            values: the new HU, an array or a number.
            organ: whether the new part belongs to the organ; None leaves the organ unchanged.
        """
        self.hu += share * (values - self.hu)
        if organ is None:
            return
        target = np.float32(1.0 if organ else 0.0)
        self.organ += share * (target - self.organ)
        if not organ:
            self.made = np.maximum(self.made, share)
        self._distance = None
        self._body = None


def smooth_field(
    rng: np.random.Generator, shape: Sequence[int], spacing: Sequence[float], pitch_mm: float
) -> np.ndarray:
    """(z, y, x) float32 random field of standard deviation about 1 with features about `pitch_mm` apart."""
    knots = [max(2, int(np.ceil(n * s / pitch_mm)) + 1) for n, s in zip(shape, spacing)]
    coarse = torch.from_numpy(rng.standard_normal((1, 1, *knots), dtype=np.float32))
    # Interpolation between the knots reduces the deviation: the factor 1.5 restores it to about 1.
    return 1.5 * F.interpolate(coarse, size=tuple(shape), mode="trilinear", align_corners=True)[0, 0].numpy()


def coordinates(
    shape: Sequence[int], spacing: Sequence[float], centre: Sequence[float]
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances in mm from a voxel along z, y and x, for broadcasting."""
    axes = [(np.arange(n, dtype=np.float32) - c) * np.float32(s) for n, s, c in zip(shape, spacing, centre)]
    return axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :]


def _filled(solid: np.ndarray) -> np.ndarray:
    """The largest component of a slice, without small ones such as the table, with its holes filled."""
    pieces, count = ndimage.label(solid)
    if count == 0:
        return solid
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray(ndimage.binary_fill_holes(pieces == sizes.argmax()))
