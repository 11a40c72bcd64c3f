"""Reads volumes from an exchange folder, for both sides of the worker."""

from __future__ import annotations

from pathlib import Path
from typing import Union

from ..errors import ImageError
from ..volume import Volume
from .exchange import map_array
from .messages.place import Place


def handed_over(folder: Union[str, Path], file: str, place: Place, what: str) -> Volume:
    """Reads a volume from an exchange folder.

    Args:
        folder: the exchange folder.
        file: name of the volume's file in the folder.
        place: spacing, origin and direction of the volume.
        what: name of the volume in messages, such as "the scan".

    Returns:
        The volume, with memory-mapped voxels.

    Raises:
        ImageError: the file or the geometry is invalid.
    """
    from ..image_io.geometry_checks import check_grid

    check_grid(what, place.spacing, place.origin, place.direction)
    try:
        array = map_array(Path(folder) / file)
    except Exception as error:  # on a damaged header NumPy raises any kind of error, even that of Python's tokenizer
        raise ImageError(f"{what} was not handed over completely; try again") from error
    if array.ndim != 3 or not array.size or array.dtype.kind not in "iuf":
        raise ImageError(f"{what} is not a volume of numbers but {array.dtype} of shape {array.shape}")
    return Volume(array, place.spacing, place.origin, place.direction, what)
