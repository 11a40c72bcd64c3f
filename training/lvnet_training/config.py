"""A training run's settings, read from YAML; unknown or impossible ones are refused."""

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
#: Settings that a run of the first version did not have; see :attr:`Config.digest`.
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
    """Some epochs at one resolution.

    Attributes:
        epochs: how many.
        spacing: (z, y, x) mm of the patches; None takes sequential slices as a whole, resized to the
            patch and neither moved nor bent (the paper).
        patch: (z, y, x) voxels of a patch.
        batch: patches a step.
        learning_rate: at the stage's first epoch; multiplied by the run's decay every epoch.
        fixed_norm: batch norm uses its running moments, which stay as they are, instead of the batch's: the
            network learns as what inference will see it as.  For the last epochs of a run.
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
    """How far a patch may be moved, bent and recoloured; see :mod:`.augmentation`.

    Attributes:
        rotation: largest in-plane angle in degrees; a third of it out of plane.
        scale: smallest and largest magnification.
        bend: largest displacement of the elastic field in mm.
        shift: largest offset in HU.
        contrast: largest relative change of contrast.
        noise: largest standard deviation of noise in HU.
        floor: smallest and largest HU below which a scan may be clipped, so that the floor of a
            windowed scan tells nothing about where it comes from.
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
    """One training run.

    Attributes:
        stages: run one after the other.
        samples_per_epoch: patches an epoch.
        decay: factor on the learning rate after every epoch (paper: 0.9).
        weight_decay: lambda of Eq. 3, L2 in the gradient (paper: 1e-5).
        eta: weights of the auxiliary losses, coarsest stage first (paper: 0.2, 0.4, 0.6, 0.8); empty trains
            without deep supervision.
        dice_loss: weight of a soft DICE loss beside every cross entropy (paper: none).
        average: decay of the moving average of the weights that is validated and exported; 0 off.
        liver_share: share of patches centred on the organ.
        phantoms: made phantoms beside the scans, and the share of patches drawn from them.
        trust: weight by which a case is drawn, by case name; 1 where nothing is said.
        labels: name of the class that a value of the label files is, such as {1: liver, 2: liver}; empty
            goes by what the data set says.
        network: lvnet, lvnet-vanilla (full convolutions for IRB blocks), or a baseline of the paper: unet,
            cenet, unet3d, vnet.  Only the first two have auxiliary outputs; the others take `eta: []`.
        clip: largest norm of the gradient; 0 leaves it as it is (the paper).
        precision: 32-true, bf16-mixed or 16-mixed (a GPU's tensor cores; halves the memory).
        patience: validations without a better DICE after which the run ends; 0 goes to the last epoch.
        split: cases of training, validation and test, such as 90/10/31; empty trains on all.
        grid: (z, y, x) mm; scans are brought to voxels no finer than these once, so that drawing a patch costs little;
            None draws from the scans' own voxels.
        hardness: how much more often scans and places of a high recent loss are drawn: the exponent of their loss over
            the mean one; 0 draws all by `trust` alone.
        schedule: of the learning rate within a stage, epoch by epoch: exponential (`decay`, the paper), cosine (to
            zero) or polynomial (to zero, power 0.9).
        accumulate: batches whose gradients make one step of Adam, where memory holds no larger batch.
        anatomy: what the organs look like and which part of the body shows them, for the checks of scans and results;
            see :class:`lvnet.anatomy.Anatomy`.  None: what is known of the liver, if it is one of the classes.
        pathology: what is made in how many of the patches; see :mod:`.pathology`.  For one class beside background.
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
            raise ConfigurationError(f"there is no precision {self.precision!r}; choose {', '.join(PRECISIONS)}")
        if self.grid is not None and (min(self.grid) <= 0 or any(stage.spacing is None for stage in self.stages)):
            raise ConfigurationError(
                "the voxels of a grid are positive, and a stage without spacing has no use for it: leave out `grid`"
            )
        if self.pathology.any and len(self.classes) > 1:
            raise ConfigurationError("pathologies are made for one class beside background; leave out `pathology`")
        if self.accumulate < 1:
            raise ConfigurationError(f"a step of Adam takes one batch or more, not {self.accumulate}")
        if self.schedule not in SCHEDULES:
            raise ConfigurationError(f"there is no schedule {self.schedule!r}; choose {', '.join(SCHEDULES)}")
        if not 0 <= self.hardness <= 4:
            raise ConfigurationError(f"hardness lies between 0 and 4, not {self.hardness:g}")
        if self.patience < 0:
            raise ConfigurationError(f"patience cannot be negative: {self.patience}")
        shares = (self.liver_share, self.phantom_share, self.average)
        if not all(0 <= share <= 1 for share in shares) or min(self.decay, self.samples_per_epoch) <= 0:
            raise ConfigurationError(
                "samples_per_epoch and decay must be positive; liver_share, phantom_share and average 0 to 1"
            )
        if min(self.seed, self.phantoms, self.clip, self.weight_decay, self.dice_loss) < 0:
            raise ConfigurationError("seed, phantoms, clip, weight_decay and dice_loss cannot be negative")
        divisor = divisors(self.shape)
        for stage in self.stages:
            if any(side % multiple for side, multiple in zip(stage.patch, divisor)):
                raise ConfigurationError(f"the sides of a patch must be multiples of {divisor}: {stage.patch}")
            if stage.batch * math.prod(side // multiple for side, multiple in zip(stage.patch, divisor)) < 2:
                raise ConfigurationError(
                    f"one patch of {stage.patch} leaves batch norm a single voxel at the bottom; take a larger patch or"
                    " batch"
                )
            p = self.preprocessing
            if stage.spacing is None and (
                (p.in_plane_spacing, p.slice_spacing) != (None, None) or stage.patch[1:] != p.in_plane_size
            ):
                raise ConfigurationError(
                    f"a stage without spacing takes whole slices: its patch must be of in_plane_size {p.in_plane_size},"
                    " and the preprocessing without spacings"
                )
        stages = len(self.architecture.widths) - 1 if supervises(self.shape) else 0
        if self.eta and len(self.eta) != stages:
            raise ConfigurationError(f"{len(self.eta)} eta for {stages} auxiliary outputs of {self.network}")

    @property
    def shape(self) -> Architecture:
        """The architecture as the recipe has it, with the network's name in it."""
        return architecture_of(self.network, self.architecture)

    @property
    def epochs(self) -> int:
        """Epochs of all stages together."""
        return sum(stage.epochs for stage in self.stages)

    def stage_of(self, epoch: int) -> Tuple[Stage, int]:
        """The stage that epoch number `epoch` (from 0) belongs to, and its number within it."""
        for stage in self.stages:
            if epoch < stage.epochs:
                return stage, epoch
            epoch -= stage.epochs
        raise ValueError(f"epoch lies {epoch + 1} beyond the last stage")

    def learning_rate(self, epoch: int) -> float:
        """Of epoch number `epoch`, from 0."""
        stage, within = self.stage_of(epoch)
        done = within / stage.epochs
        if self.schedule == "cosine":
            return stage.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
        if self.schedule == "polynomial":
            return float(stage.learning_rate * (1 - done) ** 0.9)
        return float(stage.learning_rate * self.decay**within)

    def recipe(self, provenance: Optional[Mapping[str, Any]] = None) -> Recipe:
        """The recipe that the exported weights carry."""
        return Recipe(self.shape, self.preprocessing, self.classes, self.name, provenance or {}, anatomy=self.anatomy)

    @property
    def digest(self) -> str:
        """SHA-256 of the settings, so that weights can name the run that made them."""
        settings = asdict(self)
        settings["architecture"] = self.architecture.to_dict()
        # Settings that came later count only where they are used: runs of before keep their digest.
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

    `base: FILE` takes the settings of another file, relative to this one, where this one says nothing.

    Raises:
        ConfigurationError: it cannot be read, or a setting is unknown or impossible.
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
        # Groups of settings are merged; lists, and mappings by label or case, are replaced.
        old = merged.get(key)
        merged[key] = (
            {**old, **value} if key in _GROUPS and isinstance(old, dict) and isinstance(value, dict) else value
        )
    return merged
