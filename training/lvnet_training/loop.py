"""The training loop: one process, Adam, a checkpoint after every epoch, exact resume.

Every patch is drawn from its own random stream, named by seed, epoch and step, so that a run that
was stopped and resumed sees the same patches as one that was not.
"""

from __future__ import annotations

import csv
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from lvnet.checkpoint import load_checkpoint
from lvnet.errors import CheckpointError
from lvnet.preprocessing import normalise
from lvnet.progress import Progress, silent
from torch import Tensor, nn

from .augmentation import draw_patch, to_tensors
from .config import Config, Stage
from .dataset import Case
from .loss import deep_supervision_loss
from .networks import build_network, channels_last
from .slabs import draw_slab

#: Called after an epoch with a network in evaluation mode; answers scores, `dice` among them.
Validate = Callable[[nn.Module], Dict[str, float]]


@dataclass
class Run:
    """What a training run consists of between two epochs."""

    config: Config
    network: nn.Module
    optimiser: torch.optim.Optimizer
    average: Dict[str, Tensor]
    epoch: int = 0
    best_dice: float = -1.0

    @classmethod
    def start(cls, config: Config, device: torch.device) -> Run:
        """A run with random weights that the seed decides."""
        torch.manual_seed(config.seed)
        network = build_network(config)
        channels_last(network.to(device))
        # L2 in the gradient, as in Eq. 3; not AdamW.
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=config.weight_decay)
        return cls(config, network, optimiser, {k: v.clone() for k, v in network.state_dict().items()})

    def save(self, path: Path) -> None:
        """Writes everything that a resume needs; the file is whole or absent."""
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            torch.save(
                {
                    "digest": self.config.digest,
                    "epoch": self.epoch,
                    "best_dice": self.best_dice,
                    "network": self.network.state_dict(),
                    "average": self.average,
                    "optimiser": self.optimiser.state_dict(),
                },
                temporary,
            )
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def restore(self, path: Path, weights_only: bool = False) -> None:
        """Continues from a file that :meth:`save` wrote.

        Args:
            weights_only: take the weights and begin the schedule anew.

        Raises:
            CheckpointError: the file is damaged, or of other settings.
        """
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            self.network.load_state_dict(state["network"])
            self.average = {k: v.clone() for k, v in state["average"].items()}
            if weights_only:
                return
            if state["digest"] != self.config.digest:
                raise CheckpointError(
                    f"{path} belongs to a run with other settings; take another output folder, or start from"
                    " its weights with --weights"
                )
            self.optimiser.load_state_dict(state["optimiser"])
            self.epoch, self.best_dice = int(state["epoch"]), float(state["best_dice"])
        except (OSError, RuntimeError, KeyError, EOFError, ValueError) as error:
            raise CheckpointError(f"cannot resume from {path}: {str(error).splitlines()[0]}") from error

    def start_from(self, path: Path) -> None:
        """Takes the weights of an exported checkpoint; the auxiliary heads begin anew.

        Raises:
            CheckpointError: the file cannot be used, or is of another architecture.
        """
        checkpoint = load_checkpoint(path)
        if checkpoint.recipe.architecture != self.config.architecture:
            raise CheckpointError(f"{path} is of another architecture than the configuration asks for")
        state = {name: torch.from_numpy(array) for name, array in checkpoint.arrays.items()}
        self.network.load_state_dict(state, strict=False)
        self.average = {k: v.clone() for k, v in self.network.state_dict().items()}

    def averaged_network(self) -> nn.Module:
        """The moving average of the weights, in evaluation mode, without the auxiliary heads."""
        network = build_network(self.config, training=False)
        network.load_state_dict({k: v for k, v in self.average.items() if not k.startswith("heads.")})
        return network.eval()

    def update_average(self, steps: int) -> None:
        """Moves the average towards the present weights; slowly once many steps are done."""
        keep = min(self.config.average, (1 + steps) / (10 + steps)) if self.config.average else 0.0
        for name, value in self.network.state_dict().items():
            if value.dtype.is_floating_point:
                self.average[name].mul_(keep).add_(value.detach().to(self.average[name].device), alpha=1 - keep)
            else:
                self.average[name].copy_(value)


