"""Images passed from Python: a volume, a SimpleITK image, or an array with its spacing."""

from __future__ import annotations

import os
from typing import Any, Callable, Sequence

import numpy as np

from ..errors import ImageError
from ..files import home
from ..volume import Volume
from .grid import check_grid
from .names import PathLike
from .padding import outside
from .voxels import AIR

_WANTED = (
    "give a path or an lvnet.Volume (or a SimpleITK image, or a pair of a (z, y, x) array and its (z, y, x) spacing"
    " in mm)"
)


def given_volume(source: Any, role: str, read: Callable[[PathLike], Volume]) -> Volume:
    """Converts any supported kind of image to a volume.

    Args:
        source: a path; a :class:`~lvnet.volume.Volume`; a 3D SimpleITK image; or a pair of a (z, y, x) array and
            its (z, y, x) spacing in mm, whose axes run to the patient's head, back and left.
        role: its name in messages.
        read: function that reads a path.

    Raises:
        ImageError: it is none of these, or its grid is invalid.
    """
    if isinstance(source, Volume):
        return source
    if isinstance(source, (str, os.PathLike)):
        return read(home(source))
    if isinstance(source, tuple) and len(source) == 2 and isinstance(source[0], np.ndarray):
        array, spacing = source
        return _checked(role, array, _spacing(role, spacing))
    if type(source).__module__.startswith("SimpleITK") and hasattr(source, "GetNumberOfComponentsPerPixel"):
        return _of_sitk(role, source)
    what = "an array without its spacing" if isinstance(source, np.ndarray) else f"of type {type(source).__name__}"
    raise ImageError(f"{role} is {what}: {_WANTED}")


def _spacing(role: str, spacing: Sequence[float]) -> Sequence[float]:
    try:
        numbers = [float(step) for step in spacing]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != 3:
        raise ImageError(f"{role}: its spacing is not three numbers in mm, for the axes z, y, x")
    return numbers


def _checked(role: str, array: np.ndarray, spacing: Sequence[float], **place: Any) -> Volume:
    if array.ndim != 3 or not array.size or array.dtype.kind not in "biuf":
        raise ImageError(f"{role} is not a (z, y, x) volume of numbers, but {array.dtype} of shape {array.shape}")
    z, y, x = (float(step) for step in spacing)
    volume = Volume(array, (z, y, x), name="", **place)
    check_grid(role, (x, y, z), volume.origin, volume.direction)
    mask = outside(array)
    return volume if mask is None else volume.with_array(np.where(mask, array.dtype.type(AIR), array))


def _of_sitk(role: str, image: Any) -> Volume:
    import SimpleITK as sitk  # noqa: N813

    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise ImageError(
            f"{role} has {image.GetDimension()} dimensions and {image.GetNumberOfComponentsPerPixel()} values per"
            " voxel; a 3D image with one is needed"
        )
    place = {"origin": tuple(image.GetOrigin()), "direction": tuple(image.GetDirection())}
    return _checked(role, sitk.GetArrayFromImage(image), image.GetSpacing()[::-1], **place)
