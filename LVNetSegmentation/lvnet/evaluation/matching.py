"""Matching the labels of a prediction with those of its reference.

The rules, in this order:

1. The user's specification (`--labels 1=5`, `--labels liver=liver+tumour`) is followed.
2. If both sides have names, labels of the same organ are compared.  Names come from the file itself, from
   a `dataset.json`, from the reference set that the user gave, or from the weights' recipe.  Tumours in
   the liver count as liver, on both sides, as in LiTS.
3. Two masks with one value each are compared, whatever the values.
4. Equal values are compared, if both label maps have the same values, or if one has at least two values that all
   occur in the other.
5. Otherwise the match is ambiguous: an error that asks the user, never a score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import FrozenSet, Iterable, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from ..errors import ConfigurationError
from ..volume import Segment
from .organ_names import LIVER
from .reference_sets import KNOWN_ORGANS, sets_with_liver
from .sides import Side, described

#: The value of the foreground in 8-bit masks.
_MASK = 255
_MOST_SETS = 4


def sorted_keys(keys: Iterable[Optional[str]]) -> List[str]:
    """Keys of comparisons without None: label values in numerical order, then names."""
    return sorted({key for key in keys if key is not None}, key=lambda key: (not _is_value(key), _value(key), key))


def titled(key: str) -> str:
    """The title of a comparison: `label 1`, or the organ's name."""
    return f"label {key}" if _is_value(key) else key


class UnclearLabelsError(ConfigurationError):
    """Two label maps whose labels cannot be matched without the user's help.

    Attributes:
        values: the label values that occur in the prediction, and in the reference.
    """

    def __init__(self, message: str, prediction: FrozenSet[int], reference: FrozenSet[int]) -> None:
        super().__init__(message)
        self.values = (prediction, reference)


