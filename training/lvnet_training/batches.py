"""Batches for the training loop.

Every patch has its own random stream, seeded by seed, epoch, step and index in the batch.  A resumed run
therefore sees the same patches as an uninterrupted one, and so do several processes together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence, Tuple

import lightning.pytorch as lightning
import numpy as np
import torch
from lvnet.errors import ConfigurationError
from lvnet.preprocessing import normalise
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .augmentation import draw_placed_patch, to_tensors
from .case import Case
from .config import Config, Stage
from .hardness import Hardness, case_weights, drawn_tensor, place_weights
from .slabs import draw_slab
from .state import Run


def draw_batch(config: Config, stage: Stage, cases: Sequence[Case], phantoms: Sequence[Case], epoch: int,
               step: int, items: Optional[Sequence[int]] = None) -> Tuple[Tensor, Tensor]:  # fmt: skip
    """The batch of one step: (n, 1, z, y, x) normalised float32 and (n, z, y, x) int64.

    Args:
        epoch, step: from 0.
        items: indices in the batch to draw; None draws all.
    """
    return draw_placed_batch(config, stage, cases, phantoms, epoch, step, items)[:2]


def draw_placed_batch(config: Config, stage: Stage, cases: Sequence[Case], phantoms: Sequence[Case], epoch: int,
                      step: int, items: Optional[Sequence[int]] = None,
                      hardness: Optional[Hardness] = None) -> Tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The batch of one step, and (n, 2) int64: index of each patch's case, -1 for a phantom, and its place.

    Args:
        hardness: recent losses; if the configuration enables it, hard scans and places are drawn more often.
    """
    weights = np.array([config.trust.get(case.name, 1.0) for case in cases])
    hard = hardness if config.hardness > 0 and stage.spacing is not None else None
    if hard is not None and len(cases):
        weights = weights * case_weights(cases, hard, config.hardness)
    if stage.spacing is None and len(cases):
        # All slabs of the data set are equally likely.
        weights = weights * np.array([len(case.image) for case in cases])
    images, labels, drawn = [], [], []
    for item in range(stage.batch) if items is None else items:
        rng = np.random.default_rng((config.seed, epoch, step, item))
        pool, p = (cases, weights / weights.sum()) if len(cases) else ([], None)
        if len(phantoms) and (not pool or rng.random() < config.phantom_share):
            pool, p = phantoms, None
        number, place = int(rng.choice(len(pool), p=p)), 0
        case = pool[number]
        if stage.spacing is None:
            image, label = draw_slab(rng, case, stage.patch, config.preprocessing)
        else:
            places = place_weights(case, hard, config.hardness) if hard is not None and pool is cases else None
            image, label, place = draw_placed_patch(rng, case, stage.patch, stage.spacing, config.augmentation,
                                                    config.liver_share, config.pathology, places)  # fmt: skip
            image = normalise(image, config.preprocessing)
        images.append(image)
        labels.append(label)
        drawn.append((number if pool is cases else -1, place))
    return (*to_tensors(np.stack(images), np.stack(labels)), drawn_tensor(drawn))


@dataclass(frozen=True)
class Steps(Dataset):
    """The batches of one epoch, starting at step `first`.

    `items` are the indices that this process draws; hardness is that of the epoch's start.
    """

    config: Config
    epoch: int
    cases: Sequence[Case]
    phantoms: Sequence[Case]
    items: Sequence[int]
    hardness: Hardness
    first: int = 0

    def __len__(self) -> int:
        return steps_of(self.config, self.epoch) - self.first

    def __getitem__(self, step: int) -> Tuple[Tensor, Tensor, Tensor]:
        stage, _ = self.config.stage_of(self.epoch)
        return draw_placed_batch(self.config, stage, self.cases, self.phantoms, self.epoch, self.first + step,
                                 self.items, self.hardness)  # fmt: skip


def steps_of(config: Config, epoch: int) -> int:
    """Number of steps of epoch `epoch`, counted from 0."""
    return max(1, config.samples_per_epoch // config.stage_of(epoch)[0].batch)


class Batches(lightning.LightningDataModule):
    """The batches of a run, distributed over its processes.

    Args:
        workers: number of additional processes that draw patches; 0 draws in the training process.
    """

    def __init__(self, run: Run, cases: Sequence[Case], phantoms: Sequence[Case], workers: int = 0) -> None:
        super().__init__()
        self.run, self.cases, self.phantoms, self.workers = run, cases, phantoms, workers

    def train_dataloader(self) -> DataLoader:
        """The loader of the next epoch; called before every epoch."""
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        run = self.run
        items = share(run.config.stage_of(run.epoch)[0].batch, rank, world)
        steps = Steps(run.config, run.epoch, self.cases, self.phantoms, items, dict(run.hardness), run.step)
        return DataLoader(
            steps, batch_size=None, num_workers=self.workers, worker_init_fn=_one_thread if self.workers else None
        )


def share(batch: int, rank: int, world: int) -> Sequence[int]:
    """The indices of a batch that one of several processes draws.

    Raises:
        ConfigurationError: the batch cannot be divided evenly, which would change the gradient.
    """
    if batch % world:
        raise ConfigurationError(f"a batch of {batch} cannot be divided between {world} processes; change `batch`")
    return range(rank, batch, world)


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
