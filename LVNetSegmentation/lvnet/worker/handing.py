"""Volumes in an exchange folder, as the tasks of the worker take and give them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Mapping

from ..errors import ImageError
from ..volume import Volume
from .exchange import map_array


def handed_over(request: Mapping[str, Any], file: str, what: str, prefix: str = "") -> Volume:
    """A volume that lies in a request's folder.

    Args:
        request: has `folder`, and under the prefix `spacing` (z, y, x) mm, `origin` and `direction` (LPS).
        file: its name in the folder.
        what: it is, for messages: "the scan".
        prefix: of the three keys.

    Raises:
        ImageError: the file or its place in the patient makes no sense.
    """
    from ..image_io.geometry_checks import check_grid

    place = [request[f"{prefix}{key}"] for key in ("spacing", "origin", "direction")]
    check_grid(what, *place)
    try:
        array = map_array(Path(request["folder"]) / file)
    except Exception as error:  # on a damaged header NumPy's reader fails in any way, down to Python's own tokenizer
        raise ImageError(f"{what} was not handed over whole; try again") from error
    if array.ndim != 3 or not array.size or array.dtype.kind not in "iuf":
        raise ImageError(f"{what} is no volume of numbers, but {array.dtype} of shape {array.shape}")
    spacing, origin, direction = (tuple(map(float, part)) for part in place)
    return Volume(array, spacing, origin, direction, what)  # type: ignore[arg-type]


def place_of(volume: Volume, prefix: str = "") -> Dict[str, Any]:
    """The place of a volume in the patient, in the form in which :func:`handed_over` takes it."""
    return {
        f"{prefix}spacing": list(volume.spacing),
        f"{prefix}origin": list(volume.origin),
        f"{prefix}direction": list(volume.direction),
    }
