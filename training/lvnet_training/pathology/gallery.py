"""A picture of each kind of pathology in a phantom: `python -m lvnet_training.pathology.gallery FOLDER`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Optional, Sequence

import numpy as np
from lvnet import phantom
from lvnet.errors import ConfigurationError, LVNetError
from lvnet.files import whole_file
from lvnet.orientation import to_canonical

from ..pictures import figure_of
from . import KINDS, Anatomy

#: A phantom with lung, and a region in it with room for every kind.
_SEED = 7
_SIZE, _SPACING = (96, 160, 192), (3.5, 2.5, 2.5)
#: Random seeds with good examples of each kind.
_STREAMS = {"brightness": 3, "lesions": 2, "ascites": 4, "metal": 5, "low_dose": 2}
_STYLE = {"cmap": "gray", "vmin": -120, "vmax": 240}


def draw_kind(kind: str, path: Path, seed: int = _SEED, stream: Optional[int] = None) -> None:
    """Draws one axial slice before and after, and a coronal one after, with the organ's outline.

    Raises:
        ConfigurationError: the kind is unknown, or there is no room for it in this phantom.
    """
    if kind not in KINDS:
        raise ConfigurationError(f"unknown pathology {kind!r}; choose {', '.join(KINDS)}")
    scan, label = phantom.make_phantom(seed, size=_SIZE, spacing=_SPACING)
    moved, orientation = to_canonical(scan)
    organ = (orientation.apply(label.array) > 0).astype(np.float32)
    plain = Anatomy(moved.array, organ, moved.spacing)
    changed = Anatomy(moved.array, organ, moved.spacing)
    rng = np.random.default_rng(_STREAMS.get(kind, 1) if stream is None else stream)
    if not KINDS[kind](rng, changed):
        raise ConfigurationError(f"there is no room for {kind} in the phantom of seed {seed}")
    # The slice with the largest change within the organ's extent.
    levels = np.flatnonzero(organ.any(axis=(1, 2)))
    rows = np.flatnonzero(organ.any(axis=(0, 2)))
    difference = np.zeros_like(organ)
    near = (slice(levels[0], levels[-1] + 1), slice(rows[0], rows[-1] + 1))
    difference[near] = np.abs(changed.hu - plain.hu)[near]
    z, y = int(difference.sum(axis=(1, 2)).argmax()), int(difference.sum(axis=(0, 2)).argmax())
    figure = figure_of(12, 4.4, "black")
    views = (
        (plain.hu[z], plain.organ[z], "before", 1.0, "upper"),
        (changed.hu[z], changed.organ[z], kind.replace("_", " "), 1.0, "upper"),
        (changed.hu[:, y], changed.organ[:, y], "coronal", _SPACING[0] / _SPACING[2], "lower"),
    )
    for panel, (hu, share, title, aspect, origin) in zip(figure.subplots(1, 3), views):
        panel.imshow(hu, aspect=aspect, origin=origin, **_STYLE)
        panel.contour(share, [0.5], colors="#4dd0e1", linewidths=1)
        panel.set_title(title, color="white", fontsize=11)
        panel.axis("off")
    figure.tight_layout(pad=0.3)
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=56, facecolor="black")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Draws every kind into a folder; the exit code is 0, or 2 for a user's error."""
    parser = argparse.ArgumentParser(prog="lvnet_training.pathology.gallery", description=__doc__)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    try:
        options.folder.mkdir(parents=True, exist_ok=True)
        for kind in KINDS:
            draw_kind(kind, options.folder / f"{kind.replace('_', '-')}.png")
    except LVNetError as error:
        print(f"lvnet_training.pathology.gallery: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"lvnet_training.pathology.gallery: cannot write {options.folder}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
