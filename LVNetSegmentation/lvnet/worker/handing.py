"""Volumes in an exchange folder, as both ends of the worker take them."""

from __future__ import annotations

from pathlib import Path
from typing import Union

from ..errors import ImageError
from ..volume import Volume
from .exchange import map_array
from .messages.place import Place


def handed_over(folder: Union[str, Path], file: str, place: Place, what: str) -> Volume:
    """A volume that lies in an exchange folder.

    Args:
        folder: the exchange folder.
        file: its name in the folder.
        place: of the volume.
        what: it is, for messages: "the scan".

    Returns:
        The volume, its voxels mapped.

    Raises:
        ImageError: the file or its place in the patient makes no sense.
    """
    from ..image_io.geometry_checks import check_grid

    check_grid(what, place.spacing, place.origin, place.direction)
    try:
        array = map_array(Path(folder) / file)
    except Exception as error:  # on a damaged header NumPy's reader fails in any way, down to Python's own tokenizer
        raise ImageError(f"{what} was not handed over whole; try again") from error
    if array.ndim != 3 or not array.size or array.dtype.kind not in "iuf":
        raise ImageError(f"{what} is no volume of numbers, but {array.dtype} of shape {array.shape}")
    return Volume(array, place.spacing, place.origin, place.direction, what)
