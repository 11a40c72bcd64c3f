"""Oversampling of hard examples: scans, and places in them, with a high recent loss are drawn more often."""

from __future__ import annotations

from typing import Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from .case import Case

#: Along z: below the organ, its lower, middle and upper third, and above it; without an organ, fifths of the scan.
PLACES = 5
#: Limit for the factor by which a scan or place is drawn more or less often than its trust.
_MOST = 3.0
# Weight of a new epoch in the recent loss.
_NEW = 0.3

#: Recent loss by case name, one number per place; NaN if nothing was drawn yet.
Hardness = Mapping[str, Tensor]


def place_of(case: Case, z: float) -> int:
    """The place, 0 to 4, that a slice of a case belongs to."""
    low, high = (0, len(case.image) - 1) if case.box is None else (case.box[0][0], case.box[1][0])
    if case.box is None:
        return int(np.clip((z - low) / max(1, high - low) * PLACES, 0, PLACES - 1))
    if z < low:
        return 0
    return PLACES - 1 if z > high else 1 + int(np.clip((z - low) / max(1, high - low) * 3, 0, 2))


def case_weights(cases: Sequence[Case], hardness: Hardness, exponent: float) -> np.ndarray:
    """(n,) relative sampling weight of each case, in addition to its trust; 1 if there is no loss yet."""
    losses = np.array([_mean(hardness.get(case.name)) for case in cases])
    return _weights(losses, exponent)


def place_weights(case: Case, hardness: Hardness, exponent: float) -> np.ndarray:
    """(5,) relative sampling weight of each place of a case."""
    known = hardness.get(case.name)
    return _weights(np.full(PLACES, np.nan) if known is None else known.numpy().astype(float), exponent)


def _mean(losses: Optional[Tensor]) -> float:
    if losses is None or not bool(torch.isfinite(losses).any()):
        return float("nan")
    return float(losses[torch.isfinite(losses)].mean())


def _weights(losses: np.ndarray, exponent: float) -> np.ndarray:
    known = np.isfinite(losses)
    if not known.any() or losses[known].mean() <= 0:
        return np.ones(len(losses))
    ratio = np.where(known, losses, losses[known].mean()) / losses[known].mean()
    return np.clip(np.maximum(ratio, 1e-6) ** exponent, 1 / _MOST, _MOST)


class Tally:
    """The losses of an epoch, by case and place, on one process.

    Args:
        cases: the training cases, in order.
    """

    def __init__(self, cases: int) -> None:
        self.sums = torch.zeros(cases, PLACES, dtype=torch.float64)
        self.counts = torch.zeros(cases, PLACES, dtype=torch.float64)

    def add(self, losses: Tensor, drawn: Tensor) -> None:
        """Adds the losses of a batch.

        Args:
            losses: (n,) mean cross entropy of each patch.
            drawn: (n, 2) index of the case and place of each patch; a negative index is a phantom.
        """
        for loss, (case, place) in zip(losses.tolist(), drawn.tolist()):
            if case >= 0:
                self.sums[case, place] += loss
                self.counts[case, place] += 1

    def merged(self, names: Sequence[str], before: Hardness) -> Dict[str, Tensor]:
        """The recent losses after this epoch."""
        after: Dict[str, Tensor] = {name: value for name, value in before.items() if name in set(names)}
        for number, name in enumerate(names):
            seen = self.counts[number] > 0
            if not bool(seen.any()):
                continue
            new = (self.sums[number] / self.counts[number].clamp(min=1)).float()
            old = after.get(name, torch.full((PLACES,), float("nan")))
            mixed = torch.where(torch.isfinite(old), (1 - _NEW) * old + _NEW * new, new)
            after[name] = torch.where(seen, mixed, old)
        return after


def checked(found: Mapping[str, Tensor]) -> Dict[str, Tensor]:
    """Copies of the recent losses from a file.

    Raises:
        ValueError: the contents are invalid.
    """
    result = {}
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, Tensor) or value.shape != (PLACES,):
            raise ValueError("its table of recent losses is damaged")
        result[name] = value.detach().clone().float()
    return result


def chosen(rng: np.random.Generator, candidates: List[np.ndarray], case: Case, weights: np.ndarray) -> np.ndarray:
    """One of several centres (z, y, x), chosen in proportion to the weights of their places."""
    shares = np.array([weights[place_of(case, float(centre[0]))] for centre in candidates])
    return candidates[int(rng.choice(len(candidates), p=shares / shares.sum()))]


def per_patch(logits: Tensor, target: Tensor) -> Tensor:
    """(n,) mean cross entropy of each patch, without a gradient."""
    with torch.no_grad():
        losses = torch.nn.functional.cross_entropy(logits.detach().float(), target, reduction="none")
        return losses.flatten(1).mean(dim=1).cpu()


def drawn_tensor(drawn: Sequence[Tuple[int, int]]) -> Tensor:
    """(n, 2) int64 of (index of the case, place)."""
    return torch.tensor(list(drawn), dtype=torch.int64).reshape(-1, 2)
