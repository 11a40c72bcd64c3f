"""The result of a run."""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Optional, Tuple

import numpy as np
import slicer
from lvnet.acceleration import ComputePath


class DoubtfulRegion(NamedTuple):
    """A connected region in which the network was unsure.

    Attributes:
        volume: in ml.
        place: (R, A, S) mm of a voxel in the middle of the region, in the volume's local coordinates (without
            parent transforms).
    """

    volume: float
    place: Tuple[float, float, float]


class DoubtfulRegions(NamedTuple):
    """All regions of a result in which the network was unsure.

    Attributes:
        regions: at least one, the largest first.
        box: their bounding box in the volume's grid, three slices.
        voxels: (z, y, x) uint8 zeros and ones in that box.
    """

    regions: Tuple[DoubtfulRegion, ...]
    box: Tuple[slice, slice, slice]
    voxels: np.ndarray


class Outcome(NamedTuple):
    """The result of a run.

    Attributes:
        segmentationNode: the vtkMRMLSegmentationNode that holds the segments.
        lines: messages for the user: the volume of every class, and remarks.
        checks: (verdict, sentence) of every plausibility check: "ok", "look", "wrong", or None if there
            is no basis for a verdict.
        volumes: millilitres by class name.
        seconds: from the start of the job to its result.
        volumeNodeID: of the volume that was segmented.
        device: the device and why it was used, in one line.
        computePath: how the network was computed there.
        weights: name of the weights.
        logPath: the log file of the run; empty if none could be written.
        doubtful: where the network was unsure; None if there is no such region.
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
