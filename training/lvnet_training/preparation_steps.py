"""The manifest's `preparation` and `hu` columns as repeatable preparation steps.

The steps were verified with public scans: applied to PyRadiomics' `lung1` and TotalSegmentator's test scan, they
reproduce the voxels of the corresponding training scans exactly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Callable, List, Match, Optional, Tuple, Union

import numpy as np
from lvnet.errors import ConfigurationError, ImageError
from lvnet.orientation import orientation_of, to_canonical
from lvnet.volume import Volume

_INT16 = (-32768, 32767)


@dataclass(frozen=True)
class Pair:
    """A scan, (z, y, x) HU, and its label, 0 or 1 on the same grid; None if there is no label."""

    scan: Volume
    label: Optional[Volume]


@dataclass(frozen=True)
class LiverSlices:
    """Only slices that show liver, stacked without the gaps between them."""

    def take(self, pair: Pair) -> Pair:
        if pair.label is None:
            raise ImageError("its slices are selected by its label, but there is none")
        kept = np.flatnonzero(pair.label.array.any(axis=(1, 2)))
        if not len(kept):
            raise ImageError("no slice shows liver")
        return _of_slices(pair, kept)


@dataclass(frozen=True)
class EveryNth:
    """The first slice in the file's own order, and every `step`-th after it."""

    step: int

    def take(self, pair: Pair) -> Pair:
        return _of_slices(pair, np.arange(0, pair.scan.shape[0], self.step), self.step)


@dataclass(frozen=True)
class WithoutLowest:
    """Without the `count` lowest slices (nearest to the feet)."""

    count: int

    def take(self, pair: Pair) -> Pair:
        depth = pair.scan.shape[0]
        if depth <= self.count:
            raise ImageError(f"it has only {depth} slices, and {self.count} must be removed")
        upwards = not orientation_of(pair.scan).flips[0]
        return _of_slices(pair, np.arange(self.count, depth) if upwards else np.arange(depth - self.count))


@dataclass(frozen=True)
class Halved:
    """Every pixel is the mean of 2 x 2; the first one's centre is between those four.

    A label has a pixel where at least two of the four had it.
    """

    def take(self, pair: Pair) -> Pair:
        scan = pair.scan
        if scan.shape[1] % 2 or scan.shape[2] % 2:
            raise ImageError(f"its slices have {scan.shape[1]} x {scan.shape[2]} pixels, which cannot be halved")
        depth, height, width = scan.spacing
        shift = scan.direction_matrix @ np.array([width, height, 0.0]) / 2
        x, y, z = (float(v) for v in np.array(scan.origin) + shift)

        def halved(array: np.ndarray) -> Volume:
            return replace(scan, array=array, spacing=(depth, 2 * height, 2 * width), origin=(x, y, z))

        # Sums of four integers divided by four are exact in float32.
        means = halved(_sum_of_four(scan.array).astype(np.float32) / 4)
        if pair.label is None:
            return Pair(means, None)
        return Pair(means, halved((_sum_of_four(pair.label.array) >= 2).astype(np.uint8)))


@dataclass(frozen=True)
class AsItWas:
    """The original pixel grid."""

    def take(self, pair: Pair) -> Pair:
        return pair


@dataclass(frozen=True)
class Clipped:
    """HU clipped to a range."""

    low: float
    high: float

    def take(self, pair: Pair) -> Pair:
        return _of_values(pair, np.clip(pair.scan.array, self.low, self.high))


@dataclass(frozen=True)
class FarSet:
    """HU below a limit set to one value, those above another to another."""

    below: float
    low: float
    above: float
    high: float

    def take(self, pair: Pair) -> Pair:
        values = pair.scan.array
        return _of_values(
            pair, np.where(values < self.below, self.low, np.where(values > self.above, self.high, values))
        )


@dataclass(frozen=True)
class Rounded:
    """HU quantised in steps, with halves rounded to the even multiple."""

    step: int

    def take(self, pair: Pair) -> Pair:
        return _of_values(pair, np.rint(pair.scan.array / np.float32(self.step)) * self.step)


