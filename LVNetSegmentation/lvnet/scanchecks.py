"""Checks, before the network runs, whether a scan can be expected to show the organ.

A network finds its organ in any image: in an MR, in another part of the body, in a scan whose rescale was
lost.  These checks consider values and sizes only, and compare them with the anatomy in the recipe of the
weights; they take about 0.1 s on a sample of the voxels and never reject a scan that is merely unusual.
"""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Tuple

import numpy as np
from scipy import ndimage

from .anatomy import ABDOMEN, CHEST, Anatomy
from .errors import ImageError
from .orientation import orientation_of
from .recipe import Architecture, Preprocessing, Recipe
from .system import available_memory
from .volume import Volume

#: ERROR: cannot be segmented.  WARNING: ask the user first.  NOTE: for information.
ERROR, WARNING, NOTE = "error", "warning", "note"

# Number of voxels considered; a regular sample is enough for fractions and areas.
_SAMPLE = 600_000
# Air that was not clipped has HU below the first; metal, or a full CT range, reaches up to the second.
_AIR, _MOST_HU = -500.0, 32000.0
# Range in which clipped scans usually begin: windows of 350 to 600 HU around soft tissue.
_CLIPPED = (-500.0, -30.0)
# HU of soft tissue, and the smallest fraction of the voxels other than air that must have them.
_SOFT_HU, _SOFT_SHARE = (-20.0, 220.0), 0.2
# Values of fat and soft tissue in a CT whose rescale was lost; in HU this range contains only a little dense bone.
_UNSHIFTED, _UNSHIFTED_SHARE = (900.0, 1250.0), 0.1
# Fraction of enclosed air in a cross-section of the body up to which it may be abdomen (bowel gas and the tips of
# the lungs), and from which it is chest; the height of abdomen needed below the chest; and the height over which
# lungs must be seen.  Measured: 0.00 to 0.11 in most of the abdomen, 0.21 to 0.45 at the middle of the lungs; bowel
# gas reaches 0.22 in single sections, which is why lungs must extend over some height.
_ABDOMEN_AIR, _CHEST_AIR, _ABDOMEN_MM, _LUNGS_MM = 0.12, 0.2, 20.0, 25.0
# Fraction of the organ's usual height that a scan should cover at least; slice distance from which a result is rough.
_HEIGHT_SHARE, _SLICE_MM = 0.5, 10.0
# Fraction of the network's intensity window that may be missing in a clipped scan, and the fraction of voxels at the
# highest value that shows clipping.
_CUT_OFF, _AT_THE_END = 0.25, 0.0005
# No scanner covers more of a person or has finer voxels; with such a header, processing could take all memory.
_LARGEST_MM, _FINEST_MM = 3000.0, 0.001
# Bytes for Python with PyTorch; per voxel of a slab and channel after the expansion in the widest stage; per voxel
# on the network's grid; per voxel of the scan.  Measured with Testing/benchmarks/worker_overhead.py.
_BASE_BYTES, _CHANNEL_BYTES, _NETWORK_BYTES, _SCAN_BYTES = 600e6, 20.0, 28.0, 12.0


class Finding(NamedTuple):
    """One finding about a scan that is to be segmented.

    Attributes:
        severity: `ERROR`, `WARNING` or `NOTE`.
        sentence: tells the user what was found and what to do.
    """

    severity: str
    sentence: str


def check_input(scan: Volume, recipe: Optional[Recipe] = None, memory: Optional[float] = None) -> List[Finding]:
    """Checks a scan before it is segmented.

    Args:
        scan: (z, y, x) voxels of any real type, supposedly in HU.
        recipe: of the network; None assumes a network for the liver.
        memory: available bytes; None asks the system.

    Returns:
        The findings, most severe first; empty if there are none.
    """
    try:
        refuse_impossible(scan)
    except ImageError as error:
        return [Finding(ERROR, str(error))]
    used = Recipe() if recipe is None else recipe
    anatomy, organs = used.expects, used.organs
    sample, steps = _sampled(scan)
    findings: List[Finding] = []
    finite = sample[np.isfinite(sample)]
    if not finite.size:
        return [Finding(ERROR, "no voxel has a finite value; load the scan again")]
    floor, about_values = _values(finite, used.preprocessing.window)
    findings += about_values
    findings += _sizes(scan, anatomy, organs)
    if floor is not None:
        findings += _body(sample, steps, floor, anatomy, organs)
    findings += _memory(scan, recipe, anatomy, available_memory() if memory is None else memory)
    order = (ERROR, WARNING, NOTE)
    return sorted(findings, key=lambda finding: order.index(finding.severity))


