"""Scores on whole scans, by way of the very inference that users run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Sequence, Tuple

import torch
from lvnet.acceleration import fast_network
from lvnet.evaluation import evaluate
from lvnet.image_io import read_image, read_labels
from lvnet.inference import Model, segment
from lvnet.network import LVNet
from lvnet.progress import Progress, silent
from lvnet.recipe import Recipe
from lvnet.volume import Volume

Pair = Tuple[str, Volume, Volume]


def load_pairs(folders: Sequence[Path]) -> Sequence[Pair]:
    """Scans and labels of case folders, kept in memory: validation reads them every epoch."""
    return [(f.name, read_image(f / "ct.nii.gz"), read_labels(f / "liver.nii.gz")) for f in folders]


def score(
    model: Model, pairs: Sequence[Pair], overlap: float = 0.5, progress: Progress = silent
) -> Dict[str, Dict[str, Any]]:
    """The five metrics of every case.

    Returns:
        By case name, what :func:`lvnet.evaluation.evaluate` answers.
    """
    scores = {}
    for number, (name, scan, label) in enumerate(pairs):
        progress(number / len(pairs), name)
        scores[name] = evaluate(segment(scan, model=model, overlap=overlap).labels, label, label=1)
    return scores


def validate(network: LVNet, recipe: Recipe, pairs: Sequence[Pair], overlap: float = 0.25) -> Dict[str, float]:
    """Mean DICE over cases as `dice`, and each case's as `dice_NAME`."""
    device = next(network.parameters()).device
    network.eval().to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    scores = score(Model(network, recipe, device, "", fast=fast_network(network)), pairs, overlap)
    result = {f"dice_{name}": float(case["dice"]) for name, case in scores.items()}
    return {"dice": sum(result.values()) / len(result), **result}
