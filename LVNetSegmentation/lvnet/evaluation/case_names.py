"""Pairing predictions with references by their file names.

Data sets name the files of a case in different ways.  The rules are tried in order, each on the names
that remain, and only if the match is unique on both sides.
"""

from __future__ import annotations

import re
from typing import Callable, Collection, Dict, List, Tuple

#: Words in a name that describe the kind of file rather than the case.
_KINDS = (
    "volume|vol|segmentation|segmentations|seg|image|img|labels|label|mask|ct|scan|pred|prediction|gt|groundtruth|"
    "ground_truth|reference|ref|liver|probabilities|probability|uncertainty"
)
_FIRST = re.compile(rf"^(?:{_KINDS})(?:[-_. ]+|(?=\d))(?=.)", re.IGNORECASE)
_LAST = re.compile(rf"(?<=.)[-_. ]+(?:{_KINDS})$", re.IGNORECASE)
_CHANNEL = re.compile(r"(?<=.)_0000$")


def paired(predictions: Collection[str], references: Collection[str]) -> Tuple[Dict[str, str], List[str]]:
    """The reference of each prediction.

    Args:
        predictions: names of cases, without suffix.
        references: the same.

    Returns:
        Names of references by prediction, and a sentence for each rule that paired names that are not
        equal.
    """
    found = {name: name for name in predictions if name in references}
    notes = []
    for words, rule in _RULES:
        left = [name for name in predictions if name not in found]
        right = [name for name in references if name not in found.values()]
        keys, others = _by_key(left, rule), _by_key(right, rule)
        more = {
            keys[key][0]: others[key][0] for key in keys if key in others and len(keys[key]) == len(others[key]) == 1
        }
        if more:
            one, other = next(iter(sorted(more.items())))
            notes.append(f"{len(more)} paired {words}, such as {one} with {other}")
        found.update(more)
    return found, notes


def _by_key(names: Collection[str], rule: Callable[[str], str]) -> Dict[str, List[str]]:
    found: Dict[str, List[str]] = {}
    for name in names:
        found.setdefault(rule(name), []).append(name)
    return found


def _without_ct(name: str) -> str:
    # `lvnet segment */ct.nii.gz` names the result of case1/ct.nii.gz case1_ct.
    return name[: -len("_ct")] if name.endswith("_ct") else name


def _without_channel(name: str) -> str:
    return _CHANNEL.sub("", _without_ct(name))


def _without_kind(name: str) -> str:
    before = ""
    name = _CHANNEL.sub("", name)
    while before != name:
        before, name = name, _LAST.sub("", _FIRST.sub("", name))
    return name.lower()


_RULES = (
    ("without the ending _ct", _without_ct),
    ("without nnU-Net's channel number (_0000)", _without_channel),
    ("without the words for the kind of file, as in LiTS (volume-0, segmentation-0)", _without_kind),
)
