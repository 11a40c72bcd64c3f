"""Eq. 3 of the paper: voxel-wise cross entropy of the main and the auxiliary outputs."""

from __future__ import annotations

from typing import Sequence

import torch
from lvnet.network import DEEP_SUPERVISION_WEIGHTS
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def deep_supervision_loss(
    main: Tensor,
    auxiliary: Sequence[Tensor],
    target: Tensor,
    eta: Sequence[float] = DEEP_SUPERVISION_WEIGHTS,
    dice: float = 0.0,
) -> Tensor:
    """L_main + sum of eta_i L_i, each the mean cross entropy over voxels.

    The third term of Eq. 3, lambda (|W|^2 + sum |w_i|^2), is the optimiser's `weight_decay`.

    Args:
        main: logits (N, classes, D, H, W).
        auxiliary: logits of the same shape, coarsest decoder stage first.
        target: (N, D, H, W) int64.
        eta: one weight per auxiliary output.
        dice: weight of a soft DICE loss in addition to every cross entropy; the paper has none (0).
    """
    if len(auxiliary) != len(eta):
        raise ValueError(f"{len(auxiliary)} auxiliary outputs for {len(eta)} weights")
    loss = _single(main, target, dice)
    for weight, logits in zip(eta, auxiliary):
        loss = loss + weight * _single(logits, target, dice)
    return loss


def _single(logits: Tensor, target: Tensor, dice: float) -> Tensor:
    loss = F.cross_entropy(logits, target)
    return loss + dice * soft_dice_loss(logits, target) if dice else loss


def soft_dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """1 - DICE of probabilities, summed over the whole batch, mean over classes except background.

    Summed over the batch rather than over each patch, to avoid a discontinuity for patches without the organ.

    Args:
        logits: (N, classes, D, H, W).
        target: (N, D, H, W) int64.
    """
    probabilities = torch.softmax(logits.float(), dim=1)
    terms = []
    for value in range(1, logits.shape[1]):
        p, t = probabilities[:, value], (target == value).float()
        terms.append(1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1))
    return torch.stack(terms).mean()
