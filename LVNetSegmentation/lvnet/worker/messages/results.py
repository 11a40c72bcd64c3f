"""The results of the worker's tasks, one class each, written by the server and read by the client."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from dataclasses import fields as fields_of
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, TypedDict

from ...acceleration import ComputePath
from ...recipe import LabelClass
from .place import Place

#: First index, and last index plus one, along z, y and x.
Box = Tuple[Tuple[int, int], Tuple[int, int], Tuple[int, int]]


@dataclass(frozen=True)
class Result:
    """The result of a task; fields are JSON values unless a class says otherwise."""

    def to_fields(self) -> Dict[str, Any]:
        """The result as fields of a message."""
        return {field.name: getattr(self, field.name) for field in fields_of(self)}

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Result:
        """Reads what :meth:`to_fields` wrote; other fields are ignored.

        Raises:
            KeyError, TypeError, ValueError: it is not such a result.
        """
        return cls(**{field.name: fields[field.name] for field in fields_of(cls)})


def box_of(slices: Sequence[slice]) -> Box:
    """The box of slices that index an array (z, y, x)."""
    z, y, x = ((int(side.start), int(side.stop)) for side in slices)
    return z, y, x


def _read_box(pairs: Sequence[Sequence[int]]) -> Box:
    (z, z_end), (y, y_end), (x, x_end) = pairs
    return (z, z_end), (y, y_end), (x, x_end)


def _slices_of(box: Box) -> Tuple[slice, slice, slice]:
    z, y, x = (slice(*pair) for pair in box)
    return z, y, x


@dataclass(frozen=True)
class FoundClass:
    """One class of a result.

    Attributes:
        entry: label value, name, colour and terminology code.
        box: its bounding box in the scan; None if nothing was found.
        file: binary uint8 mask within the box, in the exchange folder; None if nothing was found.
    """

    entry: LabelClass
    box: Optional[Box]
    file: Optional[str]

    def to_fields(self) -> Dict[str, Any]:
        """The class as a JSON object."""
        return {**asdict(self.entry), "box": self.box, "file": self.file}

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> FoundClass:
        """Reads what :meth:`to_fields` wrote."""
        entry = {name: value for name, value in fields.items() if name not in ("box", "file")}
        box = None if fields["box"] is None else _read_box(fields["box"])
        return cls(LabelClass(**{**entry, "colour": tuple(entry["colour"])}), box, fields["file"])

    @property
    def slices(self) -> Optional[Tuple[slice, slice, slice]]:
        """The box as an index of an array (z, y, x)."""
        return None if self.box is None else _slices_of(self.box)


@dataclass(frozen=True)
class DoubtfulRegions:
    """The regions in which the network was unsure.

    Attributes:
        box: bounding box of all of them in the scan.
        file: binary uint8 mask within the box, in the exchange folder.
    """

    box: Box
    file: str

    @property
    def slices(self) -> Tuple[slice, slice, slice]:
        """The box as an index of an array (z, y, x)."""
        return _slices_of(self.box)


@dataclass(frozen=True)
class SegmentResult(Result):
    """The result of segmenting a scan.

    Attributes:
        classes: all classes of the network, found or not.
        doubtful: None if there is no such region.
        report: see :meth:`lvnet.pipeline.ScanReport.to_dict`.
    """

    classes: Tuple[FoundClass, ...]
    doubtful: Optional[DoubtfulRegions]
    report: Mapping[str, Any]

    def to_fields(self) -> Dict[str, Any]:
        doubtful = None if self.doubtful is None else asdict(self.doubtful)
        return {"classes": [entry.to_fields() for entry in self.classes], "doubtful": doubtful, **self.report}

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> SegmentResult:
        classes = tuple(FoundClass.from_fields(entry) for entry in fields["classes"])
        said = fields["doubtful"]
        doubtful = None if said is None else DoubtfulRegions(_read_box(said["box"]), said["file"])
        report = {name: value for name, value in fields.items() if name not in ("classes", "doubtful")}
        return cls(classes, doubtful, report)


@dataclass(frozen=True)
class FolderResult(Result):
    """The result of segmenting a folder.

    Attributes:
        scans: `input`, `output` and `error` of each scan, and on success the items of
            :meth:`lvnet.pipeline.ScanReport.to_dict`.
        left_out: `input` and `reason` of everything in the folder that was not segmented.
        summary: all of this in one line.
    """

    scans: List[Dict[str, Any]]
    left_out: List[Dict[str, str]]
    summary: str


class Device(TypedDict):
    """A device that can be chosen.

    Attributes:
        id: as used in requests.
        name: in words.
        freeMemory: bytes; None if unknown.
    """

    id: str
    name: str
    freeMemory: Optional[int]


@dataclass(frozen=True)
class DevicesResult(Result):
    """The devices that can be chosen, the CPU first."""

    devices: List[Device]


@dataclass(frozen=True)
class TorchResult(Result):
    """PyTorch works.

    Attributes:
        version: of PyTorch.
        device: the device that `auto` selects, and why.
    """

    version: str
    device: str


@dataclass(frozen=True)
class PaceResult(Result):
    """The speed of this computer.

    Attributes:
        seconds_per_litre: see :func:`lvnet.pace.seconds_per_litre`.
        compute_path: how the network is computed.
    """

    seconds_per_litre: Optional[float]
    compute_path: ComputePath

    def to_fields(self) -> Dict[str, Any]:
        return {"seconds_per_litre": self.seconds_per_litre, "compute_path": self.compute_path.to_dict()}

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> PaceResult:
        return cls(fields["seconds_per_litre"], ComputePath.from_dict(fields["compute_path"]))


@dataclass(frozen=True)
class CompareResult(Result):
    """The result of comparing two masks.

    Attributes:
        metrics: the result of :func:`lvnet.evaluate` for one label.
    """

    metrics: Dict[str, Any]


@dataclass(frozen=True)
class PhantomResult(Result):
    """A phantom was written to the exchange folder.

    Attributes:
        place: geometry of the scan and its mask.
    """

    place: Place

    def to_fields(self) -> Dict[str, Any]:
        return self.place.to_fields()

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> PhantomResult:
        return cls(Place.from_fields(fields))
