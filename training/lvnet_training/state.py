"""The state of a training run, and the file that it resumes from."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict

import torch
from lvnet.checkpoint import load_checkpoint
from lvnet.errors import CheckpointError
from lvnet.files import is_pipe_or_device, whole_file
from torch import Tensor, nn

from .config import Config
from .hardness import checked
from .networks import build_network, channels_last

#: Adam's state of every weight.
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass
class Run:
    """The state of a training run, between two epochs or within one.

    Attributes:
        average: moving average of the weights, which is validated and exported.
        epoch: number of finished epochs.
        best_dice: DICE of the best validation so far; -1 before the first.
        stale: number of validations since then.
        precision: state of the loss scaling of float16; empty otherwise.
        hardness: recent losses by case, see :mod:`.hardness`; empty if the configuration does not use them.
        step: number of finished batches of the current epoch.
        total: sum of their losses.
        seconds: training time, over all starts of the run.
    """

    config: Config
    network: nn.Module
    optimiser: torch.optim.Optimizer
    average: Dict[str, Tensor]
    epoch: int = 0
    best_dice: float = -1.0
    stale: int = 0
    precision: Dict[str, Any] = field(default_factory=dict)
    hardness: Dict[str, Tensor] = field(default_factory=dict)
    step: int = 0
    total: float = 0.0
    seconds: float = 0.0

    @classmethod
    def start(cls, config: Config, device: torch.device) -> Run:
        """A run with random weights from the seed."""
        torch.manual_seed(config.seed)
        network = build_network(config)
        channels_last(network.to(device))
        # L2 in the gradient, as in Eq. 3; not AdamW.
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=config.weight_decay)
        return cls(config, network, optimiser, {k: v.clone() for k, v in network.state_dict().items()})

    def save(self, path: Path) -> None:
        """Writes everything that is needed to resume, completely or not at all."""
        state = {
            "digest": self.config.digest,
            "epoch": self.epoch,
            "best_dice": self.best_dice,
            "stale": self.stale,
            "precision": self.precision,
            "hardness": self.hardness,
            "step": self.step,
            "total": self.total,
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
        }
        with whole_file(path) as file:
            torch.save(state, file)

    def restore(self, path: Path, weights_only: bool = False) -> None:
        """Continues from a file that :meth:`save` wrote.

        Args:
            weights_only: use only the weights and restart the schedule.

        Raises:
            CheckpointError: the file is damaged, or has other settings.
        """
        state = _read(path)
        try:
            self.network.load_state_dict(state["network"])
            self.average = _same_shapes(state["average"], self.average)
            if weights_only:
                return
            if state["digest"] != self.config.digest:
                raise CheckpointError(
                    f"{path} belongs to a run with other settings; choose another output folder, or start from"
                    " its weights with --weights"
                )
            self.optimiser.load_state_dict(state["optimiser"])
            for parameter in self.network.parameters():
                own = self.optimiser.state.get(parameter, {})
                if own:
                    # Copies, because in a malformed file several tensors may share memory.
                    wanted = {**dict.fromkeys(_MOMENTS, parameter), "step": torch.zeros(())}
                    own.update(_same_shapes(own, wanted))
            self.epoch, self.best_dice = int(state["epoch"]), float(state["best_dice"])
            # Missing in files from before early stopping was added.
            self.stale, self.precision = int(state.get("stale", 0)), dict(state.get("precision", {}))
            self.hardness = checked(state.get("hardness", {}))
            # Missing in files from before checkpoints within an epoch were added.
            self.step, self.total = int(state.get("step", 0)), float(state.get("total", 0.0))
            self.seconds = float(state.get("seconds", 0.0))
            if min(self.epoch, self.stale, self.step, self.seconds) < 0 or not -1 <= self.best_dice <= 1:
                raise ValueError("it contains invalid epochs or scores")
        except (RuntimeError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise CheckpointError(f"cannot resume from {path}: {_first_line(error)}") from error

    def start_from(self, path: Path) -> None:
        """Loads the weights of an exported checkpoint; the auxiliary heads are initialised anew.

        Raises:
            CheckpointError: the file cannot be used, or has another architecture.
        """
        checkpoint = load_checkpoint(path)
        if checkpoint.recipe.architecture != self.config.shape:
            raise CheckpointError(f"{path} has another architecture than the configuration")
        state = {name: torch.from_numpy(array) for name, array in checkpoint.arrays.items()}
        self.network.load_state_dict(state, strict=False)
        self.average = {k: v.clone() for k, v in self.network.state_dict().items()}

    def averaged_network(self) -> nn.Module:
        """The moving average of the weights, in evaluation mode, without the auxiliary heads."""
        network = build_network(self.config, training=False)
        network.load_state_dict({k: v for k, v in self.average.items() if not k.startswith("heads.")})
        return network.eval()

    def update_average(self, steps: int) -> None:
        """Updates the moving average; its decay grows with the number of steps."""
        keep = min(self.config.average, (1 + steps) / (10 + steps)) if self.config.average else 0.0
        for name, value in self.network.state_dict().items():
            if value.dtype.is_floating_point:
                self.average[name].mul_(keep).add_(value.detach().to(self.average[name].device), alpha=1 - keep)
            else:
                self.average[name].copy_(value)

    @property
    def finished(self) -> bool:
        """Whether the last stage is finished, or `patience` validations have brought no improvement."""
        return self.epoch >= self.config.epochs or 0 < self.config.patience <= self.stale


def _read(path: Path) -> Dict[str, Any]:
    """The contents of a file: tensors and numbers only.

    Raises:
        CheckpointError: it is damaged, or contains anything else.
    """
    try:
        if is_pipe_or_device(path):
            raise ValueError("a pipe or a device")
        # PyTorch does not verify the checksums in its own files.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"{damaged} has a wrong checksum")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # with damaged bytes, PyTorch's reader can raise any exception
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "the file is damaged"
        raise CheckpointError(f"cannot resume from {path}: {reason}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"cannot resume from {path}: it is not the checkpoint of a run")
    return state


def _same_shapes(found: Dict[str, Tensor], wanted: Dict[str, Tensor]) -> Dict[str, Tensor]:
    """Copies of tensors, whose names and shapes must match.

    Raises:
        ValueError: they do not match.
    """
    if {k: v.shape for k, v in found.items()} != {k: v.shape for k, v in wanted.items()}:
        raise ValueError("its tensors have other shapes")
    return {k: v.clone() for k, v in found.items()}


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
