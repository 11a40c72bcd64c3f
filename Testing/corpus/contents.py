"""Valid scans of something other than an abdominal CT.

These run with the bundled weights, since their results are what is tested.  An empty result is valid.
"""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Optional, Tuple

import numpy as np

from .case import BUNDLED, Handled, Kind, Made
from .headers import nrrd, write
from .scans import scan

CASES = Kind("contents")
# One slab of the network.
_SHAPE, _SPACING = (10, 40, 40), (6.0, 7.0, 7.0)


def _ellipse(radii: Tuple[float, float], centre: Tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """(y, x) mask of an ellipse, in mm from the centre of the slice."""
    y, x = ((np.arange(40) - 19.5) * 7.0 for _ in range(2))
    return ((y[:, None] - centre[0]) / radii[0]) ** 2 + ((x[None, :] - centre[1]) / radii[1]) ** 2 <= 1


def _noisy(plane: np.ndarray, sigma: float = 12.0) -> np.ndarray:
    """(z, y, x) int16: the plane in every slice, with the same noise in every run."""
    noise = np.random.default_rng(4).normal(0.0, sigma, (_SHAPE[0], *plane.shape))
    return np.clip(plane[None] + noise, -1024, 32767).astype(np.int16)


def _abdomen() -> np.ndarray:
    """Fat, muscle, a spine and one large organ on the right, in HU."""
    plane = np.full(_SHAPE[1:], -1000.0)
    plane[_ellipse((105, 135))] = -100
    plane[_ellipse((92, 122))] = 45
    plane[_ellipse((60, 60), (-20, -50))] = 110
    plane[_ellipse((25, 25), (70, 0))] = 400
    return plane


def _add(
    name: str, title: str, make: Callable[[], np.ndarray], answer: Handled, in_slicer: Optional[Handled] = None
) -> None:
    def maker(folder: Path) -> Made:
        truth = scan(make(), spacing=_SPACING)
        return Made(write(folder / "ct.nrrd", nrrd(truth)), truth)

    CASES.case(title, answer, name=name, weights=BUNDLED, in_slicer=in_slicer or answer)(maker)


def _head() -> np.ndarray:
    plane = np.full(_SHAPE[1:], -1000.0)
    plane[_ellipse((90, 72))] = 60
    plane[_ellipse((85, 67))] = 900
    plane[_ellipse((78, 60))] = 35
    return _noisy(plane)


def _leg() -> np.ndarray:
    plane = np.full(_SHAPE[1:], -1000.0)
    for side in (-70, 70):
        plane[_ellipse((66, 66), (0, side))] = -100
        plane[_ellipse((58, 58), (0, side))] = 55
        plane[_ellipse((16, 16), (0, side))] = 900
    return _noisy(plane)


def _metal() -> np.ndarray:
    array = _noisy(_abdomen())
    array[2:8, 28:31, 18:22] = 30000
    # Streak artefacts of both signs, as caused by implants.
    array[2:8, 29, :] = 3000
    array[2:8, :, 20] = -1024
    return array


def _mr() -> np.ndarray:
    plane = np.zeros(_SHAPE[1:])
    plane[_ellipse((105, 135))] = 800
    plane[_ellipse((92, 122))] = 350
    plane[_ellipse((60, 60), (-20, -50))] = 500
    return np.abs(_noisy(plane, 30.0))


def _pet() -> np.ndarray:
    plane = np.zeros(_SHAPE[1:])
    plane[_ellipse((92, 122))] = 0.6
    plane[_ellipse((60, 60), (-20, -50))] = 2.5
    return np.abs(plane[None] + np.random.default_rng(4).normal(0, 0.1, _SHAPE)).astype(np.float32)


def _normalised() -> np.ndarray:
    array = _noisy(_abdomen()).astype(np.float32)
    return (array - array.min()) / (array.max() - array.min())


_NO_HU = "are not HU"
_add("air", "nothing but air in the scanner", lambda: _noisy(np.full(_SHAPE[1:], -1000.0)),
     Handled((), ("hardly any voxel has the HU of soft tissue",), empty=True, flagged=True))  # fmt: skip
_add("one_value", "the same value everywhere", lambda: np.full(_SHAPE, -1000, np.int16),
     Handled((), ("every voxel has the value -1000",), empty=True, flagged=True))  # fmt: skip
_add("head", "a head, without a liver", _head, Handled(warnings=("less than an adult's abdomen",), flagged=True))
_add("leg", "two legs, without a liver", _leg, Handled(flagged=True))
_add("metal", "a metal implant with streaks", _metal, Handled())
_add("mr", "MR", _mr, Handled(warnings=("no value is below zero", "an MR or another image?"), flagged=True))
_add("pet", "PET, in SUV", _pet, Handled(warnings=(_NO_HU,), flagged=True))
_add("normalised", "a CT normalised to 0..1", _normalised, Handled(warnings=("they look normalised",), flagged=True))
_add("lost_rescale", "a CT whose rescale was lost (values 1024 too high)", lambda: _noisy(_abdomen()) + np.int16(1024),
     Handled(warnings=("look like a CT whose HU are 1024 too high",), flagged=True))  # fmt: skip
_add("picture", "a picture with values 0..255", lambda: np.clip(_noisy(_abdomen()) / 2 + 120, 0, 255).astype(np.int16),
     Handled(warnings=("those of a picture, not HU",), flagged=True))  # fmt: skip
_add("noise", "nothing but noise", lambda: _noisy(np.full(_SHAPE[1:], 40.0), 300.0), Handled(flagged=True))
