"""Eq. 3 of the paper: voxel-wise cross entropy of the main and the auxiliary outputs."""

from __future__ import annotations

from typing import Sequence

from lvnet.network import DEEP_SUPERVISION_WEIGHTS
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def deep_supervision_loss(
    main: Tensor, auxiliary: Sequence[Tensor], target: Tensor, eta: Sequence[float] = DEEP_SUPERVISION_WEIGHTS
) -> Tensor:
    """L_main + sum of eta_i L_i, each the mean cross entropy over voxels.

    The third term of Eq. 3, lambda (|W|^2 + sum |w_i|^2), is the optimiser's `weight_decay`.

    Args:
        main: logits (N, classes, D, H, W).
        auxiliary: logits of the same shape, coarsest decoder stage first.
        target: (N, D, H, W) int64.
        eta: one weight an auxiliary output.
    """
    if len(auxiliary) != len(eta):
        raise ValueError(f"{len(auxiliary)} auxiliary outputs for {len(eta)} weights")
    loss = F.cross_entropy(main, target)
    for weight, logits in zip(eta, auxiliary):
        loss = loss + weight * F.cross_entropy(logits, target)
    return loss
