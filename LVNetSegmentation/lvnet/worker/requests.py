"""Whether a message is a request that can be done: what comes through a pipe is checked before it is used."""

from __future__ import annotations

import math
import os
from typing import Any, Callable, Dict, Mapping, Optional, Union

from ..errors import ConfigurationError
from ..pipeline.options import SegmentOptions
from ..pipeline.settings import is_text, shown


def request_id(request: Mapping[str, Any]) -> Optional[Union[int, str]]:
    """The id of a request, or None where it is none that an answer could name."""
    number = request.get("id")
    return number if isinstance(number, (int, str)) else None


def check_request(request: Mapping[str, Any]) -> None:
    """Checks that a request has what its task needs, each of the right kind; further fields are passed over.

    Raises:
        ConfigurationError: it has not.
    """
    kind = request.get("do")
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise ConfigurationError(f"there is no task {shown(kind)}; the worker knows {', '.join(_FIELDS)}")
    for name, fits in _FIELDS[kind].items():
        if not fits(request.get(name)):
            raise ConfigurationError(f"the request {kind!r} cannot have {shown(request.get(name))} as {name}")
    if kind in _SEGMENTING:
        SegmentOptions.from_request(request)


def _path(value: Any) -> bool:
    # Relative to what?  The worker's own folder is none that anybody knows.
    return is_text(value) and os.path.isabs(value)


def _text_or_none(value: Any) -> bool:
    return value is None or value == "" or is_text(value)


def _number(value: Any) -> bool:
    kind = isinstance(value, (int, float)) and not isinstance(value, bool)
    return kind and abs(value) <= 1e12 and math.isfinite(value)


def _numbers(count: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and len(value) == count and all(map(_number, value))


def _seed(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**32


def _yes_no_or_none(value: Any) -> bool:
    return value is None or isinstance(value, bool)


_PLACE: Dict[str, Callable[[Any], bool]] = {"spacing": _numbers(3), "origin": _numbers(3), "direction": _numbers(9)}
_FIELDS: Dict[str, Dict[str, Callable[[Any], bool]]] = {
    "segment": {"folder": _path, **_PLACE},
    "folder": {"input": _path, "output": _path, "suffix": is_text},
    "compare": {
        "folder": _path,
        **{f"{side}{key}": fits for side in ("", "reference_") for key, fits in _PLACE.items()},
        "name": _text_or_none,
        "reference_name": _text_or_none,
        "preset": is_text,
        "resample": _yes_no_or_none,
    },
    "phantom": {"folder": _path, "seed": _seed},
    "devices": {},
    "torch": {},
    "pace": {},
}
#: Tasks that also take every setting of :class:`~lvnet.pipeline.options.SegmentOptions`.
_SEGMENTING = ("segment", "folder", "pace")
