"""The messages of the worker, one class each."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from dataclasses import fields as fields_of
from enum import Enum
from typing import Any, ClassVar, Dict, List, Mapping, Optional, Type, Union

#: The identifier of a request; None if the request had no valid one.
RequestId = Optional[Union[int, str]]


class FailureKind(Enum):
    """The kind of a failure.

    USER: an :class:`~lvnet.errors.LVNetError`.  TORCH_MISSING, TORCH_BROKEN and TORCH_OLD: the message
    gives the reason only, since the remedy depends on the requesting program.  DEVICE: the GPU or its
    driver failed, and the worker exits after reporting it.  BUG: anything else.
    """

    USER = "user"
    MEMORY = "memory"
    DISK = "disk"
    DEVICE = "device"
    BUG = "bug"
    TORCH_MISSING = "torch missing"
    TORCH_BROKEN = "torch broken"
    TORCH_OLD = "torch old"


@dataclass(frozen=True)
class Answer:
    """Any message of the worker.

    Attributes:
        type: names the kind of message.
        ends: whether this is the last message about a request.
    """

    type: ClassVar[str]
    ends: ClassVar[bool] = False

    def to_message(self) -> Dict[str, Any]:
        """The message as a JSON object."""
        return {"type": self.type, **asdict(self)}

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Answer:
        """Reads what :meth:`to_message` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is not such a message.
        """
        return cls(**{field.name: message[field.name] for field in fields_of(cls)})


@dataclass(frozen=True)
class RequestAnswer(Answer):
    """Any message about one request.

    Attributes:
        id: the request's identifier.
    """

    id: RequestId


@dataclass(frozen=True)
class Ready(Answer):
    """The worker is ready for requests.

    Attributes:
        pid: its process id.
        version: of its `lvnet`.
    """

    type: ClassVar[str] = "ready"
    pid: int
    version: str


@dataclass(frozen=True)
class Accepted(RequestAnswer):
    """The worker has begun with a request."""

    type: ClassVar[str] = "accepted"


@dataclass(frozen=True)
class Progress(RequestAnswer):
    """The progress of a request.

    Attributes:
        share: fraction done, 0 to 1.
        stage: in words; never contains a file name, since it is logged.
    """

    type: ClassVar[str] = "progress"
    share: float
    stage: str

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Progress:
        return cls(message["id"], float(message["share"]), str(message["stage"]))


@dataclass(frozen=True)
class ScanDone(RequestAnswer):
    """A scan of a folder is done or has failed.

    Attributes:
        scan: see :class:`~lvnet.worker.messages.results.FolderResult`.
    """

    type: ClassVar[str] = "scan"
    scan: Dict[str, Any]


@dataclass(frozen=True)
class Done(RequestAnswer):
    """A request is done.

    Attributes:
        fields: the task's result, written and read by its class in :mod:`~lvnet.worker.messages.results`.
        seconds: how long it took.
    """

    type: ClassVar[str] = "result"
    ends: ClassVar[bool] = True
    fields: Dict[str, Any]
    seconds: float

    def to_message(self) -> Dict[str, Any]:
        return {"type": self.type, "id": self.id, **self.fields, "seconds": self.seconds}

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Done:
        own = {name: value for name, value in message.items() if name not in ("type", "id", "seconds")}
        return cls(message["id"], own, float(message["seconds"]))


@dataclass(frozen=True)
class Stopped(RequestAnswer):
    """A request was cancelled while it was queued or running."""

    type: ClassVar[str] = "cancelled"
    ends: ClassVar[bool] = True


@dataclass(frozen=True)
class Failed(RequestAnswer):
    """A request has failed.

    Attributes:
        kind: the kind of failure.
        message: one line.
        error: the class name of an LVNetError.
        details: the traceback for the log, unless the user caused the error.
    """

    type: ClassVar[str] = "error"
    ends: ClassVar[bool] = True
    kind: FailureKind
    message: str
    error: Optional[str] = None
    details: Optional[str] = None

    def to_message(self) -> Dict[str, Any]:
        said = {"error": self.error, "details": self.details}
        more = {name: words for name, words in said.items() if words is not None}
        return {"type": self.type, "id": self.id, "kind": self.kind.value, "message": self.message, **more}

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Failed:
        kind = FailureKind(message["kind"])
        return cls(message["id"], kind, str(message["message"]), message.get("error"), message.get("details"))


@dataclass(frozen=True)
class Bye(Answer):
    """The worker exits by itself.

    Attributes:
        reason: `idle`, or the kind of a failure after which only a new process can succeed.
    """

    type: ClassVar[str] = "bye"
    reason: str


@dataclass(frozen=True)
class Exit(Answer):
    """The process has ended; created by the requesting program and never sent.

    Attributes:
        code: its exit code; if negative, minus the number of the signal that ended it.
        lines: the last lines that it wrote to stderr.
        wanted: whether the requesting program ended it itself.
    """

    type: ClassVar[str] = "exit"
    ends: ClassVar[bool] = True
    code: int
    lines: List[str]
    wanted: bool = False


_SENT: Dict[str, Type[Answer]] = {
    kind.type: kind for kind in (Ready, Accepted, Progress, ScanDone, Done, Stopped, Failed, Bye)
}


def answer_of(message: Mapping[str, Any]) -> Optional[Answer]:
    """Parses a message of the worker; None if it is not a valid answer."""
    kind = _SENT.get(str(message.get("type")))
    if kind is None:
        return None
    try:
        return kind.from_message(message)
    except (KeyError, TypeError, ValueError):
        return None
