"""Data augmentation: geometric and elastic deformation, thicker slices, and changes of intensity.

A patch is interpolated only once, directly from the scan's own voxels.  Left and right are never
swapped, because the network should learn on which side an organ is.
"""

from __future__ import annotations

from typing import Optional, Sequence, Tuple

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from .case import Case
from .config import Augmentation
from .hardness import chosen, place_of
from .pathology import Anatomy, Pathology, add_pathologies

# Number of candidate centres for a patch if hard places are drawn more often.
_CANDIDATES = 3


def _rotation(rng: np.random.Generator, largest: float) -> np.ndarray:
    """(3, 3) rotation in (z, y, x): mostly about z, a third as much about y and x."""
    about_z, about_y, about_x = np.deg2rad(rng.uniform(-1, 1, 3) * largest * np.array([1.0, 1 / 3, 1 / 3]))
    cz, sz, cy, sy, cx, sx = (f(a) for a in (about_z, about_y, about_x) for f in (np.cos, np.sin))
    around_z = np.array([[1, 0, 0], [0, cz, -sz], [0, sz, cz]])
    around_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    around_x = np.array([[cx, -sx, 0], [sx, cx, 0], [0, 0, 1]])
    return around_z @ around_y @ around_x


def _centre(rng: np.random.Generator, case: Case, extent: np.ndarray, liver_share: float) -> np.ndarray:
    """A random (z, y, x) centre voxel for a patch of `extent` mm.

    Along z the patch stays within the scan if the scan is long enough; in the plane it stays
    near the body.
    """
    shape = np.array(case.image.shape, float)
    half = extent / np.array(case.spacing) / 2
    if case.box is not None and rng.random() < liver_share:
        low, high = np.array(case.box, float)
        centre = rng.uniform(low, high)
    else:
        centre = rng.uniform(0, shape - 1)
    middle = (shape - 1) / 2
    slack = np.maximum(middle - half, 0)
    slack[1:] += 0.1 * shape[1:]
    return np.clip(centre, middle - slack, middle + slack)


def _grid(rng: np.random.Generator, case: Case, patch: Sequence[int], spacing: Sequence[float], a: Augmentation,
          liver_share: float, places: Optional[np.ndarray]) -> Tuple[np.ndarray, int]:  # fmt: skip
    """(3, z, y, x) voxel coordinates in the scan at which the patch is interpolated, and the place of its centre."""
    factor = np.exp(rng.uniform(*np.log(a.scale))) * rng.uniform(0.95, 1.05, 3)
    steps = np.array(spacing) / factor
    extent = steps * np.array(patch)
    if places is None:
        centre = _centre(rng, case, extent, liver_share)
    else:
        candidates = [_centre(rng, case, extent, liver_share) for _ in range(_CANDIDATES)]
        centre = chosen(rng, candidates, case, places)
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(patch, steps)]
    offsets = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)
    turned = np.tensordot(_rotation(rng, a.rotation).astype(np.float32), offsets, axes=1)
    if a.bend > 0 and rng.random() < 0.5:
        coarse = torch.from_numpy(rng.uniform(-a.bend, a.bend, (1, 3, 3, 5, 5)).astype(np.float32))
        turned += F.interpolate(coarse, size=tuple(patch), mode="trilinear", align_corners=True)[0].numpy()
    scale = np.array(case.spacing, np.float32).reshape(3, 1, 1, 1)
    return turned / scale + centre.astype(np.float32).reshape(3, 1, 1, 1), place_of(case, float(centre[0]))


def _region(grid: np.ndarray, shape: Sequence[int]) -> Tuple[slice, ...]:
    """The part of the scan that the coordinates need, never empty."""
    slices = []
    for coordinates, n in zip(grid, shape):
        low = int(np.clip(np.floor(coordinates.min()) - 2, 0, n - 1))
        high = int(np.clip(np.ceil(coordinates.max()) + 3, low + 1, n))
        slices.append(slice(low, high))
    return tuple(slices)


