"""The logs of a run: a table of its epochs, the loss curve, and example segmentations."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Dict, List, Mapping, Sequence, Tuple

import numpy as np
import torch
from lvnet.files import write_whole
from lvnet.volume import Volume

from .batches import draw_batch
from .case import Case
from .pictures import figure_of, overlay_picture, save_figure
from .state import Run

# An epoch number that no run reaches, for the random stream of the example patch.
_EXAMPLE_EPOCH, _EXAMPLES = 1_000_000, 8


def log_row(path: Path, row: Dict[str, float]) -> None:
    """Adds a row to a CSV file; epochs that are repeated after a resume replace their old rows."""
    rows: List[Dict[str, str]] = [old for old in read_log(path) if int(old["epoch"]) < row["epoch"]]
    rows.append({key: f"{value:.6g}" for key, value in row.items()})
    names: List[str] = []
    for entry in rows:
        names += [name for name in entry if name not in names]
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, names)
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, table.getvalue().encode("utf-8"))


def read_log(path: Path) -> List[Dict[str, str]]:
    """The rows of a log; empty if there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class Pictures:
    """Draws the curve and examples after every epoch, into `pictures` of the run's folder.

    Examples are the first validation cases, as passed to :meth:`seen`; without validation, one fixed patch of
    the training data.
    """

    def __init__(self, folder: Path, cases: Sequence[Case], phantoms: Sequence[Case], examples: int = 2) -> None:
        self.folder, self.cases, self.phantoms, self.examples = folder, cases, phantoms, examples
        self._found: Dict[str, Tuple[Volume, Volume, Volume]] = {}

    def seen(self, name: str, scan: Volume, label: Volume, found: Volume) -> None:
        """Receives the segmentation of a validation case."""
        if name in self._found or len(self._found) < self.examples:
            self._found[name] = (scan, label, found)

    def __call__(self, run: Run) -> None:
        """An :data:`.loop.AfterEpoch`."""
        pictures = self.folder / "pictures"
        pictures.mkdir(parents=True, exist_ok=True)
        loss_curve(self.folder / "log.csv", pictures / "loss.png")
        examples = self._found or {"patch": self._patch(run)}
        for name, (scan, label, found) in examples.items():
            file = f"epoch-{run.epoch:03d}-{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}.png"
            overlay_picture(scan, found, pictures / file, label, title=f"{name}, epoch {run.epoch}")
        # There may be no validation after the next epoch, and these examples would be outdated.
        self._found = {}

    def _patch(self, run: Run) -> Tuple[Volume, Volume, Volume]:
        config = run.config
        stage, _ = config.stage_of(run.epoch - 1)
        draws = [
            draw_batch(config, stage, self.cases, self.phantoms, _EXAMPLE_EPOCH, number, [0])
            for number in range(_EXAMPLES)
        ]
        x, target = max(draws, key=lambda draw: int((draw[1] > 0).sum()))
        device = next(run.network.parameters()).device
        with torch.inference_mode():
            found = run.averaged_network().to(device)(x.to(device)).argmax(dim=1)[0].cpu().numpy()
        values = x[0, 0].numpy()
        low, high = config.preprocessing.window
        share = (values - values.min()) / max(float(np.ptp(values)), 1e-6)
        spacing = stage.spacing or (1.0, 1.0, 1.0)
        scan = Volume((low + share * (high - low)).astype(np.int16), spacing)
        return scan, scan.with_array(target[0].numpy().astype(np.uint8)), scan.with_array(found.astype(np.uint8))


def loss_curve(log: Path, path: Path) -> None:
    """Draws loss and DICE by epoch from a log."""
    rows = read_log(log)
    figure = figure_of(7, 4.2)
    axes = figure.add_subplot()
    axes.plot(*_column(rows, "loss"), color="#c0392b", marker=".", label="loss")
    axes.set_xlabel("epoch")
    axes.set_ylabel("mean loss")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    epochs, dice = _column(rows, "dice")
    if dice:
        right = axes.twinx()
        right.plot(epochs, dice, color="#2471a3", marker=".", label="validation DICE")
        right.set_ylabel("DICE")
    figure.legend(loc="upper center", ncols=2, frameon=False)
    save_figure(figure, path)


def _column(rows: Sequence[Mapping[str, str]], name: str) -> Tuple[List[int], List[float]]:
    found = [(int(row["epoch"]), float(row[name])) for row in rows if row.get(name)]
    return [epoch for epoch, _ in found], [value for _, value in found]
