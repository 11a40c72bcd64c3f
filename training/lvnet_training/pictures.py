"""Overlays of a segmentation on its scan, for visual inspection.

`python -m lvnet_training.pictures CT LABELS OUT.png [--reference LABELS]`
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, List, Optional, Sequence

import numpy as np
from lvnet.errors import DependencyError, GeometryError, LVNetError
from lvnet.files import whole_file
from lvnet.image_io import read_image, read_labels
from lvnet.orientation import to_canonical
from lvnet.volume import Volume

_PREDICTION, _REFERENCE = "#ff7043", "#4dd0e1"


def overlay_picture(
    scan: Volume, labels: Volume, path: Path, reference: Optional[Volume] = None, title: str = ""
) -> None:
    """Six axial slices through the organ, one coronal and one sagittal, with outlines.

    Radiological convention: the patient's right is on the picture's left, and anterior is up.

    Raises:
        GeometryError: the grids differ.
    """
    for other in (labels, reference):
        if other is not None and not scan.same_grid(other):
            raise GeometryError("scan and labels have different grids")
    moved, orientation = to_canonical(scan)
    maps = [(orientation.apply(labels.array) > 0, _PREDICTION)]
    if reference is not None:
        maps.append((orientation.apply(reference.array) > 0, _REFERENCE))
    anywhere = np.logical_or.reduce([m for m, _ in maps])
    centre = [_middle(anywhere, axis) for axis in range(3)]
    touched = np.flatnonzero(anywhere.any(axis=(1, 2)))
    low, high = (touched[0], touched[-1]) if len(touched) else (0, moved.shape[0] - 1)
    views: List = [(0, int(z)) for z in np.linspace(low, high, 8)[1:-1]] + [(1, centre[1]), (2, centre[2])]
    figure = figure_of(16, 8.4, "black")
    axes = figure.subplots(2, 4)
    for panel, (axis, index) in zip(axes.flat, views):
        rows, columns = (a for a in range(3) if a != axis)
        aspect = moved.spacing[rows] / moved.spacing[columns]
        shown = {
            "cmap": "gray",
            "vmin": -120,
            "vmax": 240,
            "aspect": aspect,
            "origin": "upper" if axis == 0 else "lower",
        }
        panel.imshow(np.take(moved.array, index, axis), **shown)
        for mask, colour in maps:
            plane = np.take(mask, index, axis)
            if plane.any():
                panel.contour(plane, levels=[0.5], colors=colour, linewidths=1.2)
        name = ("axial", "coronal", "sagittal")[axis]
        panel.set_title(f"{name} {index}", color="white", fontsize=10)
        panel.set_axis_off()
    legend = "orange: segmentation" + ("; blue: reference" if reference is not None else "")
    figure.suptitle(f"{title}    {legend}" if title else legend, color="white", fontsize=11)
    figure.tight_layout()
    save_figure(figure, path)


def figure_of(width: float, height: float, colour: str = "white") -> Any:
    """An empty figure of this size in inches, which needs no display.

    Raises:
        DependencyError: matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise DependencyError('pictures need matplotlib; pip install ".[train]"') from error
    return Figure(figsize=(width, height), facecolor=colour)


def save_figure(figure: Any, path: Path) -> None:
    """Writes a figure as PNG, completely or not at all."""
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=80)


def _middle(mask: np.ndarray, axis: int) -> int:
    touched = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
    return int(touched[len(touched) // 2]) if len(touched) else mask.shape[axis] // 2


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """The command; exit code 2 for a user's error."""
    parser = argparse.ArgumentParser(
        prog="lvnet_training.pictures", description="Draws the outlines of a segmentation on its scan."
    )
    parser.add_argument("scan", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--reference", type=Path)
    options = parser.parse_args(arguments)
    try:
        reference = read_labels(options.reference) if options.reference else None
        overlay_picture(read_image(options.scan), read_labels(options.labels), options.output, reference)
    except LVNetError as error:
        print(f"pictures: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
