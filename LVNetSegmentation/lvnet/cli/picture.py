"""`lvnet picture`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..batch import refuse_overwriting
from ..errors import GeometryError
from ..evaluation.grids import on_one_grid
from ..image_io import check_output_path, read_image
from ..image_io.names import shown
from ..image_io.write import atomic_file
from ..orientation import to_canonical
from ..report.png import png
from ..report.portrait import portrait
from ..volume import Volume
from .labels import chosen_mask
from .terminal import one_line


def run_picture(options: argparse.Namespace) -> int:
    """Writes a picture for a report: three planes and a frontal 3D view of the body."""
    target = Path(options.output)
    check_output_path(target, (".png",))
    refuse_overwriting([Path(options.scan), Path(options.labels)], [target], "an input of the picture")
    # Masks may be stored in another orientation of the same grid.
    scan = to_canonical(read_image(options.scan, series=options.series))[0]
    labels = _mask_on(scan, options.labels, options)
    reference = None if options.reference is None else _mask_on(scan, options.reference, options)
    data = png(portrait(scan, labels, body=not options.no_body, reference=reference))
    with atomic_file(target) as file:
        file.write(data)
    if not options.quiet:
        blue = "" if reference is None else "; blue is the reference"
        words = f"{target}: R, L, A, P, S, I mark the patient's directions; the scale bar is 50 mm{blue}"
        print(one_line(f"lvnet: {words}"), file=sys.stderr)
    return 0


def _mask_on(scan: Volume, path: str, options: argparse.Namespace) -> Volume:
    try:
        return on_one_grid(scan, chosen_mask(path, options.label, options.threshold), False)[1]
    except GeometryError as error:
        raise GeometryError(
            f"{shown(path)} is not on the voxel grid of {shown(options.scan)}; give the scan that it belongs to"
        ) from error
