"""What a run gives."""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Optional, Tuple

import numpy as np
import slicer
from lvnet.acceleration import ComputePath


class DoubtfulRegion(NamedTuple):
    """A connected region in which the network was unsure.

    Attributes:
        volume: in ml.
        place: (R, A, S) mm of a voxel in the middle of the region, in the volume's own space: parent transforms are
            left aside.
    """

    volume: float
    place: Tuple[float, float, float]


class DoubtfulRegions(NamedTuple):
    """All regions of a result in which the network was unsure.

    Attributes:
        regions: at least one, the largest first.
        box: the part of the volume's grid that holds them all, three slices.
        voxels: (z, y, x) uint8 zeros and ones in that box.
    """

    regions: Tuple[DoubtfulRegion, ...]
    box: Tuple[slice, slice, slice]
    voxels: np.ndarray


class Outcome(NamedTuple):
    """What a run gives.

    Attributes:
        segmentationNode: the vtkMRMLSegmentationNode that holds the segments.
        lines: what a user should read: the volume of every class, and what was noticed.
        checks: (verdict, sentence) of every self-check: "ok", "look", "wrong", or None where there
            is nothing to judge by.
        volumes: millilitres by class name.
        seconds: from the start of the job to its result.
        volumeNodeID: of the volume that was segmented.
        device: where it was computed, and why there, in one line.
        computePath: how the network was computed there.
        weights: name of the weights.
        logPath: the file that holds the log of the run; empty where none could be written.
        doubtful: where the network was unsure; None where there is no such region.
    """

    segmentationNode: slicer.vtkMRMLSegmentationNode
    lines: List[str]
    checks: List[Tuple[Optional[str], str]]
    volumes: Dict[str, float]
    seconds: float
    volumeNodeID: str
    device: str
    computePath: ComputePath
    weights: str
    logPath: str
    doubtful: Optional[DoubtfulRegions]