def refuse_impossible(scan: Volume) -> None:
    """Rejects a scan that cannot be of a person, since processing it could take all memory.

    Raises:
        ImageError: it is larger than any scanner can acquire, or has finer voxels.
    """
    x, y, z = (step * count for step, count in zip(scan.spacing[::-1], scan.shape[::-1]))
    name = scan.name or "the scan"
    if max(x, y, z) > _LARGEST_MM:
        raise ImageError(
            f"{name} would be {x / 1000:.3g} x {y / 1000:.3g} x {z / 1000:.3g} m large; correct the voxel spacing in"
            " its header"
        )
    if min(scan.spacing) < _FINEST_MM:
        raise ImageError(f"{name} has voxels of {min(scan.spacing):.3g} mm; correct the voxel spacing in its header")


def memory_needed(shape: Tuple[int, ...], spacing: Tuple[float, ...], recipe: Optional[Recipe] = None) -> float:
    """Rough estimate of the bytes of memory that segmenting takes on a CPU.

    Args:
        shape: (z, y, x) voxels of the scan.
        spacing: (z, y, x) in mm.
        recipe: of the network; None assumes the usual sizes.
    """
    settings = Preprocessing(in_plane_spacing=(2.5, 2.5), slice_spacing=4.0) if recipe is None else recipe.preprocessing
    architecture = Architecture() if recipe is None else recipe.architecture
    depth = shape[0] if settings.slice_spacing is None else shape[0] * spacing[0] / settings.slice_spacing
    plane: float = settings.in_plane_size[0] * settings.in_plane_size[1]
    if settings.in_plane_spacing is not None:
        plane = shape[1] * spacing[1] * shape[2] * spacing[2] / float(np.prod(settings.in_plane_spacing))
    slab = settings.slab_depth * plane * architecture.widths[0] * architecture.expansion
    return _BASE_BYTES + _CHANNEL_BYTES * slab + _NETWORK_BYTES * depth * plane + _SCAN_BYTES * float(np.prod(shape))


def _sampled(scan: Volume) -> Tuple[np.ndarray, Tuple[float, float, float]]:
    """A canonical (z, y, x) float32 sample of the voxels, and the mm between its voxels."""
    orientation = orientation_of(scan)
    array = orientation.apply(scan.array)
    stride = max(1, int(np.ceil((array.size / _SAMPLE) ** (1 / 3))))
    z, y, x = (scan.spacing[axis] * stride for axis in orientation.axes)
    return array[::stride, ::stride, ::stride].astype(np.float32), (z, y, x)


def _values(values: np.ndarray, window: Tuple[float, float]) -> Tuple[Optional[float], List[Finding]]:
    """The value above which a voxel is not air (None if unknown), and findings about the values."""
    low, high = float(values.min()), float(values.max())
    span = f"{low:g} to {high:g}"
    if low == high:
        return None, [Finding(ERROR, f"every voxel has the value {low:g}; load the scan again")]
    if high - low <= 20:
        sentence = f"the values ({span}) are not HU: they look normalised; choose the original scan"
        return None, [Finding(WARNING, sentence)]
    if float(np.mean((values >= _UNSHIFTED[0]) & (values <= _UNSHIFTED[1]))) > _UNSHIFTED_SHARE:
        sentence = f"the values ({span}) look like a CT whose HU are 1024 too high; load the DICOM, or subtract 1024"
        return None, [Finding(WARNING, sentence)]
    if low >= 0:
        return None, [Finding(WARNING, _without_negatives(values, span))]
    if high - low > _MOST_HU * 1.5:
        sentence = f"the values ({span}) are far outside the range of HU; is this a CT?"
        return None, [Finding(WARNING, sentence)]
    clipped = low > _AIR
    floor = low + 3 if clipped else -300.0
    tissue = values[values > floor]
    soft = float(np.mean((tissue >= _SOFT_HU[0]) & (tissue <= _SOFT_HU[1]))) if tissue.size else 0.0
    if soft < _SOFT_SHARE or high < 20:
        sentence = f"hardly any voxel has the HU of soft tissue (values {span}); is this a CT of the body in HU?"
        return floor, [Finding(WARNING, sentence)]
    findings = _cut_off_above(values, high, window)
    if not clipped:
        return floor, findings
    if _CLIPPED[0] <= low <= _CLIPPED[1] and float(np.mean(values < low + 1)) > 0.01:
        return floor, [_cut_off_below(low, window), *findings]
    return floor, [Finding(WARNING, f"nothing in the scan is as dark as air (values {span}); is this a CT in HU?")]


def _cut_off_below(low: float, window: Tuple[float, float]) -> Finding:
    if low - window[0] > _CUT_OFF * (window[1] - window[0]):
        needed = f"the network needs values down to {window[0]:g} HU; load the original scan, not a windowed copy"
        return Finding(WARNING, f"values below {low:g} HU were cut off, but {needed}")
    return Finding(NOTE, f"values below {low:g} HU were cut off, as in a windowed image; air and fat look alike")


