"""What of a segmentation a command works on."""

from __future__ import annotations

import argparse

import numpy as np

from ..evaluation.pair import side_in
from ..image_io import read_segments
from ..volume import Volume


def chosen_mask(options: argparse.Namespace) -> Volume:
    """The segmentation of the command line, or those of its labels that `--label` names, as uint8 zeros and ones."""
    volume = read_segments(options.labels, threshold=options.threshold)
    mask = volume.array != 0
    if options.label is not None:
        side = side_in(options.labels, volume)
        chosen = [segment for term in options.label.split("+") for segment in side.found(term.strip())]
        mask = np.isin(volume.array, [value for segment in chosen for value in segment.voxels])
    return volume.with_array(mask.astype(np.uint8))
