"""The training loop on Lightning: Adam, checkpoints after and within epochs, exact resume, one process or several.

Lightning runs the steps, the precision and the processes.  What is kept between steps is a :class:`.state.Run`,
in a file that holds tensors and numbers only.
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
from lvnet.acceleration import accelerate
from lvnet.errors import ConfigurationError, ResourceError, is_out_of_memory
from lvnet.progress import Progress, silent
from torch import Tensor, nn

from .batches import Batches, steps_of
from .case import Case
from .config import Config
from .hardness import Tally, per_patch
from .logs import log_row
from .loss import deep_supervision_loss
from .state import Run

#: Called after an epoch with a network in evaluation mode; answers scores, `dice` among them.
Validate = Callable[[nn.Module], Dict[str, float]]
#: Called after an epoch on the first process, once its row is in the log.
AfterEpoch = Callable[[Run], None]

# The first process validates whole scans while the others wait for it.
_PATIENCE_OF_PROCESSES = timedelta(hours=6)


@dataclass(frozen=True)
class Hardware:
    """Where and how a run computes; nothing of it belongs to the run itself.

    Attributes:
        device: cpu, cuda, cuda:N or mps.
        devices: processes on every node, one a GPU.
        nodes: computers; start the command on each by `torchrun` or SLURM.
        workers: processes that draw patches, for each that trains.
        deterministic: only algorithms that give the same bits every time; on a GPU those that have none
            are named in a warning.
    """

    device: torch.device
    devices: int = 1
    nodes: int = 1
    workers: int = 0
    deterministic: bool = False


class Training(lightning.LightningModule):
    """The steps of an epoch: loss, schedule of the learning rate, moving average of the weights.

    Args:
        names: of the cases that are trained on, in the order in which batches number them.
        after_step: called after every batch, once the weights and their average have moved.
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
        # Batches of this epoch that an earlier start of the run has done; Lightning counts from there.
        self.first = run.step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam with the state that the run came with."""
        return self.run.optimiser

    def on_fit_start(self) -> None:
        """Brings the average to the device of the network, and swaps in what computes its steps faster there."""
        accelerate(self.network, training=True)
        self.run.average = {k: v.to(self.device) for k, v in self.run.average.items()}
        if self.run.precision:
            self.trainer.precision_plugin.load_state_dict(self.run.precision)

    def on_train_epoch_start(self) -> None:
        """Sets the learning rate of the epoch, and chance for networks that use it."""
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
        """Moves the average and tells how far the run is."""
        run = self.run
        steps = steps_of(run.config, run.epoch)
        every = run.config.accumulate
        step += self.first
        run.step = step + 1
        if (step + 1) % every == 0 or step + 1 == steps:
            # Once for every step of Adam, the last of an epoch too, which may be of fewer batches.
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
        """Starts the clock."""
        self.began = self._clock = time.perf_counter()

    def after_step(self, trainer: lightning.Trainer, module: Training) -> None:
        """After every batch: counts the seconds, saves where it is due, stops where the time is over."""
        run, config = module.run, module.run.config
        now = time.perf_counter()
        run.seconds, self._clock = run.seconds + now - self._clock, now
        if run.step == steps_of(config, run.epoch) or run.step % config.accumulate or module.tally is not None:
            # The end of the epoch saves it; half a step of Adam, or half a table of losses, cannot be kept.
            return
        over = self.seconds is not None and run.seconds >= self.seconds
        batch = config.stage_of(run.epoch)[0].batch
        due = self.save_every > 0 and run.step * batch // self.save_every > (run.step - 1) * batch // self.save_every
        if (over or due) and trainer.is_global_zero:
            run.precision = trainer.precision_plugin.state_dict()
            run.save(self.folder / "last.pt")
            # Saving is no training.
            self._clock = time.perf_counter()
        trainer.should_stop = trainer.should_stop or over

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """See the class."""
        assert isinstance(module, Training)
        run = module.run
        if run.step < steps_of(run.config, run.epoch):
            # The time was over; the checkpoint is written, and a later start goes on from there.
            return
        mean = torch.tensor(run.total / steps_of(run.config, run.epoch), device=module.device)
        loss = float(trainer.strategy.reduce(mean, reduce_op="mean"))
        if module.tally is not None:
            for part in (module.tally.sums, module.tally.counts):
                # Every process draws a part of each batch; all go on with the same table.
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
        # The row comes first: an epoch that a kill makes run again replaces it.
        log_row(self.folder / "log.csv", row)
        run.save(self.folder / "last.pt")
        for logger in trainer.loggers:
            logger.log_metrics({key: value for key, value in row.items() if key != "epoch"}, step=run.epoch)
            logger.save()
        self.report("  ".join(f"{key} {_short(value)}" for key, value in row.items()))
        for call in self.after_epoch:
            call(run)
        if run.stale and run.finished and run.epoch < run.config.epochs:
            self.report(f"stopped: no better validation for {run.stale} times")


def _short(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def outputs_of(result: Union[Tensor, Tuple[Tensor, List[Tensor]]]) -> Tuple[Tensor, List[Tensor]]:
    """Main and auxiliary outputs of a network, whether it has such or not."""
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
    """Trains to the end of the last stage, or until validation has long not improved.

    Leaves `last.pt` (to resume from), `best.pt` (the epoch best on validation), `log.csv` and `tensorboard`.

    Args:
        validate: scores a network; None keeps no best epoch.
        validate_every: epochs between validations; the last epoch always has one.
        epochs: at most so many now.
        after_epoch: called when an epoch is over and saved.
        save_every: patches between checkpoints within an epoch; 0 saves at its end only.
        seconds: of training in all, over every start of the run, after which it ends even within an epoch.

    Returns:
        The mean loss of every epoch that was run.

    Raises:
        ConfigurationError: the hardware does not fit the run.
        ResourceError: memory does not suffice.
        FloatingPointError: the loss is no number any more.
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
        # On a CPU the gradients of 3D convolutions in bfloat16 are not the same twice, and at times not finite.
        raise ConfigurationError("half precision trains on an NVIDIA GPU only; set `precision: 32-true`")
    several = hardware.devices * hardware.nodes > 1
    if several and (kind == "mps" or index is not None):
        raise ConfigurationError(f"--devices and --nodes go with cpu or cuda, not with {hardware.device}")
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
    """Trilinear up-sampling has no deterministic gradient on a GPU: there a warning, not a refusal."""
    return (True if hardware.device.type == "cpu" else "warn") if hardware.deterministic else None