def _interpolate(array: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Trilinear interpolation of a (z, y, x) array at (3, z, y, x) coordinates; border values are repeated."""
    sides = np.array(array.shape, np.float32).reshape(3, 1, 1, 1)
    normalised = (2 * grid + 1) / sides - 1
    flow = torch.from_numpy(np.ascontiguousarray(normalised[::-1].transpose(1, 2, 3, 0), dtype=np.float32))
    source = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    out = F.grid_sample(source[None, None], flow[None], mode="bilinear", padding_mode="border", align_corners=False)
    return out[0, 0].numpy()


def _recolour(rng: np.random.Generator, image: np.ndarray, a: Augmentation) -> np.ndarray:
    """Random offset, contrast, noise and lower clipping limit, in HU."""
    if rng.random() < 0.7:
        middle = 60.0
        image = (image - middle) * (1 + rng.uniform(-a.contrast, a.contrast)) + middle + rng.uniform(-a.shift, a.shift)
    if rng.random() < 0.6:
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        if rng.random() < 0.6:
            noise = ndimage.gaussian_filter(noise, (0, 0.6, 0.6)) * 2.1
        image = image + noise * np.float32(rng.uniform(0, a.noise))
    return np.maximum(image, rng.uniform(*a.floor))


def draw_patch(
    rng: np.random.Generator,
    case: Case,
    patch: Sequence[int],
    spacing: Sequence[float],
    augmentation: Augmentation,
    liver_share: float,
    pathology: Optional[Pathology] = None,
) -> Tuple[np.ndarray, np.ndarray]:
    """One random patch of a case and its labels, see :func:`draw_placed_patch`."""
    return draw_placed_patch(rng, case, patch, spacing, augmentation, liver_share, pathology)[:2]


def draw_placed_patch(
    rng: np.random.Generator,
    case: Case,
    patch: Sequence[int],
    spacing: Sequence[float],
    augmentation: Augmentation,
    liver_share: float,
    pathology: Optional[Pathology] = None,
    places: Optional[np.ndarray] = None,
) -> Tuple[np.ndarray, np.ndarray, int]:
    """One random patch of a case.

    Args:
        patch: (z, y, x) voxels.
        spacing: (z, y, x) mm.
        liver_share: probability that the patch is centred on the organ.
        pathology: kinds of synthetic pathology and their probabilities; for cases with one class besides background.
        places: (5,) weights of the places along z, see :mod:`.hardness`; None means equal weights.

    Returns:
        The patch in HU, float32, and its labels, int64, both (z, y, x); and the place of its centre.
    """
    a = augmentation
    grid, place = _grid(rng, case, patch, spacing, a, liver_share, places)
    region = _region(grid, case.image.shape)
    grid -= np.array([part.start for part in region], np.float32).reshape(3, 1, 1, 1)
    image = np.asarray(case.image[region], dtype=np.float32)
    thickness = rng.uniform(0, max(a.thickness, spacing[0]))
    slices = round(max(thickness, 0.7 * spacing[0]) / case.spacing[0])
    if slices > 1:
        image = ndimage.uniform_filter1d(image, slices, axis=0, mode="nearest")
    smooth = 0.3 * max(0.0, spacing[1] / case.spacing[1] - 1) + (rng.uniform(0, a.blur) if rng.random() < 0.4 else 0)
    if smooth > 0.2:
        image = ndimage.gaussian_filter(image, (0, smooth, smooth), mode="nearest", truncate=2.5)
    image = _interpolate(image, grid)
    shares = [_interpolate(case.share(value, region), grid) for value in range(1, case.classes)]
    if pathology is not None and pathology.any and len(shares) == 1:
        steps = (float(spacing[0]), float(spacing[1]), float(spacing[2]))
        anatomy = Anatomy(image, shares[0], steps)
        add_pathologies(rng, anatomy, pathology)
        image, shares = anatomy.hu, [anatomy.organ]
    labels = np.zeros(tuple(patch), np.int64)
    for value, share in enumerate(shares, start=1):
        labels[share > 0.5] = value
    return _recolour(rng, image, a).astype(np.float32), labels, place


def to_tensors(image: np.ndarray, labels: np.ndarray) -> Tuple[Tensor, Tensor]:
    """A batch of normalised patches (n, z, y, x) as network input (n, 1, z, y, x) and targets."""
    x = torch.from_numpy(image).unsqueeze(1)
    return x.contiguous(memory_format=torch.channels_last_3d), torch.from_numpy(labels)
