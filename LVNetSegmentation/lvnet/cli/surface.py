"""`lvnet surface`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from ..batch import refuse_overwriting
from ..evaluation.pair import side_in
from ..image_io import check_output_path, read_segments
from ..image_io.write import atomic_file
from ..surface import DEFAULT_SMOOTHING_MM, SUFFIXES, encoded, surface_of
from .terminal import one_line


def run_surface(options: argparse.Namespace) -> int:
    """Writes the surface of a label map, of one of its labels, or of several together."""
    target = Path(options.output)
    suffix = check_output_path(target, SUFFIXES)
    refuse_overwriting([Path(options.labels)], [target], "the label map itself")
    volume = read_segments(options.labels, threshold=options.threshold)
    array = volume.array != 0
    if options.label is not None:
        side = side_in(options.labels, volume)
        chosen = [segment for term in options.label.split("+") for segment in side.found(term.strip())]
        array = np.isin(volume.array, [value for segment in chosen for value in segment.voxels])
    smoothing = DEFAULT_SMOOTHING_MM if options.smooth is None else options.smooth
    surface = surface_of(volume.with_array(array), smoothing)
    data = encoded(surface, suffix, options.coordinates)
    with atomic_file(target) as file:
        file.write(data)
    if not options.quiet:
        print(
            one_line(
                f"lvnet: {target}: {len(surface.triangles)} triangles, {surface.volume_ml:.1f} ml, in mm,"
                f" {options.coordinates.upper()}"
            ),
            file=sys.stderr,
        )
    return 0
