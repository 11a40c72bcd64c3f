"""Blends overlapping slabs into one array: weighted sums, in the computer's memory or on the GPU that computes them.

On a GPU nothing is copied back before the last slab, so that it does not wait for the CPU.  Both ways do the same
operations in the same order, so the results are equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional, Tuple, Union

import numpy as np

from .errors import is_out_of_memory

if TYPE_CHECKING:
    import torch


class Blend:
    """Weighted sums in the computer's memory.

    Args:
        sums: (classes, z, y, x) float32 of zeros; receives the mean of the slabs.
        squares: (classes - 1, z, y, x) float32 of zeros; receives the variance between them; None if not needed.
        weights: (depth,) float32 of a slab's slices.
    """

    def __init__(self, sums: np.ndarray, squares: Optional[np.ndarray], weights: np.ndarray) -> None:
        self._sums, self._squares, self._weights = sums, squares, weights
        self._total = np.zeros(sums.shape[1], np.float32)

    def add(self, found: torch.Tensor, place: slice, inside: slice) -> Blend:
        """Adds a slab.

        Args:
            found: (classes, depth, y, x) float32 probabilities, perhaps with padding at the end of y and x.
            place: slices of the sums.
            inside: the slices of the slab that belong there.

        Returns:
            What the next slab is added to.
        """
        height, width = self._sums.shape[2:]
        slab, share = found.cpu().numpy()[:, inside, :height, :width], self._weights[inside].reshape(1, -1, 1, 1)
        self._sums[:, place] += slab * share
        if self._squares is not None:
            self._squares[:, place] += np.square(slab[1:]) * share
        self._total[place] += self._weights[inside]
        return self

    def finish(self) -> np.ndarray:
        """Divides the sums by the weights, and returns the indices of the slices that were computed."""
        computed = np.flatnonzero(self._total)
        for z in computed:
            self._sums[:, z] /= self._total[z]
            if self._squares is not None:
                self._squares[:, z] /= self._total[z]
                self._squares[:, z] -= np.square(self._sums[1:, z])
        return computed


class BlendOnDevice(Blend):
    """Weighted sums on a GPU; the arrays are filled at the end.

    Args:
        device: of the slabs.
    """

    def __init__(
        self, sums: np.ndarray, squares: Optional[np.ndarray], weights: np.ndarray, device: torch.device
    ) -> None:
        import torch

        super().__init__(sums, squares, weights)
        self._there = torch.zeros(sums.shape, device=device)
        self._squares_there = None if squares is None else torch.zeros(squares.shape, device=device)
        self._weights_there = torch.from_numpy(weights).to(device)
        self._before: Any = None

    def add(self, found: torch.Tensor, place: slice, inside: slice) -> Blend:
        """See :meth:`Blend.add`."""
        if found.device.type != self._there.device.type:
            # The GPU ran out of memory, and the CPU continues.
            return self._in_memory().add(found, place, inside)
        height, width = self._sums.shape[2:]
        slab, share = found[:, inside, :height, :width], self._weights_there[inside].reshape(1, -1, 1, 1)
        self._there[:, place] += slab * share
        if self._squares_there is not None:
            self._squares_there[:, place] += slab[1:].square() * share
        self._total[place] += self._weights[inside]
        self._keep_pace()
        return self

    def finish(self) -> np.ndarray:
        """See :meth:`Blend.finish`."""
        return self._in_memory().finish()

    def _in_memory(self) -> Blend:
        blend = Blend(self._sums, self._squares, self._weights)
        self._sums[...] = self._there.cpu().numpy()
        if self._squares is not None and self._squares_there is not None:
            self._squares[...] = self._squares_there.cpu().numpy()
        blend._total = self._total
        return blend

    def _keep_pace(self) -> None:
        """Waits for the previous slab: the GPU always has work, and progress and Cancel stay up to date."""
        if self._there.device.type != "cuda":
            return
        import torch

        event = torch.cuda.Event()
        event.record()
        if self._before is not None:
            self._before.synchronize()
        self._before = event


def handed_over(
    padded: np.ndarray, sums: np.ndarray, squares: Optional[np.ndarray], weights: np.ndarray, device: torch.device
) -> Tuple[Union[np.ndarray, torch.Tensor], Blend]:
    """Puts the voxels and the sums on the device that computes the slabs, if its memory suffices.

    Args:
        padded: (z, y, x) float32, of which slabs are slices.
        sums, squares, weights: see :class:`Blend`.
        device: of the network.
    """
    if keeps_voxels(device):
        import torch

        try:
            return torch.from_numpy(padded).to(device), BlendOnDevice(sums, squares, weights, device)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
    return padded, Blend(sums, squares, weights)


def keeps_voxels(device: torch.device) -> bool:
    """Whether a device keeps voxels and sums while slabs are computed."""
    return device.type == "cuda"
