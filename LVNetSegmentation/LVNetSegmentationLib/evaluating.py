"""Comparing what lies in the scene: a segmentation with a reference."""

from __future__ import annotations

from typing import Any, Dict, Optional, Union

from lvnet.metrics.presets import preset_named

from .masks import ComparedNode, Mask, maskOf


def evaluateNodes(
    segmentation: Optional[ComparedNode],
    reference: Optional[ComparedNode],
    segment: Optional[Union[str, int]] = None,
    referenceSegment: Optional[Union[str, int]] = None,
    preset: str = "lits",
    resample: bool = True,
) -> Dict[str, Any]:
    """The metrics of two masks where they lie in the world; the scene is not changed.

    Args:
        segmentation, reference, segment, referenceSegment, preset, resample: as the logic's
            method `evaluate` has them.

    Returns:
        What `lvnet.evaluate` gives for one label, and `segment` and `reference_segment`, the names.

    Raises:
        LVNetError: the two cannot be compared.
    """
    from lvnet.evaluation import evaluate

    preset_named(preset)
    one = maskOf(segmentation, segment, resample=resample)
    other = maskOf(reference, referenceSegment, like=one.name, resample=resample)
    return resultOf(one, other, evaluate(one.volume, other.volume, preset=preset, resample=resample))


def resultOf(one: Mask, other: Mask, metrics: Dict[str, Any]) -> Dict[str, Any]:
    """What :func:`evaluateNodes` gives, of what `lvnet.evaluate` gave."""
    metrics = dict(metrics)
    notes = [*one.notes, *other.notes, *metrics.pop("notes", [])]
    if notes:
        metrics["notes"] = notes
    return {"segment": one.name, "reference_segment": other.name, **metrics}
