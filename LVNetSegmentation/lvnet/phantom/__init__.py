"""Synthetic phantoms: random abdominal CTs in HU with their exact liver label.

For tests, for the demonstration and as additional training data; they are plausible, but not
realistic.  Liver, spleen, muscle, heart and bowel overlap in HU and touch, so that no threshold
separates the liver, while position, shape and neighbours identify it as they do in a patient.
"""

from __future__ import annotations

from typing import Optional, Tuple

import numpy as np
from scipy import ndimage

from ..errors import ConfigurationError
from ..progress import CancelCheck, Progress, never_cancelled, raise_if_cancelled, silent
from ..volume import Volume
from .grid import Grid, checked_size, checked_spacing
from .painter import Patient
from .scanner import Scanner

__all__ = ["make_phantom"]

#: Number of voxels painted at a time: small enough for the processor's cache.
_SLAB_VOXELS = 400_000


def make_phantom(
    seed: int,
    *,
    size: Optional[Tuple[int, int, int]] = None,
    spacing: Optional[Tuple[float, float, float]] = None,
    progress: Progress = silent,
    cancelled: CancelCheck = never_cancelled,
) -> Tuple[Volume, Volume]:
    """Makes a random abdominal CT and its liver label.

    The same arguments give the same bytes.  (On another processor or version of NumPy single voxels
    may differ by 1 HU: the random numbers are identical everywhere, the last digit of a sine is not.)

    Args:
        seed: 0 or more; determines everything: patient, contrast phase, lesions, scanner, grid.
        size: (z, y, x) voxels, each at least 8; without `spacing` the field of view is that of the
            seed.  By default 60 to 120 slices of 192 to 256 pixels squared.
        spacing: (z, y, x) mm; without `size` the field of view is that of the seed.  By default about
            2.5 to 5 mm between slices and 1.5 to 2 mm in the plane.  With both given, a field of view
            smaller than the body is centred near the liver, and may not contain all of it.
        progress: called with the fraction done.
        cancelled: called before every few slices.

    Returns:
        (ct, label) on one grid: int16 HU, and uint8 with 1 in the liver, its vessels and lesions.
        One phantom in six starts or ends within the liver, as some real scans do.

    Raises:
        ConfigurationError: an invalid seed, size or spacing.
        Cancelled: `cancelled` returned True.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ConfigurationError(f"the seed of a phantom must be an integer of 0 or more, not {seed!r}")
    size, spacing = checked_size(size), checked_spacing(spacing)
    raise_if_cancelled(cancelled)
    progress(0.0, "Generating a patient")
    # Independent random streams: more noise must not change the patient.
    patient_stream, grid_stream, scanner_stream, noise_stream = (
        np.random.Generator(np.random.PCG64(np.random.SeedSequence([int(seed), part]))) for part in range(4)
    )
    patient = Patient.draw(patient_stream)
    grid = Grid.draw(grid_stream, patient.torso, patient.liver, size, spacing)
    scanner = Scanner.draw(scanner_stream)

    ct = np.empty(grid.shape, dtype=np.int16)
    label = np.zeros(grid.shape, dtype=bool)
    depth = max(1, min(16, _SLAB_VOXELS // (grid.shape[1] * grid.shape[2])))
    starts = range(0, grid.shape[0], depth)
    for first in starts:
        raise_if_cancelled(cancelled)
        progress(0.75 * first / grid.shape[0], "Painting organs")
        slab = patient.paint(grid, first, min(first + depth, grid.shape[0]), scanner)
        ct[first : first + depth] = np.rint(slab.hu)
        label[first : first + depth] = slab.label
    _keep_one_piece(ct, label, patient.tissues.fat)

    last_noise = np.zeros(grid.shape[1:], dtype=np.float32)
    for first in starts:
        raise_if_cancelled(cancelled)
        progress(0.75 + 0.25 * first / grid.shape[0], "Adding noise")
        part = slice(first, first + depth)
        exposed = scanner.expose(ct[part].astype(np.float32), noise_stream, last_noise, min(grid.spacing[1:]))
        ct[part] = scanner.digitise(exposed)

    origin, direction = grid.header()
    image = Volume(grid.stored(ct), grid.spacing, origin, direction, name=f"phantom {seed}")
    progress(1.0, "Done")
    return image, image.with_array(grid.stored(label.astype(np.uint8)), name=f"phantom {seed} liver")


def _keep_one_piece(ct: np.ndarray, label: np.ndarray, fat: float) -> None:
    """Turns fragments that another organ cut off the liver into fat, in image and label."""
    boxes = ndimage.find_objects(label.view(np.uint8))
    if not boxes:
        return
    inside = label[boxes[0]]
    pieces, count = ndimage.label(inside)
    if count > 1:
        crumbs = inside & (pieces != 1 + np.argmax(np.bincount(pieces.ravel())[1:]))
        inside[crumbs] = False
        ct[boxes[0]][crumbs] = round(fat)