Step = Union[LiverSlices, EveryNth, WithoutLowest, Halved, AsItWas, Clipped, FarSet, Rounded]
_SLICES = (LiverSlices, EveryNth, WithoutLowest)
_NTH = {"second": 2, "third": 3}
_NUMBER = r"(-?\d+)"
_WORDS: Tuple[Tuple[str, Callable[[Match[str]], Step]], ...] = (
    (r"slices with liver only", lambda m: LiverSlices()),
    (r"(?:thinned to )?every (second|third) slice(?: of the whole scan)?", lambda m: EveryNth(_NTH[m[1]])),
    (r"without the lowest (\d+) slices", lambda m: WithoutLowest(int(m[1]))),
    (r"mean of 2 x 2 pixels, origin moved by half a pixel", lambda m: Halved()),
    (r"own grid|in-plane grid as it was", lambda m: AsItWas()),
    (rf"HU clipped to \[{_NUMBER}; {_NUMBER}\]", lambda m: Clipped(int(m[1]), int(m[2]))),
    (
        rf"below {_NUMBER} HU set to {_NUMBER}, above {_NUMBER} to {_NUMBER}",
        lambda m: FarSet(*(int(m[i]) for i in range(1, 5))),
    ),
    (r"steps of (\d+) HU", lambda m: Rounded(int(m[1]))),
)
_WINDOW = re.compile(rf"HU known in \[{_NUMBER}, {_NUMBER}\]")
#: HU that were recovered from pictures: the original has more precise values, and the loss cannot be reproduced.
_PICTURES = re.compile(r"HU within \+-\d+ in \[-?\d+, -?\d+\], rougher outside")


def parse_steps(preparation: str, hu: str) -> Tuple[Step, ...]:
    """The steps of a manifest's row, in order.

    Args:
        preparation: such as `every second slice; own grid; steps of 8 HU`.
        hu: `true HU`; `HU known in [a, b]`, which is a clipping step before pixels are averaged; or
            `HU within ..., rougher outside`, which is not a step.

    Raises:
        ConfigurationError: a part of either is not understood.
    """
    steps: List[Step] = []
    rest = preparation.strip()
    while rest:
        for pattern, make in _WORDS:
            match = re.match(rf"(?:{pattern})(?:[;,] |$)", rest)
            if match:
                steps.append(make(match))
                rest = rest[match.end() :]
                break
        else:
            raise ConfigurationError(f"the preparation {preparation!r} cannot be parsed at {rest!r}")
    if not steps:
        raise ConfigurationError("the preparation is empty")
    window = _WINDOW.fullmatch(hu)
    if window:
        first = next((i for i, step in enumerate(steps) if not isinstance(step, _SLICES)), len(steps))
        steps.insert(first, Clipped(int(window[1]), int(window[2])))
    elif hu != "true HU" and not _PICTURES.fullmatch(hu):
        raise ConfigurationError(f"the description of the HU, {hu!r}, cannot be parsed")
    return tuple(steps)


def take_steps(steps: Tuple[Step, ...], scan: Volume, label: Optional[Volume]) -> Pair:
    """The prepared scan for training.

    Args:
        scan: the downloaded scan.
        label: 0 and 1 on its grid.

    Returns:
        int16 HU and a uint8 label on one grid.

    Raises:
        ImageError: a step cannot be applied to this scan.
    """
    if orientation_of(scan).axes != (0, 1, 2):
        # The steps refer to axial slices, whatever the orientation in the file.
        scan, label = to_canonical(scan)[0], None if label is None else to_canonical(label)[0]
    pair = Pair(scan, label)
    for step in steps:
        pair = step.take(pair)
    values = np.clip(np.rint(pair.scan.array), *_INT16).astype(np.int16)
    made = pair.label
    if made is not None:
        made = replace(pair.scan, array=np.ascontiguousarray(made.array).astype(np.uint8))
    return Pair(replace(pair.scan, array=np.ascontiguousarray(values)), made)


def _sum_of_four(array: np.ndarray) -> np.ndarray:
    wide = np.float32 if array.dtype.kind == "f" else np.int32
    upper, lower = (array[:, y::2, ::2].astype(wide) + array[:, y::2, 1::2] for y in (0, 1))
    return np.asarray(upper + lower)


def _of_values(pair: Pair, values: np.ndarray) -> Pair:
    return Pair(replace(pair.scan, array=values), pair.label)


def _of_slices(pair: Pair, kept: np.ndarray, step: int = 1) -> Pair:
    """The slices with these indices, which are `step` apart."""

    def cut(volume: Volume) -> Volume:
        along = volume.direction_matrix[:, 2] * volume.spacing[0] * kept[0]
        x, y, z = (float(v) for v in np.array(volume.origin) + along)
        depth, height, width = volume.spacing
        return replace(volume, array=volume.array[kept], spacing=(depth * step, height, width), origin=(x, y, z))

    return Pair(cut(pair.scan), None if pair.label is None else cut(pair.label))
