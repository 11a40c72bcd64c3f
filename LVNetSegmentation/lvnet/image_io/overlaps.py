"""Storing overlapping masks in one array, whose values represent combinations of segments."""

from __future__ import annotations

from dataclasses import replace
from typing import Dict, FrozenSet, List, Sequence, Tuple

import numpy as np

from ..errors import ImageError
from ..volume import Segment
from .voxels import VoxelStack

_MOST_COMBINATIONS = 32767


class Overlaps:
    """Collects masks slice by slice.

    Args:
        name: the file's name for messages.
        shape: (z, y, x).
    """

    def __init__(self, name: str, shape: Tuple[int, int, int]) -> None:
        self._name = name
        self._array = np.zeros(shape, np.int16)
        self._members: List[FrozenSet[int]] = [frozenset()]
        self._numbers: Dict[FrozenSet[int], int] = {frozenset(): 0}

    def add(self, index: int, mask: np.ndarray, segment: int) -> None:
        """Adds a segment's (y, x) bool mask to slice `index`.

        Raises:
            ImageError: the segments overlap in too many ways.
        """
        plane = self._array[index]
        held = plane[mask]
        moved = held.copy()
        for number in np.unique(held):
            moved[held == number] = self._with(int(number), segment)
        plane[mask] = moved

    def finish(self, segments: Sequence[Segment]) -> Tuple[VoxelStack, Tuple[Segment, ...]]:
        """The voxels, and the segments with their array values; the n-th segment was added as n."""
        stack = VoxelStack(self._array.shape)
        for index, plane in enumerate(self._array):
            stack.put(index, plane)
        return stack, tuple(
            replace(entry, voxels=tuple(number for number, held in enumerate(self._members) if segment in held))
            for segment, entry in enumerate(segments)
        )

    def _with(self, number: int, segment: int) -> int:
        members = self._members[number] | {segment}
        if members not in self._numbers:
            if len(self._members) > _MOST_COMBINATIONS:
                raise ImageError(f"{self._name}: its segments overlap in too many combinations; export fewer of them")
            self._numbers[members] = len(self._members)
            self._members.append(members)
        return self._numbers[members]
