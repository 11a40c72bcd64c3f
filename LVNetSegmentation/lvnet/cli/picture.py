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
from ..report.png import png
from ..report.portrait import portrait
from .labels import chosen_mask
from .terminal import one_line


def run_picture(options: argparse.Namespace) -> int:
    """Writes a picture for a report: three planes and the body from the front."""
    target = Path(options.output)
    check_output_path(target, (".png",))
    refuse_overwriting([Path(options.scan), Path(options.labels)], [target], "what the picture is made of")
    scan = read_image(options.scan, series=options.series)
    mask = chosen_mask(options)
    try:
        labels, on_labels, _ = on_one_grid(mask, scan, False)
    except GeometryError as error:
        raise GeometryError(
            f"{shown(options.labels)} does not lie on the grid of {shown(options.scan)}; give the scan that it was"
            " made of"
        ) from error
    data = png(portrait(on_labels, labels, body=not options.no_body))
    with atomic_file(target) as file:
        file.write(data)
    if not options.quiet:
        print(one_line(f"lvnet: {target}: R, L, A, P, S, I are the patient's sides; the bar is 50 mm"), file=sys.stderr)
    return 0
