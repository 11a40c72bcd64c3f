"""The labels of the prediction and of the reference, with their names."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, FrozenSet, List, Mapping, Optional, Tuple, Union

from ..errors import ConfigurationError
from ..volume import Segment
from .organ_names import LIVER, canonical, liver_tumours, organ
from .reference_sets import KNOWN_ORGANS

PathLike = Union[str, "os.PathLike[str]"]

#: The file with the names of label values in nnU-Net and Medical Segmentation Decathlon folders.
DATASET_FILE = "dataset.json"
_MOST_BYTES = 2**26
_MOST_LISTED = 8


@dataclass(frozen=True)
class Side:
    """One side of a comparison.

    Attributes:
        role: `prediction` or `reference`.
        segments: its possible labels; without a name if the meaning of a value is not known.
        present: the values of the array, other than 0, that occur.
    """

    role: str
    segments: Tuple[Segment, ...]
    present: FrozenSet[int]
    organs: Mapping[int, str] = field(init=False)

    def __post_init__(self) -> None:
        names = {
            index: organ(segment.name, segment.meaning, KNOWN_ORGANS) for index, segment in enumerate(self.segments)
        }
        object.__setattr__(self, "organs", names)

    @property
    def values(self) -> FrozenSet[int]:
        """The label values that occur."""
        return frozenset(segment.value for segment in self.segments if self.present & set(segment.voxels))

    @property
    def named(self) -> bool:
        """Whether the meaning of any value is known."""
        return any(self.organs.values())

    def named_as(self, names: Mapping[int, str]) -> Side:
        """The same side with these names for its label values."""
        known = {segment.value for segment in self.segments}
        segments = [replace(segment, name=names.get(segment.value, "")) for segment in self.segments]
        segments += [Segment(value, name, "", (value,)) for value, name in names.items() if value not in known]
        return Side(self.role, tuple(segments), self.present)

    def of_organ(self, name: str) -> Tuple[Segment, ...]:
        """The segments of an organ; for the liver, including its tumours."""
        wanted = {name} | (liver_tumours(self.organs.values()) if name == LIVER else frozenset())
        return tuple(segment for index, segment in enumerate(self.segments) if self.organs[index] in wanted)

    def found(self, term: str) -> Tuple[Segment, ...]:
        """The segments that match a label value or a name from the user.

        Raises:
            ConfigurationError: no segment has this name.
        """
        if term.lstrip("-").isdigit():
            value = int(term)
            if value == 0:
                raise ConfigurationError("label 0 is the background; give the value of an organ")
            chosen = tuple(segment for segment in self.segments if segment.value == value)
            return chosen or (Segment(value),)
        chosen = tuple(segment for segment in self.segments if segment.name.lower() == term.lower())
        chosen = chosen or tuple(s for i, s in enumerate(self.segments) if self.organs[i] == (canonical(term) or term))
        if not chosen:
            raise ConfigurationError(f"the {self.role} has no label {term!r}; it contains {self.listed()}")
        return chosen

    def listed(self) -> str:
        """The labels that occur, for messages: `labels 1 (liver), 2`."""
        held = [segment for segment in self.segments if self.present & set(segment.voxels)]
        return described(held) if held else "no label"


def described(segments: Any) -> str:
    """Segments by value and name: `label 1`, `labels 1 (liver), 2 (liver tumour)`."""
    several = "labels" if len(segments) > 1 else "label"
    words = [f"{s.value} ({s.name or s.meaning})" if s.name or s.meaning else str(s.value) for s in segments]
    more = f" and {len(words) - _MOST_LISTED} more" if len(words) > _MOST_LISTED else ""
    return f"{several} {', '.join(words[:_MOST_LISTED])}{more}"


def names_beside(path: PathLike, above: bool) -> Tuple[Dict[int, str], Dict[str, Tuple[int, ...]], List[str]]:
    """The names of label values from a `dataset.json` beside a file, or in the parent folder.

    Args:
        path: the label map's file.
        above: whether to search the parent folder too.

    Returns:
        Names by label value; regions, which are names for several values; and a note if the file
        cannot be used.  All are empty if there is no such file.
    """
    folder = Path(os.path.realpath(path)).parent
    for place in (folder, folder.parent) if above else (folder,):
        file = place / DATASET_FILE
        if not file.is_file():
            continue
        labels = _labels_of(file)
        if labels is None:
            return {}, {}, [f"{DATASET_FILE} beside {Path(path).name} contains no readable labels"]
        names = {values[0]: name for name, values in labels.items() if len(values) == 1}
        return names, {name: values for name, values in labels.items() if len(values) > 1}, []
    return {}, {}, []


def _labels_of(file: Path) -> Optional[Dict[str, Tuple[int, ...]]]:
    """Values by name: nnU-Net has {name: value or [values]}, the Decathlon {"value": name}."""
    try:
        with open(file, "rb") as stream:
            labels = json.loads(stream.read(_MOST_BYTES))["labels"]
        found: Dict[str, Tuple[int, ...]] = {}
        for key, entry in labels.items():
            if isinstance(entry, str):
                key, entry = entry, int(key)
            values = tuple(int(value) for value in (entry if isinstance(entry, list) else [entry]))
            if values not in ((), (0,)) and canonical(key) not in ("", "ignore"):
                found[key] = found.get(key, ()) + tuple(value for value in values if value != 0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return found


def side_of(
    role: str,
    volume_segments: Tuple[Segment, ...],
    present: FrozenSet[int],
    names: Mapping[int, str],
    regions: Mapping[str, Tuple[int, ...]],
) -> Side:
    """A side from the segments of its file, or else from names from another source.

    Args:
        role: `prediction` or `reference`.
        volume_segments: segments of the volume; if there are any, only these are used.
        present: the values of its array, other than 0, that occur.
        names: by label value.
        regions: names for several values.
    """
    if volume_segments:
        known = {voxel for segment in volume_segments for voxel in segment.voxels}
        rest = tuple(Segment(value, "", "", (value,)) for value in sorted(present - known))
        return Side(role, volume_segments + rest, present)
    segments = [Segment(value, names.get(value, ""), "", (value,)) for value in sorted(present | set(names))]
    # A region of nnU-Net has no value of its own; it is identified by its name.
    segments = [s for s in segments if s.name or s.value in present]
    segments += [Segment(min(values), name, "", values) for name, values in regions.items()]
    return Side(role, tuple(segments), present)
