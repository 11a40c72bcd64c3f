"""An IRB block at inference on a CPU with PyTorch alone, in tiles and groups of channels that fit the caches."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from ..folding import FoldedIRB

#: Rows and columns of a tile, and expanded channels per group.
TILE, GROUP = 32, 32


def elu_(x: Tensor) -> Tensor:
    """ELU in place as max(x, exp(min(x, 0)) - 1), several times faster than PyTorch's own on a CPU."""
    return torch.maximum(x, x.clamp(max=0).exp_().sub_(1), out=x)


class TiledIRB:
    """One IRB block, batch norm folded, with any number of channels and any odd kernel size.

    The expanded tensor, with four times the block's channels, is never in memory as a whole.
    """

    def __init__(self, block: FoldedIRB) -> None:
        def tensor(values: object) -> Tensor:
            return torch.tensor(values, dtype=torch.float32)

        self.expand = tensor(block.expand[0]).t().contiguous(), tensor(block.expand[1])
        weight = tensor(block.depthwise[0]).unsqueeze(1)
        self.depthwise = weight.contiguous(memory_format=torch.channels_last_3d), tensor(block.depthwise[1])
        self.project = tensor(block.project[0]).t().contiguous(), tensor(block.project[1])
        self.residual = None if block.residual is None else tensor(block.residual).t().contiguous()
        self.radius = weight.shape[-1] // 2

    def __call__(self, x: Tensor, out: Tensor, threads: int) -> None:
        """Computes the block.

        Args:
            x: (D, H, W, C) float32 with contiguous channels.
            out: receives the result; same layout, no memory shared with `x`.
            threads: not used; PyTorch's own setting applies.
        """
        _, height, width, _ = x.shape
        for top in range(0, height, TILE):
            for left in range(0, width, TILE):
                self._tile(x, out, top, min(TILE, height - top), left, min(TILE, width - left))

    def _tile(self, x: Tensor, out: Tensor, top: int, rows: int, left: int, columns: int) -> None:
        slices, height, width, channels = x.shape
        r = self.radius
        first_row, last_row = max(0, top - r), min(height, top + rows + r)
        first_column, last_column = max(0, left - r), min(width, left + columns + r)
        # Zero padding, only where the tile reaches beyond the image.
        border = (r - (left - first_column), left + columns + r - last_column,
                  r - (top - first_row), top + rows + r - last_row)  # fmt: skip
        seen = x[:, first_row:last_row, first_column:last_column].reshape(-1, channels)
        shape = (1, slices, last_row - first_row, last_column - first_column, -1)
        middle = x[:, top : top + rows, left : left + columns].reshape(-1, channels)
        if self.residual is None:
            total = middle + self.project[1]
        else:
            total = torch.addmm(self.project[1], middle, self.residual)
        for start in range(0, self.expand[0].shape[1], GROUP):
            part = slice(start, start + GROUP)
            wide = elu_(torch.addmm(self.expand[1][part], seen, self.expand[0][:, part]))
            wide = wide.view(shape).permute(0, 4, 1, 2, 3)
            if any(border):
                wide = F.pad(wide, border).contiguous(memory_format=torch.channels_last_3d)
            weight, bias = self.depthwise[0][part], self.depthwise[1][part]
            wide = elu_(F.conv3d(wide, weight, bias, padding=(r, 0, 0), groups=len(bias)))
            total.addmm_(wide.permute(0, 2, 3, 4, 1).reshape(len(total), -1), self.project[0][part])
        out[:, top : top + rows, left : left + columns] = total.view(slices, rows, columns, -1)
