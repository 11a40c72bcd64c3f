"""`lvnet measure`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..batch import refuse_overwriting
from ..evaluation.pair import side_in
from ..image_io import read_image, read_segments
from ..image_io.names import check_output_folder
from ..image_io.write import write_json
from ..measurements import measured
from .terminal import json_text, one_line, printable


def run_measure(options: argparse.Namespace) -> int:
    """Prints volume and HU of every label, or JSON alone with `--json -`."""
    scan_path, labels_path = Path(options.scan), Path(options.labels)
    if options.json not in (None, "-"):
        check_output_folder(options.json)
        refuse_overwriting([scan_path, labels_path], [Path(options.json)], "read for the measurement")
    scan = read_image(scan_path)
    labels = read_segments(labels_path, threshold=options.threshold, like=scan)
    result = measured(scan, labels, side_in(labels_path, labels, options.reference_set))
    if options.json == "-":
        print(json_text(result))
        return 0
    if options.json:
        write_json(result, options.json)
    width = max([5, *(len(name) for name in result["labels"])])
    print(f"{'label'.ljust(width)} {'ml':>10} {'mean HU':>9} {'sd':>9} {'median':>9}")
    for name, entry in result["labels"].items():
        hu = entry["hu"] or {}
        cells = [f"{hu[key]:9.1f}" if key in hu else "-".rjust(9) for key in ("mean", "sd", "p50")]
        print(printable(f"{name.ljust(width)} {entry['volume_ml']:10.1f} {' '.join(cells)}"))
    for note in result["notes"]:
        print(one_line(f"note: {note}"), file=sys.stderr)
    return 0
