"""Header fields that tell the passes of a series apart, in the order in which they are tried."""

from __future__ import annotations

import os
from typing import Callable, Hashable, List, Sequence

import numpy as np

from .dicom_slices import Slice


def _number(text: str) -> object:
    """A number in canonical form: 5 and 5.0 are equal."""
    try:
        return round(float(text.split("\\")[0]), 4)
    except ValueError:
        return text


def _acquisition(slice_: Slice) -> Hashable:
    return slice_.fields.acquisition or slice_.header.fields["acquisition"]


def _temporal(slice_: Slice) -> Hashable:
    return slice_.fields.temporal or slice_.header.fields["temporal"]


def _field(name: str) -> Callable[[Slice], Hashable]:
    return lambda slice_: slice_.header.fields[name]


def _quantity(name: str) -> Callable[[Slice], Hashable]:
    return lambda slice_: _number(slice_.header.fields[name])


def folder_of(slice_: Slice) -> Hashable:
    return os.path.dirname(slice_.header.path)


def _moment(slice_: Slice) -> Hashable:
    fields = slice_.header.fields
    return fields["acquisition_datetime"] or fields["acquisition_date"] + fields["acquisition_time"]


def _frame_group(slice_: Slice) -> Hashable:
    return slice_.fields.group


def _description(slice_: Slice) -> Hashable:
    return slice_.header.description.upper()


KINDS = (
    _field("series_number"), _field("image_type"), _field("kernel"), _quantity("kvp"), _field("rescale_type"),
    _field("frame_of_reference"), _description, _frame_group,
)  # fmt: skip
LABELS = (
    _field("acquisition_uid"), _acquisition, _temporal, _quantity("thickness"), _quantity("slice_distance"),
    _quantity("diameter"), _field("contrast"),
)  # fmt: skip
TRACES = (
    _quantity("trigger_time"), _field("cardiac_phase"), _quantity("exposure_time"), _quantity("exposure"),
    _quantity("tube_current"), _moment, _field("content_time"),
)  # fmt: skip
CLOCKS = (_moment, _field("content_time"))


def sideways(slices: Sequence[Slice]) -> List[Hashable]:
    """In-plane position of each slice, in half pixels, which tells two fields of view in one series apart.

    In a tilted scan every slice differs from the next, so this carries no information.
    """
    row, column = np.asarray(slices[0].fields.orientation).reshape(2, 3)
    plane = np.array([s.fields.position for s in slices]) @ np.stack([row, column], axis=1)
    pixel = 0.5 * max(min(slices[0].fields.pixel_spacing), 1e-6)
    return [tuple(place) for place in np.rint((plane - plane[0]) / pixel).tolist()]