@contextlib.contextmanager
def _bits(hardware: Hardware) -> Iterator[None]:
    """Leaves PyTorch's choice of algorithms as it was found."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Lightning's tips and its remarks about data loaders to itself."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        warnings.filterwarnings("ignore", message=r".*num_workers.*|.*GPU available.*|.*logging interval.*")
        # Of DDP, about the memory order of weights of 1 x 1 x 1 convolutions.
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
    """Turns running out of memory, or of GPUs, into one line that says what to change."""
    try:
        yield
    except MisconfigurationException as error:
        # Such as more GPUs than there are.
        raise ConfigurationError(" ".join(str(error).split())) from error
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        stage, _ = run.config.stage_of(min(run.epoch, run.config.epochs - 1))
        size = " x ".join(map(str, stage.patch))
        smaller = f"`batch: {stage.batch // 2}`" if stage.batch > 1 else "a smaller `patch`"
        raise ResourceError(
            f"too little memory for {stage.batch} patches of {size}; set {smaller}, or on a GPU `precision: bf16-mixed`"
            " or more --devices"
        ) from error


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Lightning leaves the program on Ctrl+C; the command line wants to know."""
    try:
        yield
    except SystemExit as leaving:
        if isinstance(leaving.__context__, KeyboardInterrupt):
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from leaving
        raise
