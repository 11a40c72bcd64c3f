"""The codes that identify an organ and the algorithm in DICOM objects."""

from __future__ import annotations

from typing import Any, Dict, Tuple

from .._version import __version__
from ..recipe import LabelClass, Recipe

MANUFACTURER, ALGORITHM = "LVNetSegmentation", "LV-Net"
#: For a class without a terminology code: "tissue", SNOMED CT.
_ANY_TISSUE = ("85756007", "SCT", "Tissue")


def category_and_kind(entry: LabelClass) -> Tuple[Any, Any]:
    """The codes of a class for highdicom: its category and its type."""
    from highdicom.sr import CodedConcept

    if not entry.code:
        return CodedConcept(*_ANY_TISSUE), CodedConcept(*_ANY_TISSUE)
    return (
        CodedConcept(entry.category_code, "SCT", entry.category_meaning),
        CodedConcept(entry.code, "SCT", entry.meaning or entry.name),
    )


def algorithm(recipe: Recipe, checksum: str) -> Dict[str, Any]:
    """Name, version, family and parameters of the algorithm, the same in every object made with these weights.

    Args:
        recipe: of the network.
        checksum: of the weights; empty if they are not from a file.
    """
    from pydicom.sr.codedict import codes

    return {
        "name": ALGORITHM,
        "version": __version__,
        "family": codes.cid7162.ArtificialIntelligence,
        "parameters": {"weights": recipe.name, **({"sha256": checksum} if checksum else {})},
    }


def tracking_id(entry: LabelClass) -> str:
    """The tracking identifier of a segment, which viewers show to people."""
    return f"{entry.name[:48]} by {ALGORITHM}"
