"""`lvnet phantom`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import ConfigurationError, ImageError
from ..image_io import write_image, write_labels
from ..phantom import make_phantom
from ..recipe import LIVER
from .terminal import ProgressBar


def run_phantom(options: argparse.Namespace) -> int:
    """Writes ct.nii.gz and liver.nii.gz; several phantoms get one folder each."""
    if options.count < 1:
        raise ConfigurationError(f"--count must be at least 1, not {options.count}")
    if options.seed < 0:
        raise ConfigurationError(f"--seed must be 0 or more, not {options.seed}")
    for seed in range(options.seed, options.seed + options.count):
        folder = Path(options.output)
        if options.count > 1:
            folder = folder / f"phantom{seed:04d}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImageError(f"cannot make the folder {folder}: {error.strerror}; choose another") from error
        with ProgressBar(f"phantom {seed} ", False if options.quiet else None) as bar:
            scan, label = make_phantom(seed, progress=bar)
            write_image(scan, folder / "ct.nii.gz")
            write_labels(label, folder / "liver.nii.gz", [LIVER])
        if not options.quiet:
            print(f"{folder / 'ct.nii.gz'} and liver.nii.gz: phantom {seed}")
    return 0