def _cut_off_above(values: np.ndarray, high: float, window: Tuple[float, float]) -> List[Finding]:
    if window[1] - high <= _CUT_OFF * (window[1] - window[0]) or float(np.mean(values > high - 1)) < _AT_THE_END:
        return []
    needed = f"the network needs values up to {window[1]:g} HU; load the original scan, not a windowed copy"
    return [Finding(WARNING, f"values above {high:g} HU were cut off, but {needed}")]


def _without_negatives(values: np.ndarray, span: str) -> str:
    if float(values.max()) <= 255:
        return f"the values ({span}) are those of a picture, not HU; load the original CT"
    return f"no value is below zero ({span}), so they are not HU; is this an MR or another image? Choose a CT in HU"


def _sizes(scan: Volume, anatomy: Anatomy, organs: str) -> List[Finding]:
    axes = orientation_of(scan).axes
    height, depth, width = (scan.shape[axis] * scan.spacing[axis] for axis in axes)
    findings = []
    if anatomy.height_mm is not None and height < _HEIGHT_SHARE * anatomy.height_mm[0]:
        usual = "the usual height of the {} is {:.0f} to {:.0f} mm".format(organs, *anatomy.height_mm)
        sentence = f"the scan is only {height:.0f} mm high; {usual}, so only a part can be found"
        findings.append(Finding(WARNING, sentence))
    if min(depth, width) < anatomy.width_mm:
        sentence = f"the scan shows only {width:.0f} x {depth:.0f} mm of each slice, not the whole {_part(anatomy)}"
        findings.append(Finding(WARNING, sentence))
    if scan.spacing[axes[0]] > _SLICE_MM:
        sentence = f"the slices are {scan.spacing[axes[0]]:g} mm apart; the result will be rough"
        findings.append(Finding(WARNING, sentence))
    return findings


def _part(anatomy: Anatomy) -> str:
    return anatomy.region or "body"


def _body(
    sample: np.ndarray, steps: Tuple[float, float, float], floor: float, anatomy: Anatomy, organs: str
) -> List[Finding]:
    """Checks whether there is a body, and whether any of it looks like the part that contains the organ."""
    if anatomy.region not in (ABDOMEN, CHEST) and not anatomy.section_cm2:
        return []
    pixel = steps[1] * steps[2] / 100.0
    levels = [_section(plane > floor) for plane in sample]
    sections = np.array([area for area, _air in levels]) * pixel
    air = np.array([air / max(area, 1) for area, air in levels])
    large = sections >= anatomy.section_cm2
    if not large.any():
        most, part = float(sections.max()), _part(anatomy)
        sentence = f"the body is at most {most:.0f} cm2 across, less than an adult's {part}; does the scan show it?"
        return [Finding(WARNING, sentence)]
    chest = np.flatnonzero(large & (air > _CHEST_AIR))
    has_lungs = chest.size * steps[0] >= _LUNGS_MM
    if anatomy.region == CHEST:
        return [] if has_lungs else [Finding(WARNING, "no lungs are visible; does the scan show the chest?")]
    if not has_lungs or anatomy.region != ABDOMEN:
        return []
    # Shoulders contain no air either: only slices below the lungs can be abdomen, and slices run upwards.
    lowest = large & (np.arange(len(air)) < chest.max())
    if float((lowest & (air <= _ABDOMEN_AIR)).sum()) * steps[0] < min(_ABDOMEN_MM, 0.5 * len(air) * steps[0]):
        sentence = f"this looks like a chest without the abdomen; does the scan reach down to the {organs}?"
        return [Finding(WARNING, sentence)]
    return []


def _section(tissue: np.ndarray) -> Tuple[int, int]:
    """Number of pixels of the body in one slice with everything it encloses, and of the enclosed air.

    The body is the largest piece, which excludes arms, the table and the gaps beside it.
    """
    pieces, _count = ndimage.label(tissue)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    body = ndimage.binary_fill_holes(pieces == int(np.argmax(sizes))) if sizes.any() else np.zeros_like(tissue)
    return int(body.sum()), int((body & ~tissue).sum())


def _memory(scan: Volume, recipe: Optional[Recipe], anatomy: Anatomy, memory: Optional[float]) -> List[Finding]:
    needed = memory_needed(scan.shape, scan.spacing, recipe)
    if memory is None or needed <= memory:
        return []
    return [
        Finding(
            WARNING,
            f"about {needed / 1e9:.1f} GB of memory are needed and {memory / 1e9:.1f} GB are free; "
            f"close other programs, or crop the scan to the {anatomy.region or 'part that is needed'}",
        )
    ]
