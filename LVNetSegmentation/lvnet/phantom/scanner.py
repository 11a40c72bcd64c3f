"""Effects of the scanner: table, kernel, noise, padding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .slab import Slab
from .torso import Torso

_LOWEST, _HIGHEST = -1024.0, 3071.0


@dataclass(frozen=True)
class Scanner:
    """One scanner with its settings.

    Attributes:
        blur: sigma of the reconstruction kernel in mm.
        noise: standard deviation in the middle of the body in HU, for voxels of 1.75 mm.
        grain: sigma of the noise's correlation in mm.
        sharpness: 0 to 1, how much of the noise's low frequencies a sharp kernel removes.
        memory: correlation of the noise in neighbouring slices.
        circle: whether only the circular field of view was reconstructed.
        padding: HU outside that circle.
        table_gap, table_shell: gap between back and table in mm; HU of the table's shell.
    """

    blur: float
    noise: float
    grain: float
    sharpness: float
    memory: float
    circle: bool
    padding: int
    table_gap: float
    table_shell: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Scanner:
        """Random settings, from smooth thick slices to sharp noisy ones."""
        return cls(
            blur=rng.uniform(0.5, 1.1),
            noise=rng.uniform(11.0, 20.0),
            grain=rng.uniform(0.9, 1.6),
            sharpness=rng.uniform(0.0, 0.8),
            memory=rng.uniform(0.1, 0.5),
            circle=bool(rng.random() < 0.8),
            padding=int(rng.choice((-1024, -1024, -1024, -2000, -2048, -3024))),
            table_gap=rng.uniform(0.0, 9.0),
            table_shell=rng.uniform(-350.0, 150.0),
        )

    def paint_table(self, slab: Slab, torso: Torso) -> None:
        """A curved shell filled with foam under the back; it does not bend with the patient."""
        x, top = slab.still_x, torso.body_back + self.table_gap
        depth = slab.still_y - (top - 0.0007 * x * x)
        plank = np.maximum(np.abs(depth - 20.0) - 20.0, np.abs(x) - 215.0)
        slab.paint(plank, self.table_shell)
        slab.paint(plank + 3.5, -930.0)

    def expose(self, slices: np.ndarray, rng: np.random.Generator, last: np.ndarray, pixel: float) -> np.ndarray:
        """Blurs slices and adds noise, in place.

        Args:
            slices: (z, y, x) float32 HU.
            rng: source of the noise; drawn slice by slice, so that the depth of slabs does not matter.
            last: (y, x) noise of the previous slice, which is updated.
            pixel: in-plane spacing in mm.
        """
        rows, columns = slices.shape[1:]
        v, u = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j].astype(np.float32)
        # Rays through the middle of the body are attenuated most; larger voxels average the noise.
        strength = self.noise * min(1.0, (1.75 / pixel) ** 0.4) * (1.1 - 0.45 * (u * u + v * v))
        fresh = np.float32(np.sqrt(1.0 - self.memory**2))
        for image in slices:
            white = rng.standard_normal((rows, columns), dtype=np.float32)
            grain = ndimage.gaussian_filter(white, self.grain / pixel, mode="wrap", truncate=3.0)
            if self.sharpness > 0:
                grain -= np.float32(self.sharpness) * ndimage.uniform_filter(grain, 7, mode="wrap")
            grain /= grain.std() + 1e-6
            last *= np.float32(self.memory)
            last += fresh * grain
            ndimage.gaussian_filter(image, self.blur / pixel, output=image, mode="nearest", truncate=3.0)
            image += strength * last
        return slices

    def digitise(self, slices: np.ndarray) -> np.ndarray:
        """int16 HU within a scanner's range, padded outside the field of view."""
        stored = np.rint(np.clip(slices, _LOWEST, _HIGHEST)).astype(np.int16)
        if self.circle:
            rows, columns = slices.shape[1:]
            v, u = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
            stored[:, u * u + v * v > 1.0] = self.padding
        return stored
