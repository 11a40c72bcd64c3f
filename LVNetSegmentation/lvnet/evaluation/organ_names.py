"""Normalising organ names, to recognise different names of the same organ."""

from __future__ import annotations

import re
from typing import FrozenSet, Iterable, List

LIVER = "liver"
#: The canonical names of a tumour in the liver, and of one without a location.
LIVER_TUMOUR, TUMOUR = "liver tumour", "tumour"

# Synonyms by word: British and American spelling, and terms of data sets.
_WORDS = {
    "cancer": TUMOUR, "esophagus": "oesophagus", "hepatic": LIVER, "hepar": LIVER, "ivc": "inferior vena cava",
    "lesion": TUMOUR, "lesions": TUMOUR, "postcava": "inferior vena cava", "tumor": TUMOUR, "tumors": TUMOUR,
    "tumours": TUMOUR, "neoplasm": TUMOUR, "mass": TUMOUR, "urinary": "", "gland": "", "glands": "",
    "gall": "gallbladder",
}  # fmt: skip
_AFTER = {"gallbladder": "bladder"}  # "gall bladder" is one organ, whose second word is dropped
#: Names besides the liver that may occur in a label map of the liver alone.
_IN_LIVER = frozenset({LIVER, LIVER_TUMOUR, TUMOUR, "liver vessel", "liver vessels", "vessel", "vessels", "cyst"})
_NOTHING = frozenset({"background", "tissue", "anatomical structure", "structure", "unlabeled", "unlabelled", ""})


def canonical(name: str) -> str:
    """The canonical form of an organ's name: `Kidney_Left` and `left kidney` give the same.

    Args:
        name: from a file.

    Returns:
        Words in lower case in alphabetical order; empty if the name has no meaning.
    """
    words: List[str] = []
    for word in re.findall(r"[^\W_]+", name.lower()):
        word = _WORDS.get(word, word)
        if words and _AFTER.get(words[-1]) == word:
            continue
        words += word.split()
    found = " ".join(sorted(words))
    return "" if found in _NOTHING else found


def organ(name: str, meaning: str, known: FrozenSet[str]) -> str:
    """The organ that a segment represents.

    Args:
        name: the segment's name.
        meaning: the meaning of its terminology code.
        known: canonical names of organs.

    Returns:
        The canonical form of `name` if it is a known organ, else that of the code, else that of
        the name.
    """
    by_name, by_code = canonical(name), canonical(meaning)
    if by_name in known or not by_code:
        return by_name
    return by_code if by_code in known or not by_name else by_name


def liver_tumours(organs: Iterable[str]) -> FrozenSet[str]:
    """The organs of a label map that are tumours in the liver.

    A tumour without a location is included if the map names no organ other than the liver.
    """
    named = set(organs)
    tumours = {LIVER_TUMOUR} & named
    if named <= _IN_LIVER:
        tumours |= {TUMOUR} & named
    return frozenset(tumours)
