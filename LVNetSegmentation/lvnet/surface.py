"""A closed, smooth surface of a mask, and files for it: STL, PLY and OBJ, in mm.

The mask is smoothed by a Gaussian, and the isovalue is chosen so that as many voxels lie above it as in the
mask: smoothing does not shrink the organ.  The isosurface is found by naive surface nets: one vertex in every
cell that the surface crosses, at the mean of the crossings of the cell's edges, and one quadrilateral around
every edge that is crossed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Callable, Dict, List, Tuple

import numpy as np

from .errors import ConfigurationError, ImageError
from .metrics.bits import bounding_box
from .volume import Volume

#: Names of the coordinate systems that a surface can be written in.
COORDINATES = ("lps", "ras")
DEFAULT_SMOOTHING_MM = 1.5
_WIDEST_MM = 20.0
#: Comment written into the files.
_MADE_BY = "made by lvnet"


@dataclass(frozen=True, eq=False)
class Surface:
    """A triangle mesh.

    Attributes:
        vertices: (n, 3) float64, x, y, z in mm.
        triangles: (m, 3) int64, indices into `vertices`, counter-clockwise seen from outside.
    """

    vertices: np.ndarray
    triangles: np.ndarray

    @property
    def volume_ml(self) -> float:
        """The enclosed volume in millilitres."""
        a, b, c = (self.vertices[self.triangles[:, corner]] for corner in range(3))
        return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6000.0)


def surface_of(mask: Volume, smoothing_mm: float = DEFAULT_SMOOTHING_MM) -> Surface:
    """The surface of a mask, in LPS as the volume has it.

    Args:
        mask: (z, y, x), non-zero where the organ is.
        smoothing_mm: standard deviation of the Gaussian; 0 keeps the voxel steps.

    Raises:
        ConfigurationError: the smoothing is out of range.
        ImageError: the mask is empty.
    """
    from scipy import ndimage

    if not 0 <= smoothing_mm <= _WIDEST_MM:
        raise ConfigurationError(f"the smoothing must be between 0 and {_WIDEST_MM:g} mm, not {smoothing_mm}")
    box = bounding_box(mask.array)
    if box is None:
        raise ImageError(f"{mask.name or 'the mask'} is empty and has no surface; choose another label")
    sigma = [smoothing_mm / step for step in mask.spacing]
    # Four standard deviations, so that the smoothed mask ends within the array and the surface is closed.
    rim = [int(np.ceil(4 * width)) + 2 for width in sigma]
    field = np.pad((mask.array[box] != 0).astype(np.float32), [(width, width) for width in rim])
    count = int(np.count_nonzero(field))
    field = ndimage.gaussian_filter(field, sigma, mode="constant", truncate=4.0)
    around = np.partition(field, (field.size - count - 1, field.size - count), axis=None)
    field -= np.float32(around[field.size - count - 1 : field.size - count + 1].mean())
    places, triangles = _nets(field)
    first = np.array([side.start - width for side, width in zip(box, rim)], float)
    matrix = mask.direction_matrix * np.asarray(mask.spacing[::-1])
    vertices = (places + first)[:, ::-1] @ matrix.T + np.asarray(mask.origin)
    # Array axes (z, y, x) have the opposite handedness of (x, y, z); so do mirrored grids.
    if np.linalg.det(matrix) > 0:
        triangles = triangles[:, ::-1]
    return Surface(vertices, triangles)


def _nets(field: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """The zero level of a field: vertices as (n, 3) array indices (z, y, x), and (m, 3) triangles."""
    cells = tuple(size - 1 for size in field.shape)
    total = int(np.prod(cells))
    steps = (cells[1] * cells[2], cells[2], 1)
    sums = np.zeros((3, total))
    counts = np.zeros(total, np.int64)
    around: List[np.ndarray] = []
    inside = field > 0
    for axis in range(3):
        near = tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))
        far = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
        index = np.argwhere(inside[near] != inside[far])
        here = field[near][tuple(index.T)]
        there = field[far][tuple(index.T)]
        crossing = index.astype(float)
        crossing[:, axis] += here / (here - there)
        one, two = [a for a in range(3) if a != axis]
        corner = index @ np.array(steps)
        four = [corner - i * steps[one] - j * steps[two] for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))]
        for cell in four:
            counts += np.bincount(cell, minlength=total)
            for part in range(3):
                sums[part] += np.bincount(cell, crossing[:, part], total)
        # The winding depends on which side is inside, and on the handedness of (axis, one, two).
        turned = (here > 0) == (axis != 1)
        around.append(np.where(turned[:, None], np.stack(four, 1), np.stack(four[::-1], 1)))
    used = np.flatnonzero(counts)
    numbers = np.zeros(total, np.int64)
    numbers[used] = np.arange(used.size)
    quads = numbers[np.concatenate(around)]
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    return (sums[:, used] / counts[used]).T, triangles


def encoded(surface: Surface, suffix: str, coordinates: str = "lps") -> bytes:
    """A surface encoded as a file.

    Args:
        surface: in LPS.
        suffix: one of `SUFFIXES`.
        coordinates: `lps` (DICOM, ITK-SNAP, Slicer's own files) or `ras` (FreeSurfer, nibabel).

    Raises:
        ConfigurationError: unknown coordinate system.
    """
    if coordinates not in COORDINATES:
        raise ConfigurationError(f"coordinates must be {' or '.join(COORDINATES)}, not {coordinates!r}")
    vertices = surface.vertices * (1.0 if coordinates == "lps" else np.array([-1.0, -1.0, 1.0]))
    # Slicer reads this comment.
    remark = f"SPACE={coordinates.upper()} mm, {_MADE_BY}"
    return _WRITERS[suffix](vertices.astype("<f4"), surface.triangles, remark)


def _stl(vertices: np.ndarray, triangles: np.ndarray, remark: str) -> bytes:
    corners = vertices[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    record = np.zeros(len(triangles), np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("extra", "<u2")]))
    record["normal"] = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)
    record["corners"] = corners
    return remark.encode("ascii").ljust(80) + struct.pack("<I", len(triangles)) + record.tobytes()


def _ply(vertices: np.ndarray, triangles: np.ndarray, remark: str) -> bytes:
    lines = [
        "ply", "format binary_little_endian 1.0", f"comment {remark}", f"element vertex {len(vertices)}",
        "property float x", "property float y", "property float z", f"element face {len(triangles)}",
        "property list uchar int vertex_indices", "end_header", "",
    ]  # fmt: skip
    faces = np.zeros(len(triangles), np.dtype([("count", "u1"), ("corners", "<i4", 3)]))
    faces["count"], faces["corners"] = 3, triangles
    return "\n".join(lines).encode("ascii") + vertices.tobytes() + faces.tobytes()


def _obj(vertices: np.ndarray, triangles: np.ndarray, remark: str) -> bytes:
    lines = [f"# {remark}"]
    lines += [f"v {x:.4f} {y:.4f} {z:.4f}" for x, y, z in vertices]
    lines += [f"f {a} {b} {c}" for a, b, c in triangles + 1]
    return ("\n".join(lines) + "\n").encode("ascii")


_WRITERS: Dict[str, Callable[[np.ndarray, np.ndarray, str], bytes]] = {".stl": _stl, ".ply": _ply, ".obj": _obj}
#: File types of surfaces.
SUFFIXES = tuple(_WRITERS)