def draw_batch(config: Config, stage: Stage, cases: Sequence[Case], phantoms: Sequence[Case], epoch: int,
               step: int) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The batch of one step: (n, 1, z, y, x) normalised float32 and (n, z, y, x) int64."""
    weights = np.array([config.trust.get(case.name, 1.0) for case in cases])
    if stage.spacing is None and len(cases):
        # Every slab of the data set is as likely as any other.
        weights = weights * np.array([len(case.image) for case in cases])
    images, labels = [], []
    for item in range(stage.batch):
        rng = np.random.default_rng((config.seed, epoch, step, item))
        pool, p = (cases, weights / weights.sum()) if len(cases) else ([], None)
        if len(phantoms) and (not pool or rng.random() < config.phantom_share):
            pool, p = phantoms, None
        case = pool[int(rng.choice(len(pool), p=p))]
        if stage.spacing is None:
            image, label = draw_slab(rng, case, stage.patch, config.preprocessing)
        else:
            image, label = draw_patch(rng, case, stage.patch, stage.spacing, config.augmentation, config.liver_share)
            image = normalise(image, config.preprocessing)
        images.append(image)
        labels.append(label)
    return to_tensors(np.stack(images), np.stack(labels))


def outputs_of(result: Union[Tensor, Tuple[Tensor, List[Tensor]]]) -> Tuple[Tensor, List[Tensor]]:
    """Main and auxiliary outputs of a network, whether it has such or not."""
    return (result, []) if isinstance(result, Tensor) else result


def train_epoch(run: Run, cases: Sequence[Case], phantoms: Sequence[Case], progress: Progress = silent) -> float:
    """One epoch.

    Returns:
        The mean loss.
    """
    config, device = run.config, next(run.network.parameters()).device
    stage, within = config.stage_of(run.epoch)
    for group in run.optimiser.param_groups:
        group["lr"] = stage.learning_rate * config.decay**within
    run.network.train()
    steps = max(1, config.samples_per_epoch // stage.batch)
    total = 0.0
    for step in range(steps):
        x, target = (t.to(device) for t in draw_batch(config, stage, cases, phantoms, run.epoch, step))
        main, auxiliary = outputs_of(run.network(x))
        loss = deep_supervision_loss(main, auxiliary, target, config.eta, config.dice_loss)
        run.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if config.clip:
            nn.utils.clip_grad_norm_(run.network.parameters(), config.clip)
        run.optimiser.step()
        run.update_average(run.epoch * steps + step)
        total += float(loss.detach())
        if not np.isfinite(total):
            raise FloatingPointError(f"the loss became {float(loss)} in epoch {run.epoch + 1}, step {step + 1}")
        progress((step + 1) / steps, f"epoch {run.epoch + 1}/{config.epochs}, loss {total / (step + 1):.4f}")
    run.epoch += 1
    return total / steps


def fit(
    run: Run,
    cases: Sequence[Case],
    phantoms: Sequence[Case],
    folder: Path,
    validate: Optional[Validate] = None,
    validate_every: int = 1,
    progress: Progress = silent,
    report: Callable[[str], None] = print,
) -> None:
    """Trains to the end of the last stage.

    Leaves `last.pt` (to resume from), `best.pt` (the epoch best on validation) and `log.csv`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    while run.epoch < run.config.epochs:
        began = time.perf_counter()
        loss = train_epoch(run, cases, phantoms, progress)
        row: Dict[str, float] = {"epoch": run.epoch, "loss": loss, "seconds": time.perf_counter() - began}
        due = run.epoch % validate_every == 0 or run.epoch == run.config.epochs
        if validate is not None and due:
            row.update(validate(run.averaged_network()))
            if row["dice"] > run.best_dice:
                run.best_dice = row["dice"]
                run.save(folder / "best.pt")
        run.save(folder / "last.pt")
        _log(folder / "log.csv", row)
        report("  ".join(f"{key} {value:.4f}" if key != "epoch" else f"epoch {value}" for key, value in row.items()))


def _log(path: Path, row: Dict[str, float]) -> None:
    """Adds a row; epochs that a resume repeats replace their old rows."""
    rows: List[Dict[str, str]] = []
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            rows = [old for old in csv.DictReader(file) if int(old["epoch"]) < row["epoch"]]
    rows.append({key: f"{value:.6g}" for key, value in row.items()})
    names: List[str] = []
    for entry in rows:
        names += [name for name in entry if name not in names]
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    os.replace(temporary, path)
