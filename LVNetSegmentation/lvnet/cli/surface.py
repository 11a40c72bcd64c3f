"""`lvnet surface`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..batch import refuse_overwriting
from ..image_io import check_output_path
from ..image_io.write import atomic_file
from ..surface import DEFAULT_SMOOTHING_MM, SUFFIXES, encoded, surface_of
from .labels import chosen_mask
from .terminal import one_line


def run_surface(options: argparse.Namespace) -> int:
    """Writes the surface of a label map, of one of its labels, or of several together."""
    target = Path(options.output)
    suffix = check_output_path(target, SUFFIXES)
    refuse_overwriting([Path(options.labels)], [target], "the label map itself")
    smoothing = DEFAULT_SMOOTHING_MM if options.smooth is None else options.smooth
    surface = surface_of(chosen_mask(options.labels, options.label, options.threshold), smoothing)
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
