"""The training loop, based on Lightning: Adam, checkpoints after and within epochs, exact resume, multi-process.

Lightning handles steps, precision and processes.  The state between steps is a :class:`.state.Run`, which is saved
in a file with tensors and numbers only.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
import warnings
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple, Union

import lightning.pytorch as lightning
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lvnet.errors import ConfigurationError, ResourceError
from lvnet.memory import is_out_of_memory
from lvnet.progress import Progress, silent
from torch import Tensor, nn

from .batches import Batches, steps_of
from .case import Case
from .config import Config
from .hardness import Tally, per_patch
from .logs import log_row
from .loss import deep_supervision_loss
from .state import Run

#: Called after an epoch with a network in evaluation mode; returns scores, including `dice`.
Validate = Callable[[nn.Module], Dict[str, float]]
#: Called after an epoch in the first process, once its row is in the log.
AfterEpoch = Callable[[Run], None]

# The first process validates whole scans while the others wait for it.
_PATIENCE_OF_PROCESSES = timedelta(hours=6)


@dataclass(frozen=True)
class Hardware:
    """The hardware settings of a run; they are not part of the run's configuration.

    Attributes:
        device: cpu, cuda, cuda:N or mps.
        devices: number of processes on every node, one per GPU.
        nodes: number of computers; start the command on each by `torchrun` or SLURM.
        workers: number of processes that draw patches, for each training process.
        deterministic: use deterministic algorithms only; on a GPU, operations without one are named in a
            warning.
    """

    device: torch.device
    devices: int = 1
    nodes: int = 1
    workers: int = 0
    deterministic: bool = False


class Training(lightning.LightningModule):
    """The steps of an epoch: loss, schedule of the learning rate, moving average of the weights.

    Args:
        names: names of the training cases, in the order of their indices in batches.
        after_step: called after every batch, once the weights and their average are updated.
    """

    def __init__(
        self,
        run: Run,
        progress: Progress = silent,
        names: Sequence[str] = (),
        after_step: Optional[Callable[[lightning.Trainer, Training], None]] = None,
    ) -> None:
        super().__init__()
        self.run, self.progress, self.names, self.after_step = run, progress, names, after_step
        self.network = run.network
        self.tally: Optional[Tally] = None
        # Batches of this epoch that were done before a resume; Lightning counts from there.
        self.first = run.step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam with the state of the run."""
        return self.run.optimiser

    def on_fit_start(self) -> None:
        """Moves the average to the device of the network."""
        self.run.average = {k: v.to(self.device) for k, v in self.run.average.items()}
        if self.run.precision:
            self.trainer.precision_plugin.load_state_dict(self.run.precision)

    def on_train_epoch_start(self) -> None:
        """Sets the learning rate of the epoch, and seeds the random generator for networks that use it."""
        config = self.run.config
        stage, _ = config.stage_of(self.run.epoch)
        for group in self.run.optimiser.param_groups:
            group["lr"] = config.learning_rate(self.run.epoch)
        torch.manual_seed(config.seed * 1_000_003 + self.run.epoch * 1009 + self.global_rank)
        self.network.train()
        if stage.fixed_norm:
            for module in self.network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        self.first = self.run.step
        self.tally = Tally(len(self.names)) if config.hardness > 0 else None

    def training_step(self, batch: Tuple[Tensor, Tensor, Tensor], step: int) -> Tensor:
        """The loss of one batch."""
        x, target, drawn = batch
        main, auxiliary = outputs_of(self.network(x))
        if self.tally is not None:
            self.tally.add(per_patch(main, target), drawn)
        loss = deep_supervision_loss(main, auxiliary, target, self.run.config.eta, self.run.config.dice_loss)
        value = float(loss.detach())
        if value != value or abs(value) == float("inf"):
            raise FloatingPointError(f"the loss became {value} in epoch {self.run.epoch + 1}, step {self.run.step + 1}")
        self.run.total += value
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, step: int) -> None:
        """Updates the average and reports progress."""
        run = self.run
        steps = steps_of(run.config, run.epoch)
        every = run.config.accumulate
        step += self.first
        run.step = step + 1
        if (step + 1) % every == 0 or step + 1 == steps:
            # Once for every step of Adam, including the last of an epoch, which may have fewer batches.
            run.update_average(run.epoch * -(-steps // every) + step // every)
        text = f"epoch {run.epoch + 1}/{run.config.epochs}, loss {run.total / (step + 1):.4f}"
        self.progress((run.epoch + (step + 1) / steps) / run.config.epochs, text)
        if self.after_step is not None:
            self.after_step(self.trainer, self)


class Keeper(lightning.Callback):
    """After every epoch: validation, checkpoints, logs, and whether to stop; checkpoints within an epoch."""

    def __init__(
        self,
        folder: Path,
        validate: Optional[Validate],
        validate_every: int,
        report: Callable[[str], None],
        after_epoch: Sequence[AfterEpoch],
        save_every: int = 0,
        seconds: Optional[float] = None,
    ) -> None:
        self.folder, self.validate, self.validate_every = folder, validate, validate_every
        self.report, self.after_epoch = report, after_epoch
        self.save_every, self.seconds = save_every, seconds
        self.began = self._clock = 0.0
        #: Mean loss of every epoch since the start.
        self.losses: List[float] = []

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Starts the timer."""
        self.began = self._clock = time.perf_counter()

    def after_step(self, trainer: lightning.Trainer, module: Training) -> None:
        """After every batch: counts the seconds, saves if it is time, stops if the time limit is reached."""
        run, config = module.run, module.run.config
        now = time.perf_counter()
        run.seconds, self._clock = run.seconds + now - self._clock, now
        if run.step == steps_of(config, run.epoch) or run.step % config.accumulate or module.tally is not None:
            # At the end of an epoch it is saved anyway; a partial step of Adam, or table of losses, cannot be saved.
            return
        over = self.seconds is not None and run.seconds >= self.seconds
        batch = config.stage_of(run.epoch)[0].batch
        due = self.save_every > 0 and run.step * batch // self.save_every > (run.step - 1) * batch // self.save_every
        if (over or due) and trainer.is_global_zero:
            run.precision = trainer.precision_plugin.state_dict()
            run.save(self.folder / "last.pt")
            # Saving does not count as training time.
            self._clock = time.perf_counter()
        trainer.should_stop = trainer.should_stop or over

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """See the class."""
        assert isinstance(module, Training)
        run = module.run
        if run.step < steps_of(run.config, run.epoch):
            # The time limit was reached; the checkpoint is written, and a later start resumes from it.
            return
        mean = torch.tensor(run.total / steps_of(run.config, run.epoch), device=module.device)
        loss = float(trainer.strategy.reduce(mean, reduce_op="mean"))
        if module.tally is not None:
            for part in (module.tally.sums, module.tally.counts):
                # Every process draws a part of each batch; all continue with the same table.
                part.copy_(trainer.strategy.reduce(part.float().to(module.device), reduce_op="sum").cpu())
            run.hardness = module.tally.merged(module.names, run.hardness)
        run.epoch, run.step, run.total = run.epoch + 1, 0, 0.0
        run.precision = trainer.precision_plugin.state_dict()
        self.losses.append(loss)
        if trainer.is_global_zero:
            self._finish(trainer, module, run, loss)
        run.best_dice, run.stale = trainer.strategy.broadcast((run.best_dice, run.stale))
        trainer.should_stop = run.finished or (self.seconds is not None and run.seconds >= self.seconds)

    def _finish(self, trainer: lightning.Trainer, module: Training, run: Run, loss: float) -> None:
        row: Dict[str, float] = {"epoch": run.epoch, "loss": loss, "seconds": time.perf_counter() - self.began}
        row["learning_rate"] = run.optimiser.param_groups[0]["lr"]
        if self.validate is not None and (run.epoch % self.validate_every == 0 or run.epoch == run.config.epochs):
            row.update(self.validate(run.averaged_network().to(module.device)))
            better = row["dice"] > run.best_dice
            run.stale = 0 if better else run.stale + 1
            if better:
                run.best_dice = row["dice"]
                run.save(self.folder / "best.pt")
        # The row is written first: if the process is killed, the repeated epoch replaces it.
        log_row(self.folder / "log.csv", row)
        run.save(self.folder / "last.pt")
        for logger in trainer.loggers:
            logger.log_metrics({key: value for key, value in row.items() if key != "epoch"}, step=run.epoch)
            logger.save()
        self.report("  ".join(f"{key} {_short(value)}" for key, value in row.items()))
        for call in self.after_epoch:
            call(run)
        if run.stale and run.finished and run.epoch < run.config.epochs:
            self.report(f"stopped early: no better validation DICE for {run.stale} validations")


def _short(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def outputs_of(result: Union[Tensor, Tuple[Tensor, List[Tensor]]]) -> Tuple[Tensor, List[Tensor]]:
    """Main and auxiliary outputs of a network; the latter may be empty."""
    return (result, []) if isinstance(result, Tensor) else result


def fit(
    run: Run,
    cases: Sequence[Case],
    phantoms: Sequence[Case],
    folder: Path,
    validate: Optional[Validate] = None,
    validate_every: int = 1,
    progress: Progress = silent,
    report: Callable[[str], None] = print,
    *,
    hardware: Optional[Hardware] = None,
    epochs: Optional[int] = None,
    after_epoch: Sequence[AfterEpoch] = (),
    save_every: int = 0,
    seconds: Optional[float] = None,
) -> List[float]:
    """Trains to the end of the last stage, or until early stopping.

    Writes `last.pt` (to resume from), `best.pt` (the epoch with the best validation), `log.csv` and `tensorboard`.

    Args:
        validate: evaluates a network; None keeps no best epoch.
        validate_every: epochs between validations; the last epoch always has one.
        epochs: maximum number of epochs in this call.
        after_epoch: called when an epoch is finished and saved.
        save_every: patches between checkpoints within an epoch; 0 saves at its end only.
        seconds: limit of the training time over all starts of the run, after which it ends even within an epoch.

    Returns:
        The mean loss of every epoch.

    Raises:
        ConfigurationError: the hardware settings do not match the run.
        ResourceError: there is not enough memory.
        FloatingPointError: the loss is not finite.
    """
    if run.finished or (seconds is not None and run.seconds >= seconds):
        return []
    folder.mkdir(parents=True, exist_ok=True)
    hardware = hardware or Hardware(next(run.network.parameters()).device)
    keeper = Keeper(folder, validate, validate_every, report, after_epoch, save_every, seconds)
    left = run.config.epochs - run.epoch
    with _quiet(), _bits(hardware), _advice(run), _interruptible():
        trainer = lightning.Trainer(
            **_placement(hardware, run.config),
            max_epochs=left if epochs is None else min(left, epochs),
            gradient_clip_val=run.config.clip or None,
            accumulate_grad_batches=run.config.accumulate,
            deterministic=_deterministic(hardware),
            logger=TensorBoardLogger(folder, name="tensorboard", version=""),
            callbacks=[keeper],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            reload_dataloaders_every_n_epochs=1,
            default_root_dir=folder,
        )
        names = [case.name for case in cases]
        training = Training(run, progress, names, keeper.after_step)
        trainer.fit(training, datamodule=Batches(run, cases, phantoms, hardware.workers))
    return keeper.losses


def _placement(hardware: Hardware, config: Config) -> Dict[str, Any]:
    kind, index = hardware.device.type, hardware.device.index
    if min(hardware.devices, hardware.nodes) < 1 or hardware.workers < 0:
        raise ConfigurationError("--devices and --nodes must be 1 or more, --workers 0 or more")
    if kind != "cuda" and config.precision != "32-true":
        # On a CPU, gradients of 3D convolutions in bfloat16 are not reproducible, and sometimes not finite.
        raise ConfigurationError("half precision needs an NVIDIA GPU; set `precision: 32-true`")
    several = hardware.devices * hardware.nodes > 1
    if several and (kind == "mps" or index is not None):
        raise ConfigurationError(f"--devices and --nodes work with cpu or cuda, not with {hardware.device}")
    devices: Union[int, List[int]] = [index] if index is not None and kind == "cuda" else hardware.devices
    strategy = DDPStrategy(timeout=_PATIENCE_OF_PROCESSES) if several else "auto"
    return {
        "accelerator": kind,
        "devices": devices,
        "num_nodes": hardware.nodes,
        "strategy": strategy,
        "precision": config.precision,
    }


def _deterministic(hardware: Hardware) -> Any:
    """Trilinear up-sampling has no deterministic gradient on a GPU: only warn there, do not fail."""
    return (True if hardware.device.type == "cpu" else "warn") if hardware.deterministic else None


@contextlib.contextmanager
def _bits(hardware: Hardware) -> Iterator[None]:
    """Restores PyTorch's choice of algorithms afterwards."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses Lightning's tips and its remarks about data loaders."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        warnings.filterwarnings("ignore", message=r".*num_workers.*|.*GPU available.*|.*logging interval.*")
        # DDP's warning about the memory format of weights of 1 x 1 x 1 convolutions.
        warnings.filterwarnings("ignore", message=r"Grad strides do not match.*")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels):
                logger.setLevel(level)


@contextlib.contextmanager
def _advice(run: Run) -> Iterator[None]:
    """Turns a lack of memory or of GPUs into a one-line error that says what to change."""
    try:
        yield
    except MisconfigurationException as error:
        # For example, more GPUs than available.
        raise ConfigurationError(" ".join(str(error).split())) from error
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        stage, _ = run.config.stage_of(min(run.epoch, run.config.epochs - 1))
        size = " x ".join(map(str, stage.patch))
        smaller = f"`batch: {stage.batch // 2}`" if stage.batch > 1 else "a smaller `patch`"
        raise ResourceError(
            f"not enough memory for {stage.batch} patches of {size}; set {smaller}, or on a GPU `precision: bf16-mixed`"
            " or more --devices"
        ) from error


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Lightning exits the program on Ctrl+C; raise KeyboardInterrupt for the command line instead."""
    try:
        yield
    except SystemExit as leaving:
        if isinstance(leaving.__context__, KeyboardInterrupt):
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from leaving
        raise
