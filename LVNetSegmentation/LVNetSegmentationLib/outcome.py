"""What a run gives."""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Optional, Tuple

import slicer


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
        weights: name of the weights.
        logPath: the file that holds the log of the run; empty where none could be written.
    """

    segmentationNode: slicer.vtkMRMLSegmentationNode
    lines: List[str]
    checks: List[Tuple[Optional[str], str]]
    volumes: Dict[str, float]
    seconds: float
    volumeNodeID: str
    device: str
    weights: str
    logPath: str
