"""The configuration of a training run, read from YAML and checked for unknown or invalid settings."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple, Union

from lvnet.anatomy import Anatomy
from lvnet.errors import ConfigurationError
from lvnet.fieldtypes import build
from lvnet.recipe import LIVER, Architecture, LabelClass, Preprocessing, Recipe

from .networks import architecture_of, divisors, supervises
from .pathology import Pathology
from .yamlfiles import read_mapping

SCHEDULES = ("exponential", "cosine", "polynomial")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
#: Settings that were added after the first version; see :attr:`Config.digest`.
_LATER = (
    "labels",
    "split",
    "network",
    "clip",
    "precision",
    "patience",
    "pathology",
    "grid",
    "hardness",
    "schedule",
    "accumulate",
    "anatomy",
)


@dataclass(frozen=True)
class Stage:
    """A training stage: some epochs at one resolution.

    Attributes:
        epochs: number of epochs.
        spacing: (z, y, x) mm of the patches; None takes consecutive whole slices, resized to the
            patch without geometric augmentation (the paper).
        patch: (z, y, x) voxels of a patch.
        batch: patches per step.
        learning_rate: in the stage's first epoch; multiplied by the run's decay after every epoch.
        fixed_norm: batch norm uses its frozen running statistics instead of the batch's, as in inference.  For the
            last epochs of a run.
    """

    epochs: int
    spacing: Optional[Tuple[float, float, float]]
    patch: Tuple[int, int, int]
    batch: int = 2
    learning_rate: float = 1e-3
    fixed_norm: bool = False

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch, *self.patch) < 1 or min(self.spacing or (1,)) <= 0 or self.learning_rate <= 0:
            raise ConfigurationError(f"epochs, batch, patch, spacing and learning rate must be positive: {self}")


@dataclass(frozen=True)
class Augmentation:
    """Limits of the data augmentation; see :mod:`.augmentation`.

    Attributes:
        rotation: largest in-plane angle in degrees; a third of it out of plane.
        scale: smallest and largest magnification.
        bend: largest displacement of the elastic field in mm.
        shift: largest offset in HU.
        contrast: largest relative change of contrast.
        noise: largest standard deviation of noise in HU.
        floor: smallest and largest HU at which a scan may be clipped from below, so that the lower limit of
            a windowed scan does not reveal its origin.
        blur: largest in-plane blur in pixels.
        thickness: largest slice thickness in mm that thin slices are averaged to.
    """

    rotation: float = 12.0
    scale: Tuple[float, float] = (0.8, 1.25)
    bend: float = 4.0
    shift: float = 20.0
    contrast: float = 0.15
    noise: float = 20.0
    floor: Tuple[float, float] = (-200.0, -110.0)
    blur: float = 0.8
    thickness: float = 6.0


_GROUPS: Dict[str, Any] = {
    "architecture": Architecture,
    "preprocessing": Preprocessing,
    "augmentation": Augmentation,
    "pathology": Pathology,
    "anatomy": Anatomy,
}


@dataclass(frozen=True)
class Config:
    """The configuration of a training run.

    Attributes:
        stages: the stages, one after the other.
        samples_per_epoch: patches per epoch.
        decay: factor for the learning rate after every epoch (paper: 0.9).
        weight_decay: lambda of Eq. 3, L2 in the gradient (paper: 1e-5).
        eta: weights of the auxiliary losses, coarsest stage first (paper: 0.2, 0.4, 0.6, 0.8); empty trains
            without deep supervision.
        dice_loss: weight of a soft DICE loss beside every cross entropy (paper: none).
        average: decay of the moving average of the weights that is validated and exported; 0 disables it.
        liver_share: fraction of patches that are centred on the organ.
        phantoms: number of synthetic phantoms in addition to the scans, and (`phantom_share`) the fraction of patches
            drawn from them.
        trust: sampling weight by case name; 1 by default.
        labels: class name for each value in the label files, such as {1: liver, 2: liver}; empty
            uses the names of the data set.
        network: lvnet, lvnet-vanilla (full convolutions for IRB blocks), or a baseline of the paper: unet,
            cenet, unet3d, vnet.  Only the first two have auxiliary outputs; the others need `eta: []`.
        clip: maximum norm of the gradient (gradient clipping); 0 disables it (the paper).
        precision: 32-true, bf16-mixed or 16-mixed (uses a GPU's tensor cores; halves the memory).
        patience: early stopping after so many validations without a better DICE; 0 trains to the last epoch.
        split: numbers of training, validation and test cases, such as 90/10/31; empty trains on all.
        grid: (z, y, x) mm; scans are resampled once to voxels no finer than these, so that drawing a patch is fast;
            None draws from the scans' own voxels.
        hardness: oversampling of scans and places with a high recent loss: the exponent of their loss relative to
            the mean loss; 0 uses `trust` alone.
        schedule: of the learning rate within a stage, epoch by epoch: exponential (`decay`, the paper), cosine (to
            zero) or polynomial (to zero, power 0.9).
        accumulate: gradient accumulation: batches per step of Adam, if a larger batch does not fit into memory.
        anatomy: size and HU of the organs, and the region of the body that shows them, for the checks of scans and
            results; see :class:`lvnet.anatomy.Anatomy`.  None: those of the liver, if it is one of the classes.
        pathology: synthetic pathologies and their frequency; see :mod:`.pathology`.  For one class besides background.
    """

    stages: Tuple[Stage, ...]
    architecture: Architecture = field(default_factory=Architecture)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    classes: Tuple[LabelClass, ...] = (LIVER,)
    augmentation: Augmentation = field(default_factory=Augmentation)
    name: str = "lvnet-liver"
    seed: int = 1
    samples_per_epoch: int = 200
    decay: float = 0.9
    weight_decay: float = 1e-5
    eta: Tuple[float, ...] = (0.2, 0.4, 0.6, 0.8)
    dice_loss: float = 0.0
    average: float = 0.0
    liver_share: float = 0.6
    phantoms: int = 0
    phantom_share: float = 0.0
    trust: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[int, str] = field(default_factory=dict)
    split: str = ""
    network: str = "lvnet"
    clip: float = 5.0
    precision: str = "32-true"
    patience: int = 0
    pathology: Pathology = field(default_factory=Pathology)
    grid: Optional[Tuple[float, float, float]] = None
    hardness: float = 0.0
    schedule: str = "exponential"
    accumulate: int = 1
    anatomy: Optional[Anatomy] = None

    def __post_init__(self) -> None:
        if not self.stages:
            raise ConfigurationError("a training run needs at least one stage")
        if self.precision not in PRECISIONS:
            raise ConfigurationError(f"unknown precision {self.precision!r}; choose {', '.join(PRECISIONS)}")
        if self.grid is not None and (min(self.grid) <= 0 or any(stage.spacing is None for stage in self.stages)):
            raise ConfigurationError(
                "`grid` must be positive, and cannot be used with a stage without spacing: omit it"
            )
        if self.pathology.any and len(self.classes) > 1:
            raise ConfigurationError("`pathology` works with one class besides background only: omit it")
        if self.accumulate < 1:
            raise ConfigurationError(f"`accumulate` must be 1 or more, not {self.accumulate}")
        if self.schedule not in SCHEDULES:
            raise ConfigurationError(f"unknown schedule {self.schedule!r}; choose {', '.join(SCHEDULES)}")
        if not 0 <= self.hardness <= 4:
            raise ConfigurationError(f"hardness must be between 0 and 4, not {self.hardness:g}")
        if self.patience < 0:
            raise ConfigurationError(f"patience must not be negative: {self.patience}")
        shares = (self.liver_share, self.phantom_share, self.average)
        if not all(0 <= share <= 1 for share in shares) or min(self.decay, self.samples_per_epoch) <= 0:
            raise ConfigurationError(
                "samples_per_epoch and decay must be positive; liver_share, phantom_share and average must be 0 to 1"
            )
        if min(self.seed, self.phantoms, self.clip, self.weight_decay, self.dice_loss) < 0:
            raise ConfigurationError("seed, phantoms, clip, weight_decay and dice_loss must not be negative")
        divisor = divisors(self.shape)
        for stage in self.stages:
            if any(side % multiple for side, multiple in zip(stage.patch, divisor)):
                raise ConfigurationError(f"the sides of a patch must be multiples of {divisor}: {stage.patch}")
            if stage.batch * math.prod(side // multiple for side, multiple in zip(stage.patch, divisor)) < 2:
                raise ConfigurationError(
                    f"one patch of {stage.patch} leaves batch norm a single voxel at the bottom; use a larger patch or"
                    " batch"
                )
            p = self.preprocessing
            if stage.spacing is None and (
                (p.in_plane_spacing, p.slice_spacing) != (None, None) or stage.patch[1:] != p.in_plane_size
            ):
                raise ConfigurationError(
                    f"a stage without spacing uses whole slices: its patch must have in_plane_size {p.in_plane_size},"
                    " and the preprocessing without spacings"
                )
        stages = len(self.architecture.widths) - 1 if supervises(self.shape) else 0
        if self.eta and len(self.eta) != stages:
            raise ConfigurationError(f"{len(self.eta)} values of eta for {stages} auxiliary outputs of {self.network}")

    @property
    def shape(self) -> Architecture:
        """The architecture for the recipe, including the network's name."""
        return architecture_of(self.network, self.architecture)

    @property
    def epochs(self) -> int:
        """Total number of epochs of all stages."""
        return sum(stage.epochs for stage in self.stages)

    def stage_of(self, epoch: int) -> Tuple[Stage, int]:
        """The stage of epoch `epoch` (counted from 0), and the epoch's number within the stage."""
        for stage in self.stages:
            if epoch < stage.epochs:
                return stage, epoch
            epoch -= stage.epochs
        raise ValueError(f"the epoch is {epoch + 1} beyond the last stage")

    def learning_rate(self, epoch: int) -> float:
        """The learning rate of epoch `epoch`, counted from 0."""
        stage, within = self.stage_of(epoch)
        done = within / stage.epochs
        if self.schedule == "cosine":
            return stage.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
        if self.schedule == "polynomial":
            return float(stage.learning_rate * (1 - done) ** 0.9)
        return float(stage.learning_rate * self.decay**within)

    def recipe(self, provenance: Optional[Mapping[str, Any]] = None) -> Recipe:
        """The recipe that is stored with the exported weights."""
        return Recipe(self.shape, self.preprocessing, self.classes, self.name, provenance or {}, anatomy=self.anatomy)

    @property
    def digest(self) -> str:
        """SHA-256 of the settings, which links weights to the run that made them."""
        settings = asdict(self)
        settings["architecture"] = self.architecture.to_dict()
        # The patches of a run do not depend on the search in inference.
        del settings["preprocessing"]["search_spacing"]
        # Newer settings are included only if they are used, so that earlier runs keep their digest.
        for later in (f for f in fields(self) if f.name in _LATER):
            default = later.default_factory() if callable(later.default_factory) else later.default
            if settings[later.name] == (asdict(default) if isinstance(default, Pathology) else default):
                del settings[later.name]
        for stage in settings["stages"]:
            if not stage["fixed_norm"]:
                del stage["fixed_norm"]
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def load_config(path: Union[str, Path]) -> Config:
    """Reads a YAML file.

    `base: FILE` inherits the settings of another file, relative to this one; settings in this file override them.

    Raises:
        ConfigurationError: it cannot be read, or a setting is unknown or invalid.
    """
    try:
        data = _settings(Path(path), ())
        if not all(isinstance(key, str) for key in data):
            raise ValueError("a setting has no name")
        return build(Config, data)
    except (TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ConfigurationError(f"the configuration {path} cannot be used: {' '.join(str(error).split())}") from error


def _settings(path: Path, above: Tuple[Path, ...]) -> Dict[str, Any]:
    if path.resolve() in above:
        raise ConfigurationError(f"the configuration {path} is its own base")
    data = read_mapping(path, "configuration", "settings")
    if "base" not in data:
        return data
    merged = _settings(path.parent / str(data.pop("base")), (*above, path.resolve()))
    for key, value in data.items():
        # Groups of settings are merged; lists, and mappings by label or case, are overridden as a whole.
        old = merged.get(key)
        merged[key] = (
            {**old, **value} if key in _GROUPS and isinstance(old, dict) and isinstance(value, dict) else value
        )
    return merged
