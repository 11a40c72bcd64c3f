"""Compares a segmentation in the scene with a reference."""

from __future__ import annotations

from typing import Optional, Union

from lvnet.metrics.presets import preset_named

from .interfaces import Json
from .masks import ComparedNode, Mask, maskOf


def evaluateNodes(
    segmentation: Optional[ComparedNode],
    reference: Optional[ComparedNode],
    segment: Optional[Union[str, int]] = None,
    referenceSegment: Optional[Union[str, int]] = None,
    preset: str = "lits",
    resample: bool = True,
) -> Json:
    """The metrics of two masks in world coordinates; the scene is not changed.

    Args:
        segmentation, reference, segment, referenceSegment, preset, resample: as in the logic's
            method `evaluate`.

    Returns:
        The result of `lvnet.evaluate` for one label, with the names as `segment` and `reference_segment`.

    Raises:
        LVNetError: the two cannot be compared.
    """
    from lvnet.evaluation import evaluate

    preset_named(preset)
    one = maskOf(segmentation, segment, resample=resample)
    other = maskOf(reference, referenceSegment, like=one.name, resample=resample)
    return resultOf(one, other, evaluate(one.volume, other.volume, preset=preset, resample=resample))


def resultOf(one: Mask, other: Mask, metrics: Json) -> Json:
    """The result of :func:`evaluateNodes`, from that of `lvnet.evaluate`."""
    result = {"segment": one.name, "reference_segment": other.name, **metrics}
    notes = [*one.notes, *other.notes, *result.pop("notes", [])]
    if notes:
        result["notes"] = notes
    return result
