"""The requests that the worker accepts, one class per task.

Messages are checked before they are used: :func:`request_of` turns a message into a request, or raises an
error that says in one line why it cannot.
"""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass
from typing import Any, Callable, ClassVar, Dict, Mapping, Optional, Tuple, Type

from ...errors import ConfigurationError
from ...pipeline.options import SegmentOptions
from ...pipeline.settings import is_text, shown
from .answers import RequestId
from .place import KEYS, Place

#: The message that cancels a request instead of asking for a task.
CANCEL = "cancel"
Check = Callable[[Any], bool]


def request_id(message: Mapping[str, Any]) -> RequestId:
    """The id of a request; None if it has no valid one."""
    number = message.get("id")
    return number if isinstance(number, (int, str)) else None


def cancel_message(number: RequestId) -> Dict[str, Any]:
    """The message that cancels a request, queued or running."""
    return {"do": CANCEL, "id": number}


@dataclass(frozen=True)
class Request:
    """A request to the worker.

    Attributes:
        do: names the task.
        checks: a check for each field of its message.
    """

    do: ClassVar[str]
    checks: ClassVar[Dict[str, Check]] = {}

    def to_message(self, number: RequestId) -> Dict[str, Any]:
        """The request as a JSON object with an identifier."""
        return {"do": self.do, "id": number, **self.to_fields()}

    def to_fields(self) -> Dict[str, Any]:
        """The request as fields of a message."""
        return asdict(self)

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Request:
        """Reads what :meth:`to_message` wrote; other fields are ignored.

        Raises:
            ConfigurationError: a field is missing or of the wrong type.
        """
        for name, fits in cls.checks.items():
            if not fits(message.get(name)):
                raise ConfigurationError(
                    f"invalid value of {name!r} in the request {cls.do!r}: {shown(message.get(name))}"
                )
        return cls._read(message)

    @classmethod
    def _read(cls, message: Mapping[str, Any]) -> Request:
        return cls(**{name: message.get(name) for name in cls.checks})


def _path(value: Any) -> bool:
    # Relative paths are refused: the requesting program does not know the worker's working directory.
    return is_text(value) and os.path.isabs(value)


def _text_or_none(value: Any) -> bool:
    return value is None or value == "" or is_text(value)


def _number(value: Any) -> bool:
    kind = isinstance(value, (int, float)) and not isinstance(value, bool)
    return kind and abs(value) <= 1e12 and math.isfinite(value)


def _numbers(count: int) -> Check:
    return lambda value: isinstance(value, list) and len(value) == count and all(map(_number, value))