@dataclass(frozen=True)
class Comparison:
    """One comparison of labels to evaluate.

    Attributes:
        key: its name: a label value as text, an organ's name, or None if there is only one mask
            without a name on each side.
        prediction: values of the prediction's array; None means all except 0.
        reference: the same for the reference.
    """

    key: Optional[str]
    prediction: Optional[Tuple[int, ...]]
    reference: Optional[Tuple[int, ...]]

    def masks(self, prediction: np.ndarray, reference: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Bool masks of what is compared on each side."""
        return _where(prediction, self.prediction), _where(reference, self.reference)


ANYTHING = Comparison(None, None, None)


def by_value(values: Sequence[int], prediction: Side, reference: Side) -> List[Comparison]:
    """One comparison for each label value, ignoring names."""
    return [_compared(str(v), _valued(prediction, v), _valued(reference, v)) for v in sorted(values)]


def match(prediction: Side, reference: Side, recipe: Mapping[int, str]) -> Tuple[List[Comparison], List[str]]:
    """The comparisons, and notes about them.

    Args:
        prediction: its labels.
        reference: its labels.
        recipe: names that may apply to a prediction with one value without a name.

    Raises:
        UnclearLabelsError: the match is ambiguous.
    """
    left, right = _with_names(prediction, reference, recipe)
    if left.named and right.named:
        found = _by_name(left, right)
        if found:
            return found, _about_names(found, left, right)
        if _one_known_each(left, right):
            raise _question(left, right)
    one, other = prediction.values, reference.values
    if not one and not other:
        return [ANYTHING], []
    if len(one) == len(other) == 1:
        if one == other and not (prediction.named and reference.named):
            return by_value(sorted(one), prediction, reference), []
        pair = _compared(None, _occurring(prediction), _occurring(reference))
        return [pair], [f"{left.listed()} of the prediction is compared with {right.listed()} of the reference"]
    if (not one or not other or all_by_value(one, other)) and not (prediction.named and reference.named):
        return by_value(sorted(one | other), prediction, reference), []
    raise _question(left, right)


def as_requested(
    text: str, prediction: Side, reference: Side, recipe: Mapping[int, str]
) -> Tuple[List[Comparison], List[str]]:
    """The comparisons of `PREDICTION=REFERENCE[,...]`; each side a label value or a name, or several with `+`.

    Args:
        text: text of that form.
        prediction: its labels.
        reference: its labels.
        recipe: names of the prediction's label values if it has none of its own.

    Raises:
        ConfigurationError: the text has another form, or a name does not occur.
    """
    found, notes = [], []
    if not prediction.named:
        prediction = prediction.named_as(recipe)
    for wanted in parsed(text):
        sides = [
            tuple(dict.fromkeys(segment for term in terms for segment in side.found(term)))
            for terms, side in zip(wanted, (prediction, reference))
        ]
        key = "+".join(wanted[0])
        found.append(_compared(key, *sides))
        for segments, side in zip(sides, (prediction, reference)):
            absent = [s for s in segments if not side.present & set(s.voxels)]
            if segments and len(absent) == len(segments) and side.present:
                notes.append(f"{described(absent)} does not occur in the {side.role}, which contains {side.listed()}")
    return found, notes


def parsed(text: str) -> List[Tuple[List[str], List[str]]]:
    """The terms on both sides of every comparison in `PREDICTION=REFERENCE[,...]`.

    Raises:
        ConfigurationError: the text has another form.
    """
    found = []
    for part in text.split(","):
        sides = part.split("=")
        terms = [[term.strip() for term in side.split("+")] for side in (sides * 2 if len(sides) == 1 else sides)]
        if len(terms) != 2 or not all(all(side) for side in terms):
            raise ConfigurationError(
                f"the labels {text!r} are invalid; write PREDICTION=REFERENCE, such as 1=5 or liver=liver+tumour"
            )
        found.append((terms[0], terms[1]))
    keys = ["+".join(one) for one, _ in found]
    if len(set(keys)) < len(keys):
        raise ConfigurationError(f"the labels {text!r} name one label of the prediction twice; name it once")
    return found


def all_by_value(prediction: FrozenSet[int], reference: FrozenSet[int]) -> bool:
    """Whether two label maps probably use the same label values, from the values that occur in them."""
    subset = prediction <= reference or reference <= prediction
    return prediction == reference or (subset and min(len(prediction), len(reference)) > 1)


def _is_value(key: str) -> bool:
    return key.lstrip("-").isdigit()


def _value(key: str) -> int:
    return int(key) if _is_value(key) else 0


def _with_names(prediction: Side, reference: Side, recipe: Mapping[int, str]) -> Tuple[Side, Side]:
    """Both sides, with names for one that has none if they are unambiguous."""
    if prediction.named and reference.named:
        return prediction, reference
    if reference.named:
        names = {segment.value: segment.name for segment in reference.segments}
        return _named_like(prediction, names, _organs(reference), recipe), reference
    if prediction.named:
        names = {segment.value: segment.name for segment in prediction.segments}
        return prediction, _named_like(reference, names, _organs(prediction), {})
    return prediction, reference


def _named_like(side: Side, names: Mapping[int, str], organs: FrozenSet[str], recipe: Mapping[int, str]) -> Side:
    values = side.values
    if len(values) > 1:
        return side.named_as(names) if values <= set(names) else side
    if not values:
        # The prediction is empty: use the names of the network's classes, or else those of the other side.
        known = recipe if organs & set(recipe.values()) else names
        return side.named_as(known)
    (value,) = values
    if recipe and LIVER in organs and (value in recipe or value == _MASK):
        return side.named_as({value: recipe.get(value, LIVER)})
    if recipe or organs == {LIVER} or names.get(value, "").lower() == LIVER:
        return side.named_as({value: names[value]}) if value in names else side
    return side


def _organs(side: Side) -> FrozenSet[str]:
    return frozenset(side.organs.values()) - {""}


def _by_name(prediction: Side, reference: Side) -> List[Comparison]:
    found = []
    shared = sorted(_organs(prediction) & _organs(reference), key=lambda name: (name != LIVER, name))
    for name in shared:
        one, other = prediction.of_organ(name), reference.of_organ(name)
        pair = _compared(name, one, other)
        if prediction.present & set(pair.prediction or ()) or reference.present & set(pair.reference or ()):
            found.append(pair)
    if shared and not found:
        return [ANYTHING] if not prediction.present and not reference.present else []
    return found


def _about_names(found: Sequence[Comparison], prediction: Side, reference: Side) -> List[str]:
    notes = []
    for pair in found:
        if pair.key is None:
            continue
        sides = [
            [segment for segment in side.of_organ(pair.key) if side.present & set(segment.voxels)]
            for side in (prediction, reference)
        ]
        values = [[segment.value for segment in side] for side in sides]
        tumours = pair.key == LIVER and any(len(side) > 1 for side in sides)
        if tumours or (values[0] != values[1] and all(values)):
            notes.append(
                f"{described(sides[0])} of the prediction against {described(sides[1])} of the reference"
                + (": tumours in the liver count as liver" if tumours else "")
            )
    keys = [pair.key for pair in found]
    for side in (prediction, reference) if None not in keys else ():
        used = [segment for key in keys if key is not None for segment in side.of_organ(key)]
        left = [s for s in side.segments if side.present & set(s.voxels) and s not in used]
        if left:
            notes.append(f"not compared: {described(left)} of the {side.role}, which has no counterpart with that name")
    return notes


def _one_known_each(prediction: Side, reference: Side) -> bool:
    """Whether both sides are single masks that are named as different organs."""
    sides = (prediction, reference)
    return all(len(side.values) == 1 and _organs(side) <= KNOWN_ORGANS for side in sides)


def _question(prediction: Side, reference: Side) -> UnclearLabelsError:
    values = reference.values
    proposals = []
    if not reference.named:
        sets = sets_with_liver(values)
        if sets:
            proposals.append("--reference-set " + " or ".join(list(sets)[:_MOST_SETS]))
            value = next(iter(prediction.values), 1)
            proposals.append(f"--labels {value}={'+'.join(str(v) for v in next(iter(sets.values())))}")
    if not proposals:
        proposals.append("--labels PREDICTION=REFERENCE")
    return UnclearLabelsError(
        f"it is unclear which labels belong together: the prediction contains {prediction.listed()}, the reference "
        f"{reference.listed()}; specify it, for example with {', or '.join(proposals)}",
        prediction.values,
        values,
    )


def _valued(side: Side, value: int) -> Tuple[Segment, ...]:
    return tuple(s for s in side.segments if s.value == value) or (Segment(value, voxels=(value,)),)


def _occurring(side: Side) -> Tuple[Segment, ...]:
    return tuple(s for s in side.segments if side.present & set(s.voxels))


def _compared(key: Optional[str], prediction: Sequence[Segment], reference: Sequence[Segment]) -> Comparison:
    one, other = (tuple(sorted({v for s in side for v in s.voxels})) for side in (prediction, reference))
    return Comparison(key, one, other)


def _where(array: np.ndarray, values: Optional[Tuple[int, ...]]) -> np.ndarray:
    if values is None:
        return np.asarray(array != 0)
    if array.dtype == np.bool_:
        return np.asarray(array if any(values) else np.zeros_like(array))
    if len(values) == 1:
        return np.asarray(array == values[0])
    return np.isin(array, values)
