"""Painting one slab of a patient, from the outside in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List

import numpy as np

from .fields import SmoothField
from .grid import Grid
from .liver import DIAPHRAGM, Liver
from .organs import Part, draw_abdomen, draw_heart, draw_retroperitoneum
from .scanner import Scanner
from .skeleton import paint_pelvis, paint_ribs, paint_spine
from .slab import Slab
from .tissue import AIR, Tissues
from .torso import Torso


@dataclass
class Patient:
    """All random properties of one patient, before any voxel is painted.

    Attributes:
        torso, tissues, liver: the random anatomy and its HU.
        heart, abdomen, retroperitoneum: parts painted before the diaphragm, before the liver, after it.
        bend: displacement that makes the symmetric shapes irregular (3 channels, mm).
        surface: roughness of organ surfaces (mm).
        shade: slow changes of brightness, from perfusion and beam hardening (HU).
        patches: uneven perfusion and fat in the liver (standard deviation 1).
        grain: fine structure of muscle, food, lung and fat (about -1 to 1).
    """

    torso: Torso
    tissues: Tissues
    liver: Liver
    heart: List[Part]
    abdomen: List[Part]
    retroperitoneum: List[Part]
    bend: SmoothField
    surface: SmoothField
    shade: SmoothField
    patches: SmoothField
    grain: SmoothField

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Patient:
        """A random patient."""
        torso = Torso.draw(rng)
        tissues = Tissues.draw(rng)
        liver = Liver.draw(rng, torso)
        return cls(
            torso=torso,
            tissues=tissues,
            liver=liver,
            heart=draw_heart(rng, torso, tissues),
            abdomen=draw_abdomen(rng, torso, tissues),
            retroperitoneum=draw_retroperitoneum(rng, torso, tissues, liver.hilum),
            bend=SmoothField(rng, 62.0, 14.0, channels=3),
            surface=SmoothField(rng, 24.0, 5.0),
            shade=SmoothField(rng, 45.0, 42.0),
            patches=SmoothField(rng, 26.0, 5.2),
            grain=SmoothField(rng, 9.0, 3.0),
        )

    def paint(self, grid: Grid, first: int, last: int, scanner: Scanner) -> Slab:
        """Slices `first` to `last` (exclusive) with brightness and label, before blur and noise."""
        z, y, x = grid.axes()
        z = z[first:last]
        slab = Slab(grid, first, last, self.bend.on(z, y, x), self.surface.on(z, y, x)[0], self.bend.bound)
        torso, tissues = self.torso, self.tissues
        grain, shade = self.grain.on(z, y, x)[0], self.shade.on(z, y, x)[0]

        scanner.paint_table(slab, torso)
        wall = self._paint_wall(slab, grain)
        above = torso.above_diaphragm(slab.x, slab.y, slab.z)
        contact = min(0.5 * slab.edge, DIAPHRAGM)
        abdomen = np.maximum(wall + 0.8, above + DIAPHRAGM) - contact
        chest = np.maximum(wall, -above)
        self._paint_chest(slab, chest, grain)
        for part in self.heart:
            self._paint_part(slab, part, chest, grain)
        # The diaphragm is a thin sheet of muscle, as bright as its neighbours.
        slab.paint(np.maximum(np.maximum(above, -above - 2.0 * DIAPHRAGM), wall), tissues.muscle)
        inside = np.maximum(wall, above + DIAPHRAGM)
        slab.paint(inside, tissues.fat + 12.0 * grain)
        for part in self.abdomen:
            self._paint_part(slab, part, abdomen, grain)
        self._paint_liver(slab, wall, above, grain, self.patches.on(z, y, x)[0])
        for part in self.retroperitoneum:
            self._paint_part(slab, part, abdomen, grain)
        paint_ribs(slab, torso, tissues, wall)
        paint_spine(slab, torso, tissues)
        paint_pelvis(slab, torso, tissues)
        slab.hu += np.where(slab.hu > -300.0, shade, np.float32(0.0))
        return slab

    def _paint_wall(self, slab: Slab, grain: np.ndarray) -> np.ndarray:
        """Paints skin, fat, muscle and the cavity's fat; returns the distance to the inner face of the wall."""
        torso, tissues = self.torso, self.tissues
        body = torso.body(slab.x, slab.y, slab.z)
        slab.paint(body, tissues.muscle - 35.0)
        slab.paint(body + torso.skin, tissues.fat)
        muscle = torso.muscle(slab.x, slab.y, slab.z) + slab.surface
        # Streaks of fat between the muscles, mostly in the back.
        streaks = np.clip(1.0 - np.abs(grain) * 5.0, 0.0, 1.0) * np.clip(slab.y / 110.0 - 0.2, 0.0, 0.6)
        slab.paint(muscle, tissues.muscle + 4.0 * grain - 60.0 * streaks)
        wall = torso.cavity(slab.x, slab.y, slab.z) + 0.4 * slab.surface
        slab.paint(wall, tissues.fat + 12.0 * grain)
        return wall

    def _paint_chest(self, slab: Slab, chest: np.ndarray, grain: np.ndarray) -> None:
        tissues = self.tissues
        vessels = np.clip(grain - 0.75, 0.0, 1.0) * 900.0
        lung = np.float32(tissues.lung) + 30.0 * grain + np.minimum(vessels, 700.0)
        # The mediastinum is left as fat; it widens towards the spine.
        x, y = slab.x - 6.0, slab.y
        middle = 24.0 + 12.0 * slab.surface / 5.0 - np.abs(x) + np.clip((y - 20.0) / 8.0, -4.0, 6.0)
        slab.paint(np.maximum(chest, middle), lung)

    def _paint_part(self, slab: Slab, part: Part, region: np.ndarray, grain: np.ndarray) -> None:
        window = slab.window(part.shape.low - part.film - 2.5, part.shape.high + part.film + 2.5)
        if window is None:
            return
        x, y, z = slab.x[window], slab.y[window], slab.z[window]
        distance = part.shape.distance(x, y, z) + part.bumps * slab.surface[window]
        if part.region != "any":
            distance = np.maximum(distance, region[window])
        if part.film:
            slab.paint(distance - part.film, self.tissues.fat + 10.0, window)
        slab.paint(distance, part.hu, window)
        slab.label[window] &= distance >= part.film
        if part.wall is not None:
            core = part.core + part.mottle * grain[window] if part.mottle else part.core
            slab.paint(distance + part.wall, core, window)
            if part.gas_above is not None:
                slab.paint(np.maximum(distance + part.wall, y - part.gas_above), AIR + 20.0, window)

    def _paint_liver(
        self, slab: Slab, wall: np.ndarray, above: np.ndarray, grain: np.ndarray, patches: np.ndarray
    ) -> None:
        liver, tissues = self.liver, self.tissues
        window = slab.window(liver.low, liver.high)
        if window is None:
            return
        x, y, z = slab.x[window], slab.y[window], slab.z[window]
        free, bounds = liver.distances(x, y, z, wall[window], above[window], self.torso)
        free += 0.8 * slab.surface[window]
        bounds = np.maximum(bounds, np.maximum(wall[window], above[window] + DIAPHRAGM))
        hu = tissues.liver + tissues.patchiness * patches[window] + 2.5 * grain[window]
        # Half a pixel over the wall, or the fat under both soft edges would show as a dark line.
        slab.paint(np.maximum(free, bounds - min(0.5 * slab.edge, DIAPHRAGM)), hu, window)
        slab.label[window] = np.maximum(free, bounds) < 0
        for lesion, core, rim in liver.lesions:
            self._paint_inside(slab, lesion, tissues.liver + rim, 0.6)
            self._paint_inside(slab, lesion, tissues.liver + core, 0.6, inset=2.5)
        for vessels, brightness in ((liver.portal, tissues.portal_vein), (liver.hepatic, tissues.hepatic_vein)):
            for vessel in vessels:
                self._paint_inside(slab, vessel, brightness, 0.0)

    @staticmethod
    def _paint_inside(slab: Slab, shape, hu: float, bumps: float, inset: float = 0.0) -> None:  # type: ignore[no-untyped-def]
        window = slab.window(shape.low - 3.0, shape.high + 3.0)
        if window is None:
            return
        distance = shape.distance(slab.x[window], slab.y[window], slab.z[window]) + inset
        if bumps:
            distance += bumps * slab.surface[window]
        slab.paint(np.where(slab.label[window], distance, np.float32(1e3)), hu, window)
