"""The geometry of the frames of a file: one, or many in functional groups."""

from __future__ import annotations

import struct
from typing import Any, Callable, Dict, NamedTuple, Tuple

from .dicom_elements import Dataset, Tag, floats, plain_text

SHARED_GROUPS, FRAME_GROUPS = (0x5200, 0x9229), (0x5200, 0x9230)
FRAME_CONTENT, FRAME_TYPE, RECONSTRUCTION = (0x0020, 0x9111), (0x0018, 0x9329), (0x0018, 0x9314)
MEASURES, TRANSFORMATION = (0x0028, 0x9110), (0x0028, 0x9145)
FRAME_ACQUISITION, FRAME_TEMPORAL, STACK = (0x0020, 0x9156), (0x0020, 0x9128), (0x0020, 0x9056)
FRAME_KIND, FRAME_KERNEL = (0x0008, 0x9007), (0x0018, 0x1210)


class FrameFields(NamedTuple):
    """Geometry of one slice, with empty values if the file does not give them, and its rescale intercept and slope.

    `distance` is the header's distance to the next slice.  To tell the frames of one file apart, `group` holds
    stack, image type and kernel, `acquisition` and `temporal` the numbers of its pass and its time.
    """

    position: Tuple[float, ...] = ()
    orientation: Tuple[float, ...] = ()
    pixel_spacing: Tuple[float, ...] = ()
    rescale: Tuple[float, float] = (0.0, 1.0)
    distance: Tuple[float, ...] = ()
    group: Tuple[str, ...] = ()
    acquisition: str = ""
    temporal: str = ""


def frame_fields(own: Dataset, shared: Dataset, top: Dataset, whole: Dataset, order: str) -> FrameFields:
    """Fields of a frame: its own, those shared by all frames, or those of the data set if there are no frames.

    A rescale outside the functional groups, which the standard does not allow, is accepted as well.
    """

    def value(sequence: Tag, tag: Tag, last: Dataset = top) -> bytes:
        for place in (own, shared):
            items = place.get(sequence)
            if items and tag in items[0]:
                return bytes(items[0][tag] or b"")
        return bytes(last.get(tag) or b"")

    def rescale(tag: Tag, default: float) -> float:
        text = value(TRANSFORMATION, tag, whole)
        found = floats(text) or ((float("nan"),) if plain_text(text) else (default,))
        return found[0]

    return FrameFields(
        position=floats(value((0x0020, 0x9113), (0x0020, 0x0032))),
        orientation=floats(value((0x0020, 0x9116), (0x0020, 0x0037))),
        pixel_spacing=floats(value(MEASURES, (0x0028, 0x0030))),
        distance=floats(value(MEASURES, (0x0018, 0x0088))),
        # Some programs write a slope of 0 for an empty field; it would give all voxels one value.
        rescale=(rescale((0x0028, 0x1052), 0.0), rescale((0x0028, 0x1053), 1.0) or 1.0),
        **_apart(value, order) if own else {},
    )


def _apart(value: Callable[..., bytes], order: str) -> Dict[str, Any]:
    """The fields that tell the frames of one file apart, from a function that looks up a field."""

    def number(tag: Tag, form: str) -> str:
        found = value(FRAME_CONTENT, tag)
        size = struct.calcsize(form)
        return str(struct.unpack(order + form, found)[0]) if len(found) == size else ""

    return {
        "group": tuple(
            plain_text(text)
            for text in (
                value(FRAME_CONTENT, STACK), value(FRAME_TYPE, FRAME_KIND), value(RECONSTRUCTION, FRAME_KERNEL)
            )
        ),
        "acquisition": number(FRAME_ACQUISITION, "H"),
        "temporal": number(FRAME_TEMPORAL, "I"),
    }  # fmt: skip
