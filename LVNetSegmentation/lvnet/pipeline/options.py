"""The settings of a segmentation: each defined once, with its default, its check and its help text.

The command line makes its flags from these fields, requests to the worker are checked against them, and
Slicer's Logic passes them on.  A new setting is a new field here, the code that obeys it, and a
widget where the panel should show it.
"""

from __future__ import annotations

import operator
import os
from dataclasses import asdict, dataclass, fields
from typing import Any, Dict, Mapping, Optional

from ..errors import ConfigurationError
from .settings import Setting, count_within, number_within, setting, text, yes_or_no

#: The smallest and the largest overlap of neighbouring slabs.
OVERLAP_RANGE = (0.0, 0.9)
#: Far more threads than cores would crash the process.
MOST_THREADS = 1024


@dataclass(frozen=True)
class SegmentOptions:
    """The settings of a segmentation; values are checked on construction.

    Attributes:
        weights: path of a checkpoint; None takes the bundled one.
        device: auto, cpu, cuda, cuda:N or mps.
        overlap: overlap of neighbouring slabs as a fraction of the slab, 0 to 0.9.
        series: UID, number or description of a series in a DICOM folder; None takes the most suitable.
        postprocess: keep the largest component of every class and fill its holes.
        search: first search for the organ on a coarse grid, if the weights define one, and compute only the part of the
            scan that can contain it.
        threads: CPU threads; None keeps the present number, by default all cores.

    Raises:
        ConfigurationError: a value cannot be used.
    """

    weights: Optional[str] = setting(
        None,
        Setting(
            text("must be the path of a checkpoint", optional=True),
            "a checkpoint; default: the bundled liver weights", str, "the weights", "--weights", "FILE",
            changes_results=False,  # their checksum counts instead
        ),
    )  # fmt: skip
    device: str = setting(
        "auto",
        Setting(
            text("must be auto, cpu, cuda, cuda:N or mps", optional=False),
            "auto, cpu, cuda, cuda:N or mps (default auto)", str, "the device", "--device", changes_results=False,
        ),
    )  # fmt: skip
    overlap: float = setting(
        0.5,
        Setting(
            number_within(*OVERLAP_RANGE, "must lie between 0 and 0.9"),
            "overlap of neighbouring slabs (blocks of slices), as a fraction, 0 to 0.9 (default 0.5)", float,
            "the overlap of slabs", "--overlap", "F",
        ),
    )  # fmt: skip
    series: Optional[str] = setting(
        None,
        Setting(
            text("must be a UID, number or description", optional=True),
            "series of a DICOM folder to segment (default: the most suitable; `lvnet info FOLDER` lists them)",
            str, "the series", "--series", "UID|NUMBER|DESCRIPTION",
        ),
    )  # fmt: skip
    postprocess: bool = setting(
        True,
        Setting(
            yes_or_no,
            "keep all connected components and holes",
            bool,
            "the choice of postprocessing",
            "--no-postprocessing",
        ),
    )
    search: bool = setting(
        True,
        Setting(
            yes_or_no, "compute the whole scan, also where a coarse search found no organ", bool,
            "the choice of searching first", "--whole",
        ),
    )  # fmt: skip
    threads: Optional[int] = setting(
        None,
        Setting(
            count_within(1, MOST_THREADS, f"must be 1 to {MOST_THREADS}"),
            "CPU threads (default: all cores)", int, "the number of threads", "--threads", "N", changes_results=False,
        ),
    )  # fmt: skip

    def __post_init__(self) -> None:
        for name, known in settings_of(type(self)).items():
            value = _plain(getattr(self, name), known.kind)
            problem = known.problem(value)
            if problem is not None:
                raise ConfigurationError(f"{known.label} {problem}")
            # Integers are converted to float, so that equal options have equal JSON.
            object.__setattr__(self, name, float(value) + 0.0 if known.kind is float else value)

    def to_dict(self) -> Dict[str, Any]:
        """Every setting by name, in a fixed order, as JSON types; equal options give equal JSON."""
        return asdict(self)

    def for_results(self) -> Dict[str, Any]:
        """The settings that affect results, besides the scan and the checksum of the weights; see :meth:`to_dict`."""
        known = settings_of(type(self))
        return {name: value for name, value in self.to_dict().items() if known[name].changes_results}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SegmentOptions:
        """Options from JSON; None means the default.

        Raises:
            ConfigurationError: a setting is unknown, or a value cannot be used.
        """
        unknown = [name for name in data if name not in settings_of(cls)]
        if unknown:
            raise ConfigurationError(f"unknown setting {unknown[0]!r}; the settings are {', '.join(settings_of(cls))}")
        return cls(**{name: value for name, value in data.items() if value is not None})

    @classmethod
    def from_request(cls, request: Mapping[str, Any]) -> SegmentOptions:
        """Options from a message with further fields; an empty text and 0 threads mean the default.

        Raises:
            ConfigurationError: a value cannot be used.
        """
        given = {name: request[name] for name in settings_of(cls) if name in request}
        if type(given.get("threads")) is int and given["threads"] == 0:
            given["threads"] = None
        return cls.from_dict(
            {name: None if isinstance(value, str) and not value else value for name, value in given.items()}
        )


def settings_of(options: type = SegmentOptions) -> Dict[str, Setting]:
    """The settings by field name."""
    return {field.name: field.metadata["setting"] for field in fields(options)}


def refuse_unknown(keywords: Mapping[str, Any]) -> None:
    """Checks that keyword arguments are settings.

    Raises:
        TypeError: one is not.
    """
    unknown = [name for name in keywords if name not in settings_of()]
    if unknown:
        raise TypeError(f"there is no setting {unknown[0]!r}; the settings are {', '.join(settings_of())}")


def check_setting(name: str, value: Any) -> None:
    """Checks one value.

    Raises:
        ConfigurationError: it cannot be used.
    """
    known = settings_of()[name]
    problem = known.problem(value)
    if problem is not None:
        raise ConfigurationError(f"{known.label} {problem}")


def _plain(value: Any, kind: type) -> Any:
    """Converts paths to texts, and NumPy numbers to Python's own."""
    if kind is str and isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (int, float, str, bytes)) or value is None:
        return value
    if kind is int and hasattr(value, "__index__"):
        return operator.index(value)
    if kind is float and hasattr(value, "__float__"):
        return float(value)
    return value