def _seed(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**32


def _yes_no_or_none(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _place(prefix: str = "") -> Dict[str, Check]:
    return dict(zip((f"{prefix}{key}" for key in KEYS), (_numbers(3), _numbers(3), _numbers(9))))


@dataclass(frozen=True)
class SegmentRequest(Request):
    """Segments the scan in an exchange folder.

    Attributes:
        folder: see :mod:`lvnet.worker.exchange`.
        place: geometry of the scan.
        options: how to segment.
    """

    do: ClassVar[str] = "segment"
    checks: ClassVar[Dict[str, Check]] = {"folder": _path, **_place()}
    folder: str
    place: Place
    options: SegmentOptions

    def to_fields(self) -> Dict[str, Any]:
        return {"folder": self.folder, **self.place.to_fields(), **self.options.to_dict()}

    @classmethod
    def _read(cls, message: Mapping[str, Any]) -> SegmentRequest:
        return cls(message["folder"], Place.from_fields(message), SegmentOptions.from_request(message))


@dataclass(frozen=True)
class FolderRequest(Request):
    """Segments every scan of a folder into another folder.

    Attributes:
        input: the folder of scans.
        output: the folder for the results.
        suffix: of the result files.
        options: how to segment.
    """

    do: ClassVar[str] = "folder"
    checks: ClassVar[Dict[str, Check]] = {"input": _path, "output": _path, "suffix": is_text}
    input: str
    output: str
    suffix: str
    options: SegmentOptions

    def to_fields(self) -> Dict[str, Any]:
        places = {"input": self.input, "output": self.output, "suffix": self.suffix}
        return {**places, **self.options.to_dict()}

    @classmethod
    def _read(cls, message: Mapping[str, Any]) -> FolderRequest:
        options = SegmentOptions.from_request(message)
        return cls(message["input"], message["output"], message["suffix"], options)


@dataclass(frozen=True)
class CompareRequest(Request):
    """Scores a binary mask against a reference mask; both are in the exchange folder.

    Attributes:
        folder: see :mod:`lvnet.worker.exchange`.
        place: geometry of the scored mask.
        reference_place: geometry of the reference.
        preset: the set of metric definitions.
        resample: whether the reference may be resampled to the grid of the scored mask.
        name: of the scored mask in messages; None or empty for a generic name.
        reference_name: the same for the reference.
    """

    do: ClassVar[str] = "compare"
    checks: ClassVar[Dict[str, Check]] = {
        "folder": _path,
        **_place(),
        **_place("reference_"),
        "name": _text_or_none,
        "reference_name": _text_or_none,
        "preset": is_text,
        "resample": _yes_no_or_none,
    }
    folder: str
    place: Place
    reference_place: Place
    preset: str
    resample: bool
    name: Optional[str] = None
    reference_name: Optional[str] = None

    def to_fields(self) -> Dict[str, Any]:
        places = {**self.place.to_fields(), **self.reference_place.to_fields("reference_")}
        names = {"name": self.name, "reference_name": self.reference_name}
        return {"folder": self.folder, **places, "preset": self.preset, "resample": self.resample, **names}

    @classmethod
    def _read(cls, message: Mapping[str, Any]) -> CompareRequest:
        places = Place.from_fields(message), Place.from_fields(message, "reference_")
        names = message.get("name"), message.get("reference_name")
        return cls(message["folder"], *places, message["preset"], bool(message.get("resample")), *names)


@dataclass(frozen=True)
class PhantomRequest(Request):
    """Makes a synthetic abdomen and its liver mask, as files in the exchange folder.

    Attributes:
        folder: see :mod:`lvnet.worker.exchange`.
        seed: of the random numbers.
    """

    do: ClassVar[str] = "phantom"
    checks: ClassVar[Dict[str, Check]] = {"folder": _path, "seed": _seed}
    folder: str
    seed: int


@dataclass(frozen=True)
class DevicesRequest(Request):
    """Asks which devices can be chosen."""

    do: ClassVar[str] = "devices"


@dataclass(frozen=True)
class TorchRequest(Request):
    """Asks whether PyTorch works."""

    do: ClassVar[str] = "torch"


@dataclass(frozen=True)
class PaceRequest(Request):
    """Asks how fast this computer is.

    Attributes:
        options: how a scan would be segmented.
    """

    do: ClassVar[str] = "pace"
    options: SegmentOptions

    def to_fields(self) -> Dict[str, Any]:
        return self.options.to_dict()

    @classmethod
    def _read(cls, message: Mapping[str, Any]) -> PaceRequest:
        return cls(SegmentOptions.from_request(message))


#: In the order in which an error message lists them.
REQUESTS: Tuple[Type[Request], ...] = (
    SegmentRequest, FolderRequest, CompareRequest, PhantomRequest, DevicesRequest, TorchRequest, PaceRequest,
)  # fmt: skip
_BY_NAME = {kind.do: kind for kind in REQUESTS}


def request_of(message: Mapping[str, Any]) -> Request:
    """Turns a message into a request.

    Raises:
        ConfigurationError: there is no such task, or a field is missing or of the wrong type.
    """
    kind = message.get("do")
    if not isinstance(kind, str) or kind not in _BY_NAME:
        raise ConfigurationError(f"there is no task {shown(kind)}; the worker knows {', '.join(_BY_NAME)}")
    return _BY_NAME[kind].from_message(message)
