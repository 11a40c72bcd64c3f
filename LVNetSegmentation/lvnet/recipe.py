"""The recipe of a trained network: everything it needs besides the weights.

The recipe lives in the checkpoint, not in the code that runs it: a checkpoint trained for another
organ with another window, pixel size or slab depth runs unchanged.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Dict, Mapping, Optional, Tuple

from .anatomy import Anatomy, liver_anatomy
from .errors import CheckpointError, ConfigurationError
from .fieldtypes import build
from .quality import Quality

#: Number of weights of the largest network that is allowed: a hundred times the paper's, about a gigabyte.
MOST_WEIGHTS = 2**28
#: Allowed values of `network`, `block`, `down` and `up` of an architecture, the paper's LV-Net first.
CHOICES: Dict[str, Tuple[str, ...]] = {
    "network": ("lvnet", "unet", "cenet", "unet3d", "vnet"),
    "block": ("irb", "vanilla"),
    "down": ("pooling", "strided"),
    "up": ("trilinear", "transposed"),
}
#: Two-dimensional networks: each slice is computed on its own.
PLANAR = ("unet", "cenet")
#: The widest layer of a baseline's first stage, and its largest kernel, to estimate the cost of channels and classes.
_BASELINE_CHANNEL = 64 * 125


@dataclass(frozen=True)
class Architecture:
    """The shape of an LV-Net (paper, section on the network; V-Net's skeleton, one IRB a stage).

    Attributes:
        in_channels: image channels of a slab.
        classes: classes including background.
        widths: channels of the encoder stages, the bottom last.
        expansion: eps of the IRB blocks.
        kernel_size: k of the stem and of the depth-wise convolutions, odd.
        network: lvnet, or a network that the paper compares it with: unet, cenet, unet3d, vnet.  These ignore
            `widths`, `expansion` and `kernel_size`.
        block: irb, or vanilla: a k x k x k convolution in the place of each IRB block.
        down: pooling (average, then 1x1x1), or strided: a 2x2x2 convolution of stride 2.
        up: trilinear (1x1x1, then interpolation), or transposed: a 2x2x2 transposed convolution.
        narrower: divisor of every width of a baseline; 1 gives the paper's widths.
    """

    in_channels: int = 1
    classes: int = 2
    widths: Tuple[int, ...] = (16, 32, 64, 128, 176)
    expansion: int = 4
    kernel_size: int = 5
    network: str = "lvnet"
    block: str = "irb"
    down: str = "pooling"
    up: str = "trilinear"
    narrower: int = 1

    def __post_init__(self) -> None:
        numbers = (self.in_channels, self.classes, self.expansion, self.kernel_size, *self.widths)
        if not all(isinstance(n, int) and not isinstance(n, bool) and 0 < n <= 65536 for n in numbers):
            raise ConfigurationError(f"network sizes must be whole numbers from 1 to 65536: {self}")
        if self.classes < 2:
            raise ConfigurationError("a network needs at least two classes, background and one organ")
        if self.kernel_size % 2 == 0:
            raise ConfigurationError(f"the kernel size must be odd, not {self.kernel_size}")
        if not 2 <= len(self.widths) <= 8:
            raise ConfigurationError(f"a network needs 2 to 8 stages, not {len(self.widths)}")
        # The estimate counts blocks and stem: a malicious file must not request more memory than there is.
        self._check_choices()
        eps, volume = self.expansion, self.kernel_size**3
        weights = self.in_channels * self.widths[0] * volume
        weights += sum(2 * w * w * eps + w * eps * volume for w in self.widths) + self.classes * max(self.widths)
        if self.block == "vanilla":
            # The decoder's blocks are twice as wide and have four times as many weights.
            weights += sum(5 * w * w * volume for w in self.widths)
        if "strided" in self.down or "transposed" in self.up:
            weights += sum(32 * w * w for w in self.widths)
        if self.network != "lvnet":
            weights = (self.in_channels + self.classes) * _BASELINE_CHANNEL
        if weights > MOST_WEIGHTS:
            raise ConfigurationError(
                f"a network of {weights:.1e} weights is too large; the limit is {MOST_WEIGHTS:.1e}"
            )

    def _check_choices(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                shown = repr(getattr(self, name))[:60]
                raise ConfigurationError(f"there is no {name} {shown}; choose {', '.join(choices)}")
        if self.network != "lvnet" and (self.block, self.down, self.up) != ("irb", "pooling", "trilinear"):
            raise ConfigurationError(
                f"`block`, `down` and `up` are settings of LV-Net only; {self.network} does not have them"
            )
        if self.narrower not in (1, 2, 4, 8, 16):
            raise ConfigurationError(f"`narrower` must be 1, 2, 4, 8 or 16, not {self.narrower}")
        if self.network == "lvnet" and self.narrower != 1:
            raise ConfigurationError("`narrower` is a setting of the baselines; set `widths` for LV-Net")

    @property
    def plain(self) -> bool:
        """Whether this is LV-Net with the paper's blocks, whatever its sizes."""
        return (self.network, self.block, self.down, self.up) == ("lvnet", "irb", "pooling", "trilinear")

    @property
    def divisor(self) -> int:
        """Divisor of the height and width of a slice: two to the power of the number of poolings."""
        if self.network != "lvnet":
            return 32 if self.network == "cenet" else 16
        return 2 ** (len(self.widths) - 1)

    @property
    def depth_divisor(self) -> int:
        """Divisor of the number of slices of a slab; 1 for two-dimensional networks."""
        return 1 if self.network in PLANAR else self.divisor

    def to_dict(self) -> Dict[str, Any]:
        """As a JSON object, without defaults of newer settings, so that existing files and digests stay valid."""
        data = asdict(self)
        for name, default in _LATER.items():
            if data[name] == default:
                del data[name]
        return data


#: Settings that are newer than the first weights, with the value that was in effect before.
_LATER: Dict[str, Any] = {**{name: choices[0] for name, choices in CHOICES.items()}, "narrower": 1}


@dataclass(frozen=True)
class Preprocessing:
    """How a scan is cut into slabs.

    Attributes:
        window: lowest and highest HU; values outside are clipped.
        mean: subtracted after windowing, in HU; None takes each scan's own mean (the paper).
        std: divisor after that, in HU; None takes each scan's own standard deviation.
        in_plane_spacing: (y, x) pixel size in mm that slices are resampled to; None resizes every
            slice to `in_plane_size` whatever its field of view (the paper).
        in_plane_size: (y, x) pixels of a slab when `in_plane_spacing` is None.
        slice_spacing: distance between slices in mm that the scan is resampled to; None keeps the
            scan's own slices (the paper).
        slab_depth: slices of a slab.
        search_spacing: (z, y, x) voxel size in mm at which the organ is looked for first, so that only what can hold
            it is computed, see :mod:`lvnet.search`; None computes every scan whole.
    """

    window: Tuple[float, float] = (-200.0, 200.0)
    mean: Optional[float] = None
    std: Optional[float] = None
    in_plane_spacing: Optional[Tuple[float, float]] = None
    in_plane_size: Tuple[int, int] = (256, 256)
    slice_spacing: Optional[float] = None
    slab_depth: int = 16
    search_spacing: Optional[Tuple[float, float, float]] = None

    def __post_init__(self) -> None:
        low, high = self.window
        if not -32768 <= low < high <= 32767:
            raise ConfigurationError(f"the HU window {self.window} is empty or out of range")
        if (self.mean is None) != (self.std is None):
            raise ConfigurationError("mean and std must be given together: give both or neither")
        if self.std is not None and not 0 < self.std < 1e5:
            raise ConfigurationError(f"the standard deviation must be positive, not {self.std}")
        steps = [
            s
            for s in (self.slice_spacing, *(self.in_plane_spacing or ()), *(self.search_spacing or ()))
            if s is not None
        ]
        if not all(0.05 <= step <= 50 for step in steps):
            raise ConfigurationError(f"spacings must lie between 0.05 and 50 mm, not {steps}")
        if not all(1 <= size <= 4096 for size in (*self.in_plane_size, self.slab_depth)):
            raise ConfigurationError(f"slab sides must lie between 1 and 4096, not {self}")
        if self.search_spacing is not None and None in (self.mean, self.slice_spacing, self.in_plane_spacing):
            raise ConfigurationError("search_spacing needs slice_spacing, in_plane_spacing, mean and std")

    def to_dict(self) -> Dict[str, Any]:
        """As a JSON object, without a search that is not made: files and digests of before stay as they are."""
        data = asdict(self)
        if self.search_spacing is None:
            del data["search_spacing"]
        return data


@dataclass(frozen=True)
class LabelClass:
    """One class of the output and its terminology for Slicer and DICOM.

    Attributes:
        value: its value in the label map, 1 to 255.
        name: its name in English, lower case.
        code: SNOMED CT code; its meaning in `meaning`.
        colour: recommended display colour, RGB 0 to 255.
    """

    value: int
    name: str
    code: str = ""
    meaning: str = ""
    category_code: str = "123037004"
    category_meaning: str = "Anatomical Structure"
    colour: Tuple[int, int, int] = (221, 130, 101)

    def __post_init__(self) -> None:
        if not 1 <= self.value <= 255:
            raise ConfigurationError(f"a class value must lie between 1 and 255, not {self.value}")
        if not all(0 <= part <= 255 for part in self.colour):
            raise ConfigurationError(f"a colour has three parts from 0 to 255, not {self.colour}")


#: The liver's entry in Slicer's General Anatomy list and SNOMED CT.
LIVER = LabelClass(value=1, name="liver", code="10200004", meaning="Liver")


@dataclass(frozen=True)
class Recipe:
    """The whole recipe of a trained network.

    Attributes:
        name: short name of these weights.
        provenance: free JSON object: data, date, commit, epochs, validation scores, licence.
        quality: model of the expected DICE of results of these weights; None if it was not calibrated.
        anatomy: what the organs look like and which part of the body shows them; see :attr:`expects`.
    """

    architecture: Architecture = field(default_factory=Architecture)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    classes: Tuple[LabelClass, ...] = (LIVER,)
    name: str = "unnamed"
    provenance: Mapping[str, Any] = field(default_factory=dict)
    quality: Optional[Quality] = None
    anatomy: Optional[Anatomy] = None

    def __post_init__(self) -> None:
        if len(self.classes) != self.architecture.classes - 1:
            raise ConfigurationError(
                f"{len(self.classes)} class names for a network of {self.architecture.classes} classes"
                " (background has no name)"
            )
        if len({c.value for c in self.classes}) != len(self.classes):
            raise ConfigurationError("two classes share one label value")
        known = [organ.value for organ in self.anatomy.organs] if self.anatomy is not None else []
        if len(set(known)) != len(known) or not set(known) <= {c.value for c in self.classes}:
            raise ConfigurationError("`anatomy` lists an organ twice, or one that is not among the classes")
        divisor = self.architecture.depth_divisor
        if self.preprocessing.slab_depth % divisor:
            raise ConfigurationError(
                f"a slab of {self.preprocessing.slab_depth} slices cannot be halved"
                f" {divisor.bit_length() - 1} times; take a multiple of {divisor}"
            )

    @property
    def expects(self) -> Anatomy:
        """The anatomy to judge by.

        Weights without `anatomy`, such as those of early versions, use that of the liver if one of their classes is
        the liver, and none otherwise.
        """
        if self.anatomy is not None:
            return self.anatomy
        liver = next((entry for entry in self.classes if _is_liver(entry)), None)
        return Anatomy() if liver is None else liver_anatomy(liver.value)

    @property
    def organs(self) -> str:
        """The classes by their names, for sentences: `liver and spleen`."""
        names = [entry.name for entry in self.classes]
        return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

    def to_dict(self) -> Dict[str, Any]:
        """The recipe as a JSON object."""
        data = {
            **asdict(self),
            "architecture": self.architecture.to_dict(),
            "preprocessing": self.preprocessing.to_dict(),
        }
        for name in ("quality", "anatomy"):
            if data[name] is None:
                del data[name]
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Recipe:
        """Reads what :meth:`to_dict` wrote.

        Raises:
            CheckpointError: a field is missing, unknown or of the wrong type.
        """
        try:
            # A recipe that cannot be written as JSON and text could not be shown either.
            json.dumps(data, ensure_ascii=False, allow_nan=False).encode("utf-8")
            if not isinstance(data["name"], str):
                raise ValueError("its name is not a text")
            return cls(
                architecture=build(Architecture, data["architecture"]),
                preprocessing=build(Preprocessing, data["preprocessing"]),
                classes=tuple(build(LabelClass, entry) for entry in data["classes"]),
                name=data["name"],
                provenance=dict(data.get("provenance", {})),
                quality=build(Quality, data["quality"]) if data.get("quality") else None,
                anatomy=build(Anatomy, data["anatomy"]) if data.get("anatomy") is not None else None,
            )
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError, ConfigurationError) as error:
            raise CheckpointError(f"the recipe in the weights file cannot be used: {error}") from error


def _is_liver(entry: LabelClass) -> bool:
    return entry.code == LIVER.code or entry.name.strip().lower() == LIVER.name
