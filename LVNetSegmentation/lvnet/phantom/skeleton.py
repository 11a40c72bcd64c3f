"""Ribs, breastbone, spine and pelvis, painted straight into a slab from periodic formulas."""

from __future__ import annotations

import numpy as np

from .slab import Slab
from .tissue import Tissues
from .torso import Torso

_VERTEBRA = 33.0
_DISC = 7.0


def paint_ribs(slab: Slab, torso: Torso, tissues: Tissues, wall: np.ndarray) -> None:
    """Ribs, their cartilage and the breastbone.

    Ribs are sheets that slope down towards the side and the front, cut out of the middle of the chest wall.

    Args:
        wall: (z, y, x) signed distance to the inner face of the wall.
    """
    x, y, z = slab.x, slab.y, slab.z
    lowest = -75.0 + 95.0 * (0.5 * (1.0 - y / torso.half_depth)) ** 2 + torso.dome_top - 83.0
    along = z - torso.rib_tilt * y + 0.32 * np.abs(x) + torso.rib_phase
    step = (along / torso.rib_pitch - np.floor(along / torso.rib_pitch) - 0.5) * torso.rib_pitch * 0.87
    across = wall - 0.27 * torso.wall_side
    rib = (np.sqrt((across / 3.2) ** 2 + (step / 5.8) ** 2) - 1.0) * 4.0
    rib = np.maximum(rib, lowest - z)
    bony = y > -0.62 * torso.half_depth
    hard = np.where(bony, np.float32(tissues.compact_bone), np.float32(105.0))
    slab.paint(rib, hard)
    slab.paint(rib + 2.0, np.where(bony, np.float32(tissues.spongiosa), np.float32(95.0)))
    front = -torso.half_depth - 0.5 * torso.wall_front
    plate = np.sqrt((x / 17.0) ** 2 + ((y - front * torso.taper(z)) / 6.0) ** 2) * 6.0 - 6.0
    plate = np.maximum(plate, torso.dome_top - 60.0 - z)
    slab.paint(plate, 0.7 * tissues.compact_bone)
    slab.paint(plate + 2.5, tissues.spongiosa)


def paint_spine(slab: Slab, torso: Torso, tissues: Tissues) -> None:
    """Vertebral bodies with discs, arches around the canal, transverse and spinous processes."""
    low, high = np.array([-55.0, torso.spine_y - 30.0, -1e4]), np.array([55.0, torso.body_back, 1e4])
    window = slab.window(low, high)
    if window is None:
        return
    x, y, z = slab.x[window], slab.y[window] - torso.spine_y, slab.z[window]
    along = (z + torso.disc_phase) / _VERTEBRA
    height = (along - np.floor(along) - 0.5) * _VERTEBRA
    disc = 0.5 * (_VERTEBRA - _DISC) - np.abs(height)
    body = np.sqrt((x / 21.0) ** 2 + (y / 16.5) ** 2) * 18.0 - 18.0
    slab.paint(body, tissues.muscle + 25.0, window)
    bone = np.maximum(body, -disc)
    slab.paint(bone, 0.75 * tissues.compact_bone, window)
    slab.paint(bone + 2.2, tissues.spongiosa, window)
    canal = np.sqrt(x * x + (y - 26.0) ** 2) - 9.0
    arch = np.maximum(canal - 5.5, np.abs(height + 3.0) - 11.0)
    side = np.sqrt(((np.abs(x) - 27.0) / 17.0) ** 2 + ((y - 26.0) / 5.0) ** 2 + ((height - 2.0) / 6.0) ** 2) * 6.0 - 6.0
    spine = np.sqrt((x / 4.0) ** 2 + ((y - 43.0) / 13.0) ** 2 + ((height + 6.0) / 8.0) ** 2) * 5.0 - 5.0
    slab.paint(np.minimum(np.minimum(arch, side), spine), 0.7 * tissues.compact_bone, window)
    slab.paint(canal, 18.0, window)


def paint_pelvis(slab: Slab, torso: Torso, tissues: Tissues) -> None:
    """The iliac wings and the sacrum, if the scan extends that far down."""
    crest = torso.dome_top - 305.0
    reach = torso.body_half_width
    window = slab.window(np.array([-reach, -40.0, crest - 400.0]), np.array([reach, torso.body_back, crest]))
    if window is None:
        return
    x, y, z = slab.x[window], slab.y[window], slab.z[window]
    under = crest - z
    # A thin bowl that opens to the front and narrows downwards.
    wing = np.abs(np.sqrt(x * x + (0.9 * (y - 10.0)) ** 2) - (0.86 * torso.half_width - 0.22 * under)) - 4.5
    wing = np.maximum(np.maximum(wing, -under + 0.003 * (y - 30.0) ** 2), np.abs(y - 30.0) - 52.0)
    slab.paint(wing, 0.8 * tissues.compact_bone, window)
    slab.paint(wing + 2.0, tissues.spongiosa, window)
