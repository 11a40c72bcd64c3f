"""Selects the segments of a segmentation, or the labels of a label map, that form a mask."""

from __future__ import annotations

import re
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import slicer
from lvnet.errors import ImageError
from lvnet.evaluation.organ_names import LIVER, liver_tumours, organ
from lvnet.evaluation.reference_sets import KNOWN_ORGANS, sets_with_liver

from . import nodes

#: Joins segments or labels that together form one mask.
AND = "+"
TUMOURS_NOTE = "tumours in the liver count as liver"
#: Slicer's names for the segments of a label map without names.
_NUMBERED = re.compile(r"(?:(?:segment|label)[ _]?)?(\d{1,5})", re.IGNORECASE)


class Chosen(NamedTuple):
    """Segments that together form one mask.

    Attributes:
        identifiers: of the segments.
        name: of the mask.
        notes: remarks on the choice, for the user.
    """

    identifiers: Tuple[str, ...]
    name: str
    notes: Tuple[str, ...] = ()


def chosenSegments(
    node: slicer.vtkMRMLSegmentationNode, which: Optional[Union[str, int]], like: Optional[str]
) -> Chosen:
    """The segments that form a mask, see `maskOf`.

    Raises:
        ImageError: there is no such segment, or the choice is ambiguous.
    """
    names = namesOf(node)
    if not names:
        raise ImageError(f"{node.GetName()} has no segments; choose another segmentation")
    if which is not None:
        identifiers = _identifiersOf(names, str(which), node.GetName())
        return Chosen(identifiers, " + ".join(names[identifier] for identifier in identifiers))
    whole = liverWithTumours(names)
    if len(whole) > 1 and (like is None or like.lower() == LIVER or LIVER in like.lower().split(f" {AND} ")):
        return Chosen(whole, " + ".join(names[identifier] for identifier in whole), (TUMOURS_NOTE,))
    if len(names) == 1:
        return Chosen(tuple(names), next(iter(names.values())))
    alike = [identifier for identifier, name in names.items() if like and name.lower() == like.lower()]
    for choice in (alike, nodes.ownSegmentIds(node)):
        if len(choice) == 1:
            return Chosen((choice[0],), names[choice[0]])
    raise ImageError(f"{node.GetName()} has the segments {listed(list(names.values()))}; say which one to compare")


def namesOf(node: slicer.vtkMRMLSegmentationNode) -> Dict[str, str]:
    """Names of the segments by identifier."""
    segmentation = node.GetSegmentation()
    identifiers = [segmentation.GetNthSegmentID(index) for index in range(segmentation.GetNumberOfSegments())]
    return {identifier: segmentation.GetSegment(identifier).GetName() for identifier in identifiers}


def numbersIn(names: Dict[str, str]) -> Dict[Union[str, int], int]:
    """Label values of segments whose names are only numbers (`Segment_6`), by identifier.

    Empty if any segment has a proper name.
    """
    found = {identifier: _NUMBERED.fullmatch(name.strip()) for identifier, name in names.items()}
    numbers: Dict[Union[str, int], int] = {key: int(match.group(1)) for key, match in found.items() if match}
    return numbers if len(numbers) == len(names) else {}


def liverWithTumours(names: Dict[str, str]) -> Tuple[str, ...]:
    """The identifiers of the liver and of the tumours in it; empty if either is missing."""
    organs = {identifier: organ(name, "", KNOWN_ORGANS) for identifier, name in names.items()}
    tumours = liver_tumours(organs.values())
    if LIVER not in organs.values() or not tumours:
        return ()
    return tuple(identifier for identifier, name in organs.items() if name == LIVER or name in tumours)


def chosenLabels(values: Sequence[int], which: Optional[Union[str, int]], name: str) -> List[int]:
    """The label values that together form one mask.

    Args:
        values: those above 0 that occur in the label map.
        which: a label value, or several as in `1+2`; None takes the only one.
        name: of the label map.

    Raises:
        ImageError: there is no such label, or the choice is ambiguous.
    """
    if which is None:
        if len(values) > 1:
            raise ImageError(f"{name} has the labels {listed(values)}; say which one to compare")
        return list(values) or [1]
    chosen = [_wholeNumber(part) for part in str(which).split(AND)]
    missing = [value for value in chosen if value not in values]
    if missing:
        raise ImageError(f"{name} has no label {listed(missing)}; it has {listed(values) or 'none'}")
    return chosen


def proposedLivers(values: Sequence[int]) -> Dict[str, List[str]]:
    """The label values of the liver and its tumours, in the public data sets that use these values.

    Returns:
        Names of the data sets, by the label values joined as in `1+2`.
    """
    found: Dict[str, List[str]] = {}
    for name, liver in sets_with_liver(values).items():
        found.setdefault(AND.join(str(value) for value in liver), []).append(name)
    return found


def listed(values: Sequence[object]) -> str:
    """The first values as text, for a message."""
    return ", ".join(str(value) for value in values[:12]) + (" ..." if len(values) > 12 else "")


def _identifiersOf(names: Dict[str, str], which: str, nodeName: str) -> Tuple[str, ...]:
    found = []
    # A name may itself contain a plus sign.
    for part in [which] if _oneOf(names, which) else which.split(AND):
        identifier = _oneOf(names, part.strip())
        if identifier is None:
            raise ImageError(f"{nodeName} has no segment {part.strip()!r}; it has {listed(list(names.values()))}")
        found.append(identifier)
    return tuple(found)


def _oneOf(names: Dict[str, str], which: str) -> Optional[str]:
    return next((identifier for identifier, name in names.items() if which in (identifier, name)), None)


def _wholeNumber(which: str) -> int:
    try:
        return int(which)
    except ValueError:
        raise ImageError(f"a label of a label map is a whole number, not {which!r}") from None
